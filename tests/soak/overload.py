"""Send a gateway ten times as many messages as its agent can answer.

python -m tests.soak.overload --seconds 60

The excess must be refused, every acknowledged message must reach the agent, and memory must not grow. The run first
measures the rate that the gateway sustains. Its agent is slow, so that the inbox fills, as it would in production.
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
from tests.soak.callers import Connection, GoodCallers, sealed_text
from tests.soak.fleet import plain_gateway

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maven_channel_wecom.protocol.envelope import Credentials
    from tests.soak.agent import CountingAgent
    from tests.soak.callers import CallStats
    from tests.soak.fleet import Gateway

MAX_GROWTH_BYTES = 100_000_000

_OVERLOAD_FACTOR = 10
_AGENT_SECONDS = 0.4
_CONNECTIONS = 64
_AGENT_WAIT_SECONDS = 30.0
_RECOVERY_SECONDS = 5.0
_POLL_SECONDS = 0.25
_GOOD_PER_SECOND = 30.0


@dataclass(kw_only=True)
class Findings:
    """Results of the flood, and of the good callers after it."""

    sustained_per_second: float
    sent: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    without_retry_after: int = 0
    """Number of 503 answers without a Retry-After header."""
    unanswered: int = 0
    lost: list[str] = field(default_factory=list)
    """Ids of acknowledged messages that never reached the agent."""
    growth_bytes: int = 0
    """Maximum memory during the flood, minus the memory before the first call."""
    after: CallStats | None = None
    """Good callers, at most five seconds after the flood."""

    @property
    def passed(self) -> bool:
        """Whether every limit was kept, except the one on memory."""
        answered = set(self.statuses) == {200, 503} and not self.without_retry_after and not self.unanswered
        return answered and not self.lost and self.after is not None and not self.after.failed

    def __str__(self) -> str:
        answers = ", ".join(f"{number} x {status}" for status, number in sorted(self.statuses.items()))
        after = f"{self.after.failed} of {len(self.after.seconds)} failed" if self.after else "not measured"
        return (
            f"sustained {self.sustained_per_second:.0f} a second; sent {self.sent / self.seconds:.0f} a second for "
            f"{self.seconds:.0f} s: {answers}, {self.without_retry_after} without Retry-After, {self.unanswered} "
            f"unanswered; {len(self.lost)} acknowledged and lost; memory {self.growth_bytes / 1e6:+.0f} MB; "
            f"after {_RECOVERY_SECONDS:g} s: {after}"
        )


class _Flood:
    """Sends messages at a fixed rate over 64 connections, each of which waits for its answer before it sends again."""

    def __init__(self, credentials: Credentials, url: str, agent: CountingAgent) -> None:
        self.acknowledged: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.without_retry_after = 0
        self.unanswered = 0
        self._credentials = credentials
        self._url = url
        self._agent = agent

    async def send(self, *, seconds: float, per_second: float) -> None:
        """Send for `seconds`."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        numbers = itertools.count()

        async def keep_sending() -> None:
            connection = await Connection.open(self._url)
            while (due := started + next(numbers) / per_second) < started + seconds:
                await asyncio.sleep(max(0.0, due - loop.time()))
                if loop.time() >= started + seconds:
                    break
                try:
                    await self._send_one(connection)
                except (TimeoutError, OSError):
                    self.unanswered += 1
                    connection.close()
                    connection = await Connection.open(self._url)
            connection.close()

        await asyncio.gather(*(keep_sending() for _ in range(_CONNECTIONS)))

    async def _send_one(self, connection: Connection) -> None:
        message_id = os.urandom(12).hex()
        reply_url = f"{self._agent.reply_url}?response_code={message_id}"
        head = await connection.call(
            sealed_text(self._credentials, self._url, message_id=message_id, text=message_id, response_url=reply_url)
        )
        status = int(head.split(b" ", 2)[1])
        self.statuses[status] += 1
        if status == 200:
            self.acknowledged.append(message_id)
        elif b"\r\nretry-after:" not in head.lower():
            self.without_retry_after += 1


async def run(folder: Path, *, seconds: float, settings: Mapping[str, object] | None = None) -> Findings:
    """Measure the rate that the gateway sustains, then send ten times as much."""
    async with (
        counting_agent(slowest_seconds=_AGENT_SECONDS) as agent,
        plain_gateway(folder, agent_url=agent.url, settings=settings) as (credentials, gateway),
    ):
        flood = _Flood(credentials, gateway.callback_url, agent)
        idle = gateway.resident_bytes()
        findings = Findings(sustained_per_second=await _measure_sustained_rate(flood, agent, seconds=min(5.0, seconds)))
        await _wait_for_agent(flood, agent, within_seconds=_AGENT_WAIT_SECONDS)
        flood.statuses.clear()
        memory = asyncio.create_task(_record_memory(gateway, findings, idle))
        await flood.send(seconds=seconds, per_second=_OVERLOAD_FACTOR * findings.sustained_per_second)
        await _wait_for_agent(flood, agent, within_seconds=_RECOVERY_SECONDS)
        callers = GoodCallers(credentials, gateway.callback_url)
        findings.after = await callers.call(seconds=2, per_second=_GOOD_PER_SECOND)
        callers.close()
        memory.cancel()
        await _wait_for_agent(flood, agent, within_seconds=_AGENT_WAIT_SECONDS)
        findings.seconds, findings.sent = seconds, flood.statuses.total() + flood.unanswered
        findings.statuses, findings.unanswered = flood.statuses, flood.unanswered
        findings.without_retry_after = flood.without_retry_after
        findings.lost = [message_id for message_id in flood.acknowledged if not agent.turns[message_id]]
    return findings


async def _measure_sustained_rate(flood: _Flood, agent: CountingAgent, *, seconds: float) -> float:
    """Return how many messages a second reach the agent when more are always waiting."""
    sending = asyncio.create_task(flood.send(seconds=seconds + 1, per_second=2_000))
    await asyncio.sleep(1)
    before = agent.turns.total()
    await asyncio.sleep(seconds)
    turns = agent.turns.total() - before
    await sending
    return turns / seconds


async def _wait_for_agent(flood: _Flood, agent: CountingAgent, *, within_seconds: float) -> None:
    """Wait until every acknowledged message has reached the agent or `within_seconds` have passed."""
    for _ in range(int(within_seconds / _POLL_SECONDS)):
        if len(agent.turns) >= len(flood.acknowledged):
            break
        await asyncio.sleep(_POLL_SECONDS)


async def _record_memory(gateway: Gateway, findings: Findings, idle: int) -> None:
    while True:
        findings.growth_bytes = max(findings.growth_bytes, gateway.resident_bytes() - idle)
        await asyncio.sleep(_POLL_SECONDS)


def main() -> int:
    """Run the long form, print the result, and return 0 if every limit was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    with tempfile.TemporaryDirectory() as folder:
        findings = asyncio.run(run(Path(folder), seconds=parser.parse_args().seconds))
    passed = findings.passed and findings.growth_bytes <= MAX_GROWTH_BYTES
    sys.stdout.write(f"{'ok  ' if passed else 'FAIL'} {findings}\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
