"""Two thousand connections that take their time, while people write to the bot: each is closed, nobody waits for them.

python -m tests.soak.slow --connections 2000 --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import select
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from tests.soak.calling import Calls, GoodCallers
from tests.soak.fleet import plain_gateway

if TYPE_CHECKING:
    from collections.abc import Callable

CLOSED_WITHIN_SECONDS = 15.0
MAX_RATIO = 2.0

_OPENED_PER_SECOND = 200
_DRIP_SECONDS = 1.0
# For a process to start, and for the connections to be opened.
_START_SECONDS = 11.0
_GOOD_PER_SECOND = 50.0
_POST = b"POST /wecom/bot?msg_signature=0&timestamp=1700000000&nonce=n HTTP/1.1\r\nHost: x\r\n"


@dataclass(kw_only=True)
class Slowness:
    """What became of the slow connections. `longest_seconds` is the longest that one stayed open."""

    opened: int = 0
    closed: int = 0
    longest_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The good callers alone, and beside the slow ones."""

    alone: Calls
    beside: Calls
    slow: Slowness

    @property
    def ratio(self) -> float:
        return self.beside.p99_seconds / self.alone.p99_seconds

    @property
    def held(self) -> bool:
        """Whether every slow one was closed in time and no good one failed."""
        closed = self.slow.closed == self.slow.opened and self.slow.longest_seconds <= CLOSED_WITHIN_SECONDS
        return closed and not self.alone.failed and not self.beside.failed

    def __str__(self) -> str:
        return (
            f"{self.slow.opened} slow connections, {self.slow.closed} closed, the longest after "
            f"{self.slow.longest_seconds:.1f} s; good callers' p99 {self.alone.p99_seconds * 1000:.1f} ms alone, "
            f"{self.beside.p99_seconds * 1000:.1f} ms beside them ({self.ratio:.2f} x), "
            f"{self.alone.failed + self.beside.failed} of {len(self.alone.seconds) + len(self.beside.seconds)} failed"
        )


class _Manner(NamedTuple):
    """One way to be slow: what is sent first, and what each second after it."""

    first: bytes
    drop: bytes
    reads: bool = True


class _Slow(asyncio.Protocol):
    """A connection that brings a piece of a request each second, or nothing at all. Tells when it is closed."""

    def __init__(self, manner: _Manner, closed: Callable[[float], None]) -> None:
        self._manner = manner
        self._closed = closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._opened_at = self._loop.time()
        transport.write(self._manner.first)
        if not self._manner.reads:
            transport.pause_reading()
        self._timer = self._loop.call_later(_DRIP_SECONDS, self._drip)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._closed(self._loop.time() - self._opened_at)

    def _drip(self) -> None:
        if not self._manner.reads and _hung_up(self._transport):
            self._transport.abort()
            return
        self._transport.write(self._manner.drop)
        self._timer = self._loop.call_later(_DRIP_SECONDS, self._drip)


def _hung_up(transport: asyncio.Transport) -> bool:
    """Tell whether the other side closed, without reading what it sent before."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket"), select.POLLRDHUP)
    return bool(poll.poll(0))


_MANNERS = (
    # Says nothing at all.
    _Manner(b"", b""),
    # A header, a body, a chunk at a time.
    _Manner(b"POST /wecom/bot?a=b HTTP/1.1\r\nX: ", b"y"),
    _Manner(_POST + b"Content-Length: 5000\r\n\r\n", b"{"),
    _Manner(_POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"),
    # Keeps a connection after its request; keeps sending requests and reads no answer.
    _Manner(_POST + b"Content-Length: 2\r\n\r\n{}", b""),
    _Manner(b"", (_POST + b"Content-Length: 2\r\n\r\n{}") * 5, reads=False),
)


async def be_slow(url: str, *, connections: int, seconds: float) -> Slowness:
    """Keep that many slow connections open, and open another for each that is closed; wait until all are."""
    parts, found = urlsplit(url), Slowness()
    loop, fewer = asyncio.get_running_loop(), asyncio.Event()

    def closed(after_seconds: float) -> None:
        found.closed += 1
        fewer.set()
        found.longest_seconds = max(found.longest_seconds, after_seconds)

    def slow() -> _Slow:
        return _Slow(_MANNERS[found.opened % len(_MANNERS)], closed)

    async def until(moment: float) -> None:
        while loop.time() < moment:
            await asyncio.sleep(1 / _OPENED_PER_SECOND)
            if found.opened - found.closed < connections:
                await loop.create_connection(slow, parts.hostname or "", parts.port or 0)
                found.opened += 1

    await until(loop.time() + seconds)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2 * CLOSED_WITHIN_SECONDS):
            while found.closed < found.opened:
                fewer.clear()
                await fewer.wait()
    return found


async def be_slow_elsewhere(url: str, *, connections: int, seconds: float) -> Slowness:
    """Do the same in a process of its own, so that good callers are not held up on this side."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak.slow", "--only-against", url),
        *("--connections", str(connections), "--seconds", str(seconds)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return Slowness(**json.loads(out))


async def run(folder: Path, *, connections: int, seconds: float) -> Findings:
    """Measure good callers alone, then beside slow ones, against one gateway."""
    async with plain_gateway(folder) as (credentials, gateway):
        callers = GoodCallers(credentials, gateway.callback_url)
        await callers.call(seconds=2, per_second=_GOOD_PER_SECOND)
        alone = await callers.call(seconds=seconds / 2, per_second=_GOOD_PER_SECOND)
        slow = asyncio.create_task(
            be_slow_elsewhere(gateway.callback_url, connections=connections, seconds=seconds + _START_SECONDS)
        )
        beside = await callers.call(seconds=seconds + _START_SECONDS, per_second=_GOOD_PER_SECOND)
        callers.close()
        return Findings(alone=alone, beside=beside, slow=await slow)


def main() -> int:
    """Run the long form, print what was found, return 0 when the promises held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only-against", metavar="URL", help="be slow to this gateway and measure nothing")
    arguments = parser.parse_args()
    if arguments.only_against:
        slow = be_slow(arguments.only_against, connections=arguments.connections, seconds=arguments.seconds)
        sys.stdout.write(json.dumps(asdict(asyncio.run(slow))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(run(Path(folder), connections=arguments.connections, seconds=arguments.seconds))
    held = found.held and found.ratio <= MAX_RATIO
    sys.stdout.write(f"{'ok  ' if held else 'FAIL'} {found}\n")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
