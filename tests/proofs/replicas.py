"""Three gateways on one Redis: one turn for each message, whatever is delivered where and whatever dies.

python -m tests.proofs.replicas once --messages 10000 --replicas 3
python -m tests.proofs.replicas faults --seconds 30
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.keys import new_encoding_aes_key, new_token
from maven_channel_wecom.simulator.messages import Text
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from tests.proofs.agent import CountingAgent, counting_agent
from tests.proofs.fleet import Gateway
from tests.proofs.traffic import tally

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.proofs.traffic import Tally

_AT_ONCE = 64
_SETTLING_SECONDS = 90.0


@dataclass(frozen=True)
class Stage:
    """Everything a scenario needs, started."""

    wecom: SimulatedWeCom
    agent: CountingAgent
    replicas: list[Gateway]

    def urls(self) -> list[str]:
        return [replica.callback_url for replica in self.replicas]


@contextlib.asynccontextmanager
async def stage(folder: Path, redis_url: str, *, replicas: int, slowest_seconds: float = 0.0) -> AsyncIterator[Stage]:
    """Start gateways on a Redis that runs."""
    token, key = new_token(), new_encoding_aes_key()
    async with (
        SimulatedWeCom(token=token, encoding_aes_key=key) as wecom,
        counting_agent(slowest_seconds) as agent,
    ):
        fleet = [
            Gateway(folder, number, token=token, encoding_aes_key=key, agent_url=agent.url, state=redis_url)
            for number in range(replicas)
        ]
        try:
            await asyncio.gather(*(replica.start() for replica in fleet))
            yield Stage(wecom, agent, fleet)
        finally:
            for replica in fleet:
                with contextlib.suppress(AssertionError):
                    await replica.kill()


async def deliver_each_three_times(stage: Stage, *, messages: int) -> Tally:
    """Deliver each message three times at once to replicas chosen at random."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def deliver(number: int) -> None:
        async with places:
            first = await stage.wecom.send(Text(f"message {number}"), user=f"user{number % 50}", at=any_url())
            repeats = [first]
            while len(repeats) < 3 or not any(sent.acknowledged for sent in repeats):
                repeats += await asyncio.gather(*(stage.wecom.redeliver(first, at=any_url()) for _ in range(2)))

    def any_url() -> str:
        return random.choice(stage.urls())  # noqa: S311 - a balancer, not a secret

    await asyncio.gather(*(deliver(number) for number in range(messages)))
    return await tally(stage.wecom, within_seconds=_SETTLING_SECONDS)
