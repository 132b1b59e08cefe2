"""A simulator, and a correct bot that it sends callbacks to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from tests.simulator.bots import Bot
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ManualClock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class StreamTime:
    """The time of streams: a wait between two refreshes takes no real time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def stream_time() -> StreamTime:
    return StreamTime()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def wecom(clock: ManualClock, stream_time: StreamTime) -> AsyncIterator[SimulatedWeCom]:
    async with SimulatedWeCom(
        token=new_token(),
        encoding_aes_key=new_encoding_aes_key(),
        clock=clock,
        monotonic=stream_time.monotonic,
        sleep=stream_time.sleep,
    ) as started:
        yield started


@pytest.fixture
async def bot(wecom: SimulatedWeCom) -> AsyncIterator[Bot]:
    async with Bot(wecom.credentials) as started:
        wecom.callback_url = started.url
        yield started
