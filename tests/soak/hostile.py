"""Send a gateway a million mutated requests while users write to the bot.

Fails on a 5xx other than 503, a traceback, a rise in memory, too many log lines, or a lost message.

python -m tests.soak.hostile --requests 1000000

The seed is printed; with it every request can be generated again. Requests that failed are written to `--failures`.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.log_events import documented
from tests.soak.fleet import lone_gateway
from tests.soak.mutations import ALLOWED_SENDER, mutate
from tests.soak.sender import Sender
from tests.soak.traffic import Traffic, tally

if TYPE_CHECKING:
    from maven_channel_wecom.protocol.envelope import Credentials
    from tests.soak.fleet import Gateway
    from tests.soak.mutations import Mutation
    from tests.soak.traffic import Tally

_SENDERS = 64
_GOOD_PER_SECOND = 30.0
_REPLY_WAIT_SECONDS = 60.0
_BATCH_REQUESTS = 10_000

MAX_DRIFT_BYTES = 8_000_000
MAX_LINES_PER_BATCH = 100


@dataclass(kw_only=True)
class Findings:
    """Results of a run."""

    seed: int
    requests: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    """A sentence for each failure, with the number of its request."""
    tracebacks: int = 0
    most_lines: int = 0
    """Maximum number of log lines for 10,000 requests, not counting the lines of admitted messages."""
    drift_bytes: int = 0
    messages: Tally | None = None

    @property
    def passed(self) -> bool:
        """Whether every limit was kept, except the one on memory, which only a long run can check."""
        messages = self.messages
        complete = messages and messages.acknowledged and not messages.lost and not messages.answered_twice
        return bool(complete) and not self.failures and not self.tracebacks and self.most_lines <= MAX_LINES_PER_BATCH

    def __str__(self) -> str:
        answers = ", ".join(f"{number} x {status}" for status, number in sorted(self.statuses.items()))
        return (
            f"{self.requests} requests of seed {self.seed}, {self.requests / self.seconds:.0f} a second: {answers}; "
            f"{len(self.failures)} failed, {self.tracebacks} tracebacks, at most {self.most_lines} log lines for "
            f"{_BATCH_REQUESTS}, memory {self.drift_bytes / 1e6:+.1f} MB; users: {self.messages}"
        )


class _LogReader:
    """Reads the log of a gateway incrementally."""

    _LIMITED_EVENTS = tuple(event for event, row in documented().items() if row.limited)

    def __init__(self, path: Path) -> None:
        self._file = path.open(encoding="utf-8", errors="replace")
        self.lines: list[str] = []

    def read(self) -> int:
        """Return the number of new lines that were not caused by admitted messages."""
        new = [line for line in self._file if not self._is_of_admitted_message(line)]
        self.lines += new
        return len(new)

    def _is_of_admitted_message(self, line: str) -> bool:
        """Return whether a line belongs to an admitted message, which may write a few lines."""
        return " trail=" in line and not any(event in line for event in self._LIMITED_EVENTS)

    def close(self) -> None:
        self._file.close()


async def attack(
    gateway: Gateway, credentials: Credentials, findings: Findings, numbers: range, failures: Path | None = None
) -> None:
    """Send the mutations with these numbers over concurrent connections."""
    parts = urlsplit(gateway.callback_url)
    remaining = iter(numbers)

    async def keep_sending() -> None:
        sender = Sender(parts.hostname or "", parts.port or 0)
        for number in remaining:
            mutation = mutate(findings.seed, number, credentials)
            statuses = [answer.status for answer in await sender.send(mutation)]
            findings.requests += 1
            findings.statuses.update(statuses)
            if failure := _failure(mutation, statuses):
                findings.failures.append(f"request {number} ({mutation.layer}): {failure}")
                _save(failures, f"seed-{findings.seed}-request-{number}.bin", mutation)
        sender.close()

    started = time.monotonic()
    await asyncio.gather(*(keep_sending() for _ in range(_SENDERS)))
    findings.seconds += time.monotonic() - started


def _failure(mutation: Mutation, statuses: list[int]) -> str:
    if any(status >= 500 and status != 503 for status in statuses):
        return f"answered {statuses}"
    if mutation.answers and not statuses:
        return "not answered"
    if mutation.good and statuses[0] not in {200, 503}:
        return f"a good callback was answered {statuses[0]}"
    return ""


def _save(folder: Path | None, name: str, mutation: Mutation) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"".join(mutation.segments))


async def run(folder: Path, *, seed: int, requests: int, failures: Path | None = None) -> Findings:
    """Attack a gateway in batches, and check its log, its memory and the messages of users."""
    findings = Findings(seed=seed)
    users = [f"user{number}" for number in range(50)]
    settings = {"allowFrom": [ALLOWED_SENDER, *users]}
    async with lone_gateway(folder, settings=settings, log_level="info") as (wecom, gateway):
        log = _LogReader(gateway.log)
        log.read()
        async with Traffic(wecom, lambda: [gateway.callback_url], per_second=_GOOD_PER_SECOND):
            warm_bytes = 0
            for first in range(0, requests, _BATCH_REQUESTS):
                numbers = range(first, min(first + _BATCH_REQUESTS, requests))
                await attack(gateway, wecom.credentials, findings, numbers, failures)
                findings.most_lines = max(findings.most_lines, log.read())
                if first < requests / 10:
                    warm_bytes = gateway.resident_bytes()
        findings.messages = await tally(wecom, within_seconds=_REPLY_WAIT_SECONDS)
        findings.drift_bytes = gateway.resident_bytes() - warm_bytes
        log.read()
        log.close()
        # A bug in the channel that was answered with 503 leaves this event in the log.
        findings.tracebacks = sum("Traceback" in line or "wecom callback failed" in line for line in log.lines)
    return findings


def main() -> int:
    """Run the long form, print the result, and return 0 if every limit was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**20))
    parser.add_argument("--failures", type=Path, default=Path(".hostile"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        findings = asyncio.run(
            run(
                Path(folder),
                seed=arguments.seed,
                requests=arguments.requests,
                failures=arguments.failures,
            )
        )
    sys.stdout.write("".join(f"{failure}\n" for failure in findings.failures[:20]))
    passed = findings.passed and findings.drift_bytes <= MAX_DRIFT_BYTES
    sys.stdout.write(f"{'ok  ' if passed else 'FAIL'} {findings}\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
