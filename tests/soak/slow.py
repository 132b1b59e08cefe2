"""Hold two thousand slow connections open while good callers send callbacks.

python -m tests.soak.slow --connections 2000 --seconds 60

The gateway must close every slow connection in time, and good callers must hardly notice.
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

from tests.soak.callers import CallStats, GoodCallers
from tests.soak.fleet import plain_gateway

if TYPE_CHECKING:
    from collections.abc import Callable

CLOSED_WITHIN_SECONDS = 15.0
MAX_RATIO = 2.0

_OPENED_PER_SECOND = 200
_DRIP_SECONDS = 1.0
# The time until the subprocess has started and opened its connections.
_START_SECONDS = 11.0
_GOOD_PER_SECOND = 50.0
_POST = b"POST /wecom/bot?msg_signature=0&timestamp=1700000000&nonce=n HTTP/1.1\r\nHost: x\r\n"


@dataclass(kw_only=True)
class SlowConnections:
    """Counts of the slow connections. `longest_seconds` is the longest time that one of them stayed open."""

    opened: int = 0
    closed: int = 0
    longest_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The calls of good callers without and with slow connections."""

    without_slow: CallStats
    with_slow: CallStats
    slow: SlowConnections

    @property
    def ratio(self) -> float:
        return self.with_slow.p99_seconds / self.without_slow.p99_seconds

    @property
    def passed(self) -> bool:
        """Whether every slow connection was closed in time and no call of a good caller failed."""
        closed = self.slow.closed == self.slow.opened and self.slow.longest_seconds <= CLOSED_WITHIN_SECONDS
        return closed and not self.without_slow.failed and not self.with_slow.failed

    def __str__(self) -> str:
        failed = self.without_slow.failed + self.with_slow.failed
        calls = len(self.without_slow.seconds) + len(self.with_slow.seconds)
        return (
            f"{self.slow.opened} slow connections, {self.slow.closed} closed, the longest after "
            f"{self.slow.longest_seconds:.1f} s; good callers' p99 "
            f"{self.without_slow.p99_seconds * 1000:.1f} ms without them, "
            f"{self.with_slow.p99_seconds * 1000:.1f} ms with them ({self.ratio:.2f} x), {failed} of {calls} failed"
        )


class _Behavior(NamedTuple):
    """One kind of slow connection: the bytes it sends first, then each second, and whether it reads the answers."""

    first: bytes
    each_second: bytes
    reads: bool = True


class _SlowConnection(asyncio.Protocol):
    """Connection that sends a piece of a request each second, or nothing. Calls `closed` with the time it was open."""

    def __init__(self, behavior: _Behavior, closed: Callable[[float], None]) -> None:
        self._behavior = behavior
        self._closed = closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._opened_at = self._loop.time()
        transport.write(self._behavior.first)
        if not self._behavior.reads:
            transport.pause_reading()
        self._timer = self._loop.call_later(_DRIP_SECONDS, self._drip)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._closed(self._loop.time() - self._opened_at)

    def _drip(self) -> None:
        if not self._behavior.reads and _is_closed_by_peer(self._transport):
            self._transport.abort()
            return
        self._transport.write(self._behavior.each_second)
        self._timer = self._loop.call_later(_DRIP_SECONDS, self._drip)


def _is_closed_by_peer(transport: asyncio.Transport) -> bool:
    """Return whether the peer closed the connection, without reading from it."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket"), select.POLLRDHUP)
    return bool(poll.poll(0))


_BEHAVIORS = (
    # Sends nothing.
    _Behavior(b"", b""),
    # Send a header, a body and chunks slowly.
    _Behavior(b"POST /wecom/bot?a=b HTTP/1.1\r\nX: ", b"y"),
    _Behavior(_POST + b"Content-Length: 5000\r\n\r\n", b"{"),
    _Behavior(_POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"),
    # The first stays idle after its request; the second keeps sending requests and reads no answer.
    _Behavior(_POST + b"Content-Length: 2\r\n\r\n{}", b""),
    _Behavior(b"", (_POST + b"Content-Length: 2\r\n\r\n{}") * 5, reads=False),
)


async def hold_slow_connections(url: str, *, connections: int, seconds: float) -> SlowConnections:
    """Keep `connections` slow connections open for `seconds`, replacing closed ones, then wait until all are closed."""
    parts, result = urlsplit(url), SlowConnections()
    loop, one_closed = asyncio.get_running_loop(), asyncio.Event()

    def closed(after_seconds: float) -> None:
        result.closed += 1
        one_closed.set()
        result.longest_seconds = max(result.longest_seconds, after_seconds)

    def connect() -> _SlowConnection:
        return _SlowConnection(_BEHAVIORS[result.opened % len(_BEHAVIORS)], closed)

    async def until(moment: float) -> None:
        while loop.time() < moment:
            await asyncio.sleep(1 / _OPENED_PER_SECOND)
            if result.opened - result.closed < connections:
                await loop.create_connection(connect, parts.hostname or "", parts.port or 0)
                result.opened += 1

    await until(loop.time() + seconds)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2 * CLOSED_WITHIN_SECONDS):
            while result.closed < result.opened:
                one_closed.clear()
                await one_closed.wait()
    return result


async def hold_slow_connections_in_subprocess(url: str, *, connections: int, seconds: float) -> SlowConnections:
    """Run `hold_slow_connections` in a subprocess, so that it does not delay the good callers of this process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak.slow", "--target", url),
        *("--connections", str(connections), "--seconds", str(seconds)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return SlowConnections(**json.loads(out))


async def run(folder: Path, *, connections: int, seconds: float) -> Findings:
    """Measure good callers of one gateway, first without and then with slow connections."""
    async with plain_gateway(folder) as (credentials, gateway):
        callers = GoodCallers(credentials, gateway.callback_url)
        await callers.call(seconds=2, per_second=_GOOD_PER_SECOND)
        without_slow = await callers.call(seconds=seconds / 2, per_second=_GOOD_PER_SECOND)
        slow = asyncio.create_task(
            hold_slow_connections_in_subprocess(
                gateway.callback_url, connections=connections, seconds=seconds + _START_SECONDS
            )
        )
        with_slow = await callers.call(seconds=seconds + _START_SECONDS, per_second=_GOOD_PER_SECOND)
        callers.close()
        return Findings(without_slow=without_slow, with_slow=with_slow, slow=await slow)


def main() -> int:
    """Run the long form, print the result, and return 0 if every limit was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--target", metavar="URL", help="only hold slow connections to this gateway")
    arguments = parser.parse_args()
    if arguments.target:
        slow = hold_slow_connections(arguments.target, connections=arguments.connections, seconds=arguments.seconds)
        sys.stdout.write(json.dumps(asdict(asyncio.run(slow))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(run(Path(folder), connections=arguments.connections, seconds=arguments.seconds))
    passed = result.passed and result.ratio <= MAX_RATIO
    sys.stdout.write(f"{'ok  ' if passed else 'FAIL'} {result}\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
