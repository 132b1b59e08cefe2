"""Ten times as many messages as the agent can answer: the rest is refused, what was acknowledged arrives, memory stays.

python -m tests.soak.overload --seconds 60

Measures what the gateway sustains first. Its agent takes its time, so it is the inbox that fills, as it would.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.soak.agent import counting_agent
from tests.soak.calling import GoodCallers, Line, sealed_text
from tests.soak.fleet import plain_gateway

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maven_channel_wecom.protocol.envelope import Credentials
    from tests.soak.agent import CountingAgent
    from tests.soak.calling import Calls
    from tests.soak.fleet import Gateway

MAX_GROWTH_BYTES = 100_000_000

_TIMES = 10
_AGENT_SECONDS = 0.4
_CONNECTIONS = 64
_SETTLING_SECONDS = 30.0
_CALM_SECONDS = 5.0
_LOOK_SECONDS = 0.25
_GOOD_PER_SECOND = 30.0


@dataclass(kw_only=True)
class Findings:
    """What became of the flood, and of the callers after it."""

    sustained_per_second: float
    sent: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    without_retry_after: int = 0
    """Refusals that do not say when to come again."""
    unanswered: int = 0
    lost: list[str] = field(default_factory=list)
    """Acknowledged, and never seen by the agent."""
    growth_bytes: int = 0
    """The most memory during the flood, above what there was before anybody called."""
    after: Calls | None = None
    """Good callers, at most five seconds after it."""

    @property
    def held(self) -> bool:
        """Whether every promise was kept but those on memory and on how much was sent."""
        refused = set(self.statuses) == {200, 503} and not self.without_retry_after and not self.unanswered
        return refused and not self.lost and self.after is not None and not self.after.failed

    def __str__(self) -> str:
        answers = ", ".join(f"{number} x {status}" for status, number in sorted(self.statuses.items()))
        after = f"{self.after.failed} of {len(self.after.seconds)} failed" if self.after else "not tried"
        return (
            f"sustained {self.sustained_per_second:.0f} a second; sent {self.sent / self.seconds:.0f} a second for "
            f"{self.seconds:.0f} s: {answers}, {self.without_retry_after} without Retry-After, {self.unanswered} "
            f"unanswered; {len(self.lost)} acknowledged and lost; memory {self.growth_bytes / 1e6:+.0f} MB; "
            f"after {_CALM_SECONDS:g} s: {after}"
        )


class _Flood:
    """Messages at a rate that does not care for the answers, as far as one connection waits for its own."""

    def __init__(self, credentials: Credentials, url: str, agent: CountingAgent) -> None:
        self.acknowledged: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.without_retry_after = 0
        self.unanswered = 0
        self._credentials = credentials
        self._url = url
        self._agent = agent

    async def send(self, *, seconds: float, per_second: float) -> None:
        """Send for that long."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        turns = itertools.count()

        async def keep_sending() -> None:
            line = await Line.open(self._url)
            while (due := began + next(turns) / per_second) < began + seconds:
                await asyncio.sleep(max(0.0, due - loop.time()))
                if loop.time() >= began + seconds:
                    break
                try:
                    await self._send_one(line)
                except (TimeoutError, OSError):
                    self.unanswered += 1
                    line.close()
                    line = await Line.open(self._url)
            line.close()

        await asyncio.gather(*(keep_sending() for _ in range(_CONNECTIONS)))

    async def _send_one(self, line: Line) -> None:
        message_id = os.urandom(12).hex()
        reply_url = f"{self._agent.reply_url}?response_code={message_id}"
        head = await line.call(
            sealed_text(self._credentials, self._url, message_id=message_id, text=message_id, response_url=reply_url)
        )
        status = int(head.split(b" ", 2)[1])
        self.statuses[status] += 1
        if status == 200:
            self.acknowledged.append(message_id)
        elif b"\r\nretry-after:" not in head.lower():
            self.without_retry_after += 1


async def run(folder: Path, *, seconds: float, settings: Mapping[str, object] | None = None) -> Findings:
    """Find out what the gateway sustains, then send ten times as much."""
    async with (
        counting_agent(slowest_seconds=_AGENT_SECONDS) as agent,
        plain_gateway(folder, agent_url=agent.url, settings=settings) as (credentials, gateway),
    ):
        flood = _Flood(credentials, gateway.callback_url, agent)
        idle = gateway.resident_bytes()
        found = Findings(sustained_per_second=await _sustained(flood, agent, seconds=min(5.0, seconds)))
        await _settle(flood, agent, within_seconds=_SETTLING_SECONDS)
        flood.statuses.clear()
        watching = asyncio.create_task(_watch(gateway, found, idle))
        await flood.send(seconds=seconds, per_second=_TIMES * found.sustained_per_second)
        await _settle(flood, agent, within_seconds=_CALM_SECONDS)
        callers = GoodCallers(credentials, gateway.callback_url)
        found.after = await callers.call(seconds=2, per_second=_GOOD_PER_SECOND)
        callers.close()
        watching.cancel()
        await _settle(flood, agent, within_seconds=_SETTLING_SECONDS)
        found.seconds, found.sent = seconds, flood.statuses.total() + flood.unanswered
        found.statuses, found.unanswered = flood.statuses, flood.unanswered
        found.without_retry_after = flood.without_retry_after
        found.lost = [message_id for message_id in flood.acknowledged if not agent.turns[message_id]]
    return found


async def _sustained(flood: _Flood, agent: CountingAgent, *, seconds: float) -> float:
    """Return how many messages a second reach the agent when there are always more."""
    sending = asyncio.create_task(flood.send(seconds=seconds + 1, per_second=2_000))
    await asyncio.sleep(1)
    before = agent.turns.total()
    await asyncio.sleep(seconds)
    turns = agent.turns.total() - before
    await sending
    return turns / seconds


async def _settle(flood: _Flood, agent: CountingAgent, *, within_seconds: float) -> None:
    """Wait until the agent has seen whatever was acknowledged, or the time is over."""
    for _ in range(int(within_seconds / _LOOK_SECONDS)):
        if len(agent.turns) >= len(flood.acknowledged):
            break
        await asyncio.sleep(_LOOK_SECONDS)


async def _watch(gateway: Gateway, found: Findings, idle: int) -> None:
    while True:
        found.growth_bytes = max(found.growth_bytes, gateway.resident_bytes() - idle)
        await asyncio.sleep(_LOOK_SECONDS)


def main() -> int:
    """Run the long form, print what was found, return 0 when the promises held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(run(Path(folder), seconds=parser.parse_args().seconds))
    held = found.held and found.growth_bytes <= MAX_GROWTH_BYTES
    sys.stdout.write(f"{'ok  ' if held else 'FAIL'} {found}\n")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
