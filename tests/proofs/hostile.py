"""A million mutated requests, while people write to the bot: no server error, no traceback, no growth, nothing lost.

python -m tests.proofs.hostile --requests 1000000

Says its seed, with which every request can be made again; those that failed are written to `--failures`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import secrets
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.log_events import documented
from tests.proofs.fleet import lone_gateway
from tests.proofs.mutations import GUEST, mutate
from tests.proofs.traffic import Traffic, tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maven_channel_wecom.protocol.envelope import Credentials
    from tests.proofs.fleet import Gateway
    from tests.proofs.mutations import Mutation
    from tests.proofs.traffic import Tally

_CALLERS = 64
_GOOD_PER_SECOND = 30.0
_SETTLING_SECONDS = 60.0
_BATCH = 10_000

# For an answer that must come, and for one that may: what is cut off or lies about its length gets none.
_PATIENCE_SECONDS = 10.0
_GLANCE_SECONDS = 0.05

_ANSWER = re.compile(
    rb"HTTP/1\.[01] ([2-9]\d\d) [^\r]*\r\n(?:[^\r]+\r\n)*?Content-Length: (\d+)\r\n(?:[^\r]+\r\n)*\r\n"
)

MAX_DRIFT_BYTES = 5_000_000
MAX_LINES_PER_BATCH = 100


@dataclass(kw_only=True)
class Findings:
    """What came of the requests."""

    seed: int
    requests: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    """Each with the number of its request."""
    tracebacks: int = 0
    most_lines: int = 0
    """In the log, for 10,000 requests, apart from what people's own messages wrote."""
    drift_bytes: int = 0
    messages: Tally | None = None

    @property
    def held(self) -> bool:
        """Whether every promise was kept that does not depend on how many requests there were."""
        messages = self.messages
        whole = messages and messages.acknowledged and not messages.lost and not messages.answered_twice
        return bool(whole) and not self.failures and not self.tracebacks and self.most_lines <= MAX_LINES_PER_BATCH

    def __str__(self) -> str:
        answers = ", ".join(f"{number} x {status}" for status, number in sorted(self.statuses.items()))
        return (
            f"{self.requests} requests of seed {self.seed}, {self.requests / self.seconds:.0f} a second: {answers}; "
            f"{len(self.failures)} failed, {self.tracebacks} tracebacks, at most {self.most_lines} log lines for "
            f"{_BATCH}, memory {self.drift_bytes / 1e6:+.1f} MB; people: {self.messages}"
        )


class _Caller:
    """Sends one request after the other, on one connection for as long as that stays usable."""

    def __init__(self, address: tuple[str, int], found: Findings, failures: Path | None) -> None:
        self._address = address
        self._found = found
        self._failures = failures
        self._socket: socket.socket | None = None

    async def call(self, number: int, mutation: Mutation) -> None:
        """Send a mutation and judge what comes back."""
        if self._socket is None:
            self._socket = _connect(self._address)
        statuses, usable = await self._exchange(self._socket, mutation)
        self._found.requests += 1
        self._found.statuses.update(statuses)
        if any(status >= 500 and status != 503 for status in statuses):
            self._fail(number, mutation, f"answered {statuses}")
        elif mutation.answers and not statuses:
            self._fail(number, mutation, "not answered")
        elif mutation.good and statuses[0] not in {200, 503}:
            self._fail(number, mutation, f"a good callback was answered {statuses[0]}")
        if not usable:
            self.close()

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _exchange(self, connection: socket.socket, mutation: Mutation) -> tuple[list[int], bool]:
        """Return the statuses of the answers, and whether the connection may be used again."""
        loop = asyncio.get_running_loop()
        received = bytearray()
        answers: list[re.Match[bytes]] = []
        end = 0
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS if mutation.answers else _GLANCE_SECONDS):
                # One that refuses early may hang up before everything is sent.
                with contextlib.suppress(ConnectionError):
                    for segment in mutation.segments:
                        await loop.sock_sendall(connection, segment)
                        await asyncio.sleep(0)
                while len(answers) < max(1, mutation.answers):
                    data = await loop.sock_recv(connection, 65536)
                    if not data:
                        return _statuses(answers), False
                    received += data
                    while (answer := _ANSWER.search(received, end)) and len(received) >= answer.end() + int(answer[2]):
                        answers.append(answer)
                        end = answer.end() + int(answer[2])
        except (TimeoutError, ConnectionError):
            return _statuses(answers), False
        # After a 413 the rest of the body is still under way, and the server hangs up.
        statuses = _statuses(answers)
        return statuses, mutation.whole and 413 not in statuses and b"onnection: close" not in received

    def _fail(self, number: int, mutation: Mutation, what: str) -> None:
        self._found.failures.append(f"request {number} ({mutation.layer}): {what}")
        if self._failures is not None:
            self._failures.mkdir(parents=True, exist_ok=True)
            name = f"seed-{self._found.seed}-request-{number}.bin"
            (self._failures / name).write_bytes(b"".join(mutation.segments))


def _statuses(answers: list[re.Match[bytes]]) -> list[int]:
    return [int(answer[1]) for answer in answers]


def _connect(address: tuple[str, int]) -> socket.socket:
    # On loopback it is there at once.
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(0)
    return connection


class _Log:
    """Reads the log of a gateway from where it stopped the last time."""

    _OF_STRANGERS = tuple(event for event, row in documented().items() if row.limited)

    def __init__(self, path: Path) -> None:
        self._file = path.open(encoding="utf-8", errors="replace")
        self.lines: list[str] = []

    def read(self) -> int:
        """Return how many lines strangers caused since then."""
        fresh = [line for line in self._file if not self._is_of_a_message(line)]
        self.lines += fresh
        return len(fresh)

    def _is_of_a_message(self, line: str) -> bool:
        """Tell whether a line belongs to a message that was let in, which has its few lines."""
        return " trail=" in line and not any(event in line for event in self._OF_STRANGERS)

    def close(self) -> None:
        self._file.close()


async def attack(
    gateway: Gateway, credentials: Credentials, found: Findings, numbers: range, failures: Path | None = None
) -> None:
    """Send that many mutations, many at once."""
    parts = urlsplit(gateway.callback_url)
    remaining: Iterator[int] = iter(numbers)

    async def keep_calling() -> None:
        caller = _Caller((parts.hostname or "", parts.port or 0), found, failures)
        for number in remaining:
            await caller.call(number, mutate(found.seed, number, credentials))
        caller.close()

    began = time.monotonic()
    await asyncio.gather(*(keep_calling() for _ in range(_CALLERS)))
    found.seconds += time.monotonic() - began


async def run(
    folder: Path, *, seed: int, requests: int, failures: Path | None = None, settings: dict[str, object] | None = None
) -> Findings:
    """Attack a gateway in batches, and see to the log, the memory and the people."""
    found = Findings(seed=seed)
    people = [f"user{number}" for number in range(50)]
    settings = {"allowFrom": [GUEST, *people], **(settings or {})}
    async with lone_gateway(folder, settings=settings, log_level="info") as (wecom, gateway):
        log = _Log(gateway.log)
        log.read()
        async with Traffic(wecom, lambda: [gateway.callback_url], per_second=_GOOD_PER_SECOND):
            warm_bytes = 0
            for first in range(0, requests, _BATCH):
                numbers = range(first, min(first + _BATCH, requests))
                await attack(gateway, wecom.credentials, found, numbers, failures)
                found.most_lines = max(found.most_lines, log.read())
                if first < requests / 10:
                    warm_bytes = gateway.resident_bytes()
        found.messages = await tally(wecom, within_seconds=_SETTLING_SECONDS)
        found.drift_bytes = gateway.resident_bytes() - warm_bytes
        log.read()
        log.close()
        found.tracebacks = sum("Traceback" in line for line in log.lines)
    return found


def main() -> int:
    """Run the long form, print what was found, return 0 when the promises held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**20))
    parser.add_argument("--failures", type=Path, default=Path(".hostile"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(
            run(Path(folder), seed=arguments.seed, requests=arguments.requests, failures=arguments.failures)
        )
    sys.stdout.write("".join(f"{failure}\n" for failure in found.failures[:20]))
    held = found.held and found.drift_bytes <= MAX_DRIFT_BYTES
    sys.stdout.write(f"{'ok  ' if held else 'FAIL'} {found}\n")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
