"""The server of the agents that come with the demo and the playground."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from maven_channel_wecom.simulator.streaming_agent import StreamingAgent

if TYPE_CHECKING:
    import pytest


async def test_it_streams_one_event_for_each_piece_and_one_for_the_end() -> None:
    async with (
        StreamingAgent(lambda request: request["input"], piece_seconds=0.0) as agent,
        aiohttp.ClientSession() as session,
        session.post(agent.url, json={"input": ["one", ", two"]}) as response,
    ):
        assert response.content_type == "text/event-stream"
        lines = (await response.text()).splitlines()
    assert [line for line in lines if line.startswith("event:")] == [
        "event: response.output_text.delta",
        "event: response.output_text.delta",
        "event: response.completed",
    ]
    assert '"delta": ", two"' in lines[4]


async def test_a_gateway_that_goes_away_in_the_middle_of_an_answer_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        StreamingAgent(lambda _: ["one"] * 100, piece_seconds=0.3) as agent,
        aiohttp.ClientSession() as session,
        session.post(agent.url, json={}) as response,
    ):
        await response.content.readline()
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - the tasks of the server end by themselves
            await asyncio.sleep(0.01)
    assert not caplog.records
