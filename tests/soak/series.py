"""Have very many users write to a bot, half of them each in a separate group: `/metrics` must gain no series.

python -m tests.soak.series --people 100000
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.soak.agent import counting_agent
from tests.soak.callers import Connection, sealed_text
from tests.soak.fleet import plain_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maven_channel_wecom.protocol.envelope import Credentials

MAX_SERIES = 450
MAX_SCRAPE_SECONDS = 0.05

_CONNECTIONS = 8
_SCRAPES = 20
_POLL_SECONDS = 0.05
_REPLY_WAIT_SECONDS = 60.0
_DELIVERED = 'maven_wecom_replies_total{channel="wecom",outcome="delivered",reason="ok"}'


@dataclass(kw_only=True)
class Findings:
    """The metrics at the end of a run. `series` counts every time series, including those of histogram buckets."""

    users: int
    answered: int = 0
    series: int = 0
    new: set[str] = field(default_factory=set)
    scrape_seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every limit was kept."""
        within_limits = self.series <= MAX_SERIES and self.scrape_seconds <= MAX_SCRAPE_SECONDS
        return within_limits and self.answered == self.users and not self.new

    def __str__(self) -> str:
        return (
            f"{self.users} users, {self.answered} answered: {self.series} series, {len(self.new)} of them new; "
            f"{self.scrape_seconds * 1000:.1f} ms a scrape"
        )


async def run(folder: Path, *, users: int) -> Findings:
    """Have each user write once, wait for all answers, and read the metrics."""
    findings = Findings(users=users)
    async with counting_agent() as replies, plain_gateway(folder) as (credentials, gateway):
        before = (await gateway.samples()).keys()
        numbers = iter(range(users))
        urls = gateway.callback_url, replies.reply_url
        await asyncio.gather(*(_send_messages(credentials, *urls, numbers) for _ in range(_CONNECTIONS)))
        async with asyncio.timeout(_REPLY_WAIT_SECONDS):
            while (samples := await gateway.samples())[_DELIVERED] < users:  # noqa: ASYNC110 - metrics have no event
                await asyncio.sleep(_POLL_SECONDS)
        findings.answered = int(samples[_DELIVERED])
        findings.series, findings.new = len(samples), samples.keys() - before
        scrape_seconds = []
        for _ in range(_SCRAPES):
            started = time.perf_counter()
            await gateway.metrics()
            scrape_seconds.append(time.perf_counter() - started)
        findings.scrape_seconds = statistics.median(scrape_seconds)
    return findings


async def _send_messages(credentials: Credentials, url: str, reply_url: str, numbers: Iterator[int]) -> None:
    connection = await Connection.open(url)
    for number in numbers:
        request = sealed_text(
            credentials,
            url,
            message_id=f"{number:032}",
            text="good morning",
            response_url=f"{reply_url}?response_code={number}",
            user=f"user-{number}",
            group=f"group-{number}" if number % 2 else "",
        )
        head = await connection.call(request)
        if not head.startswith(b"HTTP/1.1 200"):
            message = f"a callback was answered {head[:20]!r}"
            raise RuntimeError(message)
    connection.close()


def main() -> int:
    """Run the long form, print the result, and return 0 if every limit was kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=100_000)
    users: int = parser.parse_args().people
    with tempfile.TemporaryDirectory() as folder:
        findings = asyncio.run(run(Path(folder), users=users))
    sys.stdout.write(f"{findings}\n")
    return 0 if findings.passed else 1


if __name__ == "__main__":
    sys.exit(main())
