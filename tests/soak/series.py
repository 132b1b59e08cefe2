"""Very many people write to a bot, each from a group of their own: the metrics of the gateway gain no series by it.

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
from tests.soak.calling import Line, sealed_text
from tests.soak.fleet import plain_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maven_channel_wecom.protocol.envelope import Credentials

MAX_SERIES = 300
MAX_SCRAPE_SECONDS = 0.05

_LINES = 8
_SCRAPES = 20
_POLL_SECONDS = 0.05
_SETTLING_SECONDS = 60.0
_DELIVERED = 'maven_wecom_replies_total{channel="wecom",outcome="delivered",reason="ok"}'


@dataclass(kw_only=True)
class Findings:
    """What the metrics held at the end. `series` counts every line a Prometheus would keep, buckets among them."""

    people: int
    answered: int = 0
    series: int = 0
    new: set[str] = field(default_factory=set)
    scrape_seconds: float = 0.0

    @property
    def held(self) -> bool:
        """Whether every promise was kept."""
        few = self.series <= MAX_SERIES and self.scrape_seconds <= MAX_SCRAPE_SECONDS
        return few and self.answered == self.people and not self.new

    def __str__(self) -> str:
        return (
            f"{self.people} people, {self.answered} answered: {self.series} series, {len(self.new)} of them new; "
            f"{self.scrape_seconds * 1000:.1f} ms a scrape"
        )


async def run(folder: Path, *, people: int) -> Findings:
    """Have each person write once, wait for all answers, and look at the metrics."""
    found = Findings(people=people)
    async with counting_agent() as replies, plain_gateway(folder) as (credentials, gateway):
        before = (await gateway.samples()).keys()
        numbers = iter(range(people))
        urls = gateway.callback_url, replies.reply_url
        await asyncio.gather(*(_write(credentials, *urls, numbers) for _ in range(_LINES)))
        async with asyncio.timeout(_SETTLING_SECONDS):
            while (samples := await gateway.samples())[_DELIVERED] < people:  # noqa: ASYNC110 - metrics announce nothing
                await asyncio.sleep(_POLL_SECONDS)
        found.answered = int(samples[_DELIVERED])
        found.series, found.new = len(samples), samples.keys() - before
        took = []
        for _ in range(_SCRAPES):
            began = time.perf_counter()
            await gateway.metrics()
            took.append(time.perf_counter() - began)
        found.scrape_seconds = statistics.median(took)
    return found


async def _write(credentials: Credentials, url: str, reply_url: str, numbers: Iterator[int]) -> None:
    line = await Line.open(url)
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
        head = await line.call(request)
        if not head.startswith(b"HTTP/1.1 200"):
            message = f"a callback was answered {head[:20]!r}"
            raise RuntimeError(message)
    line.close()


def main() -> int:
    """Run the long form, print what was found, return 0 when every promise held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=100_000)
    people: int = parser.parse_args().people
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(run(Path(folder), people=people))
    sys.stdout.write(f"{found}\n")
    return 0 if found.held else 1


if __name__ == "__main__":
    sys.exit(main())
