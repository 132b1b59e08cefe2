"""A stranger who compresses, holds back, replays, dribbles and floods: what good callers notice, and what memory does.

python -m tests.soak.stranger --seconds 20

The stranger has no token. It is a process of its own and goes for the callback port, then for the port of the gateway;
good callers send genuine callbacks to the callback port, each in two segments. Exits with 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import sys
import tempfile
import time
import zlib
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from maven_channel_wecom.simulator.callbacks import seal_url_check
from tests.soak.calling import GoodCallers
from tests.soak.fleet import plain_gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from maven_channel_wecom.protocol.envelope import Credentials
    from tests.soak.calling import Calls
    from tests.soak.fleet import Gateway

MAX_P999_SECONDS: Final = 0.05
MAX_WAIT_SECONDS: Final = 0.25
MAX_DRIFT_BYTES: Final = 8_000_000

_GOOD_PER_SECOND: Final = 100.0
_WARMING_SECONDS: Final = 2.0
_SETTLING_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 2.0

_CODED_BYTES: Final = 61_000
_BOMB_BYTES: Final = 62_000_000
"""What a coded body of that length unpacks to."""
_CODED_PER_SECOND: Final = 16
"""About 1 MB/s."""
_BODY_BYTES: Final = 1024 * 1024
_HELD_BODIES: Final = 32
_HELD_PER_SECOND: Final = 64
_REPLAYS_AT_ONCE: Final = 999
_MAX_KEPT: Final = 1_500
_PER_SECOND: Final = 300
_DRIBBLERS: Final = 50
_DRIBBLE_SECONDS: Final = 0.02
_CHUNKS: Final = b"1\r\nx\r\n" * 100


class Target(msgspec.Struct, frozen=True):
    """What a stranger goes for: a port of the gateway, a path on it, and the query of a URL check it has seen."""

    url: str
    path: str
    query: str

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def head(self, method: str, *headers: str, path: str = "") -> bytes:
        lines = (f"{method} {path or self.path} HTTP/1.1", "Host: wecom.example", *headers, "", "")
        return "\r\n".join(lines).encode()


def compress(target: Target) -> Coroutine[None, None, None]:
    """Send bodies of every content coding, to any path, at 1 MB/s. Those of gzip and deflate unpack to 62 MB."""
    gzipped, deflated = (_pack(bytes(_BOMB_BYTES), bits) for bits in (31, 15))
    opaque = os.urandom(_CODED_BYTES)
    coded = itertools.cycle(
        [("gzip", gzipped), ("deflate", deflated), ("br", opaque), ("zstd", opaque), ("gzip, gzip", gzipped)]
    )
    paths = itertools.cycle([target.path, "/", "/elsewhere"])

    async def send_one() -> None:
        coding, body = next(coded)
        headers = (f"Content-Encoding: {coding}", f"Content-Length: {len(body)}")
        await _exchange(target, target.head("POST", *headers, path=next(paths)) + body)

    return _steadily(_CODED_PER_SECOND, send_one)


def hold_back(target: Target) -> Coroutine[None, None, None]:
    """Keep 32 bodies of 1 MiB waiting for their last byte."""
    free = asyncio.Semaphore(_HELD_BODIES)
    request = target.head("POST", f"Content-Length: {_BODY_BYTES}") + bytes(_BODY_BYTES - 1)

    async def send_one() -> None:
        async with free:
            await _exchange(target, request, until_closed=True)

    return _steadily(_HELD_PER_SECOND, send_one)


async def replay(target: Target) -> None:
    """Keep 999 connections that each replayed a URL check, then open 300 a second more; the oldest are let go."""
    request = target.head("GET", path=f"{target.path}?{target.query}")
    kept: deque[asyncio.StreamWriter] = deque()

    async def send_one() -> None:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(*target.address)
            writer.write(request)
            kept.append(writer)
            if len(kept) > _MAX_KEPT:
                kept.popleft().close()

    for _ in range(_REPLAYS_AT_ONCE):
        await send_one()
    await _steadily(_PER_SECOND, send_one)


async def dribble(target: Target) -> None:
    """Send requests a byte at a time, and bodies in chunks of one byte, many of them in one segment."""
    plain = target.head("POST", "Content-Length: 2") + b"{}"
    chunked = target.head("POST", "Transfer-Encoding: chunked")

    async def one_after_another(number: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(*target.address)
                pieces = [bytes([byte]) for byte in plain] if number % 2 else [chunked, *(_CHUNKS for _ in range(40))]
                for piece in [*pieces, b"0\r\n\r\n"]:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(_DRIBBLE_SECONDS)
                await _read(reader, until_closed=False)
                writer.close()

    await asyncio.gather(*(one_after_another(number) for number in range(_DRIBBLERS)))


def flood(target: Target) -> Coroutine[None, None, None]:
    """Open 300 connections a second: some close at once, some in mid request, some say what is no HTTP."""
    firsts = itertools.cycle([b"", target.head("POST", "Content-Length: 9"), b"\x16\x03\x01\x02\x00\x01\x00", b"\r\n"])

    async def send_one() -> None:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(*target.address)
            writer.write(next(firsts))
            writer.close()

    return _steadily(_PER_SECOND, send_one)


# Each prepares what it sends, and returns what goes on until its process is killed.
KINDS: Final[dict[str, Callable[[Target], Coroutine[None, None, None]]]] = {
    "compresses": compress,
    "holds back": hold_back,
    "replays": replay,
    "dribbles": dribble,
    "floods": flood,
}


async def _go_on(worst: Coroutine[None, None, None]) -> None:
    """Say that it begins, now that everything is prepared."""
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    await worst


def _pack(data: bytes, window_bits: int) -> bytes:
    packer = zlib.compressobj(9, wbits=window_bits)
    return packer.compress(data) + packer.flush()


async def _steadily(per_second: float, send_one: Callable[[], Coroutine[None, None, None]]) -> None:
    """Send at that rate until cancelled, whether or not earlier ones are done."""
    loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        for number in itertools.count(1):
            group.create_task(send_one())
            await asyncio.sleep(max(0.0, began + number / per_second - loop.time()))


async def _exchange(target: Target, request: bytes, *, until_closed: bool = False) -> None:
    """Send a request on a connection of its own and read the answer, if one comes, or until the other side closes."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(*target.address)
        try:
            writer.write(request)
            await _read(reader, until_closed=until_closed)
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader, *, until_closed: bool) -> None:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(None if until_closed else _ANSWER_SECONDS):
            while await reader.read(65536) and until_closed:
                pass


@dataclass(kw_only=True)
class Findings:
    """The good callers alone, and beside each kind of stranger on each port."""

    alone: Calls
    beside: dict[tuple[str, str], Calls] = field(default_factory=dict)
    drift_bytes: int = 0

    def missed(self) -> list[str]:
        """Return a sentence for each limit that was missed."""
        found = []
        for (kind, port), calls in self.beside.items():
            who = f"beside a stranger who {kind} on the {port} port"
            if calls.failed:
                found.append(f"{who} {calls.failed} good callers were refused")
            if calls.p999_seconds > MAX_P999_SECONDS or calls.longest_seconds > MAX_WAIT_SECONDS:
                found.append(f"{who} good callers waited too long")
        if self.alone.failed:
            found.append(f"alone {self.alone.failed} good callers were refused")
        if self.drift_bytes > MAX_DRIFT_BYTES:
            found.append(f"memory rose by {self.drift_bytes / 1e6:.1f} MB")
        return found

    def __str__(self) -> str:
        rows = [("nobody else", "", self.alone), *((*which, calls) for which, calls in self.beside.items())]
        titles = f"{'calls':>7}{'failed':>8}{'again':>7}{'p99':>11}{'p99.9':>11}{'longest':>11}"
        lines = [
            f"{kind:<15}{port:<10}{len(calls.seconds):>7}{calls.failed:>8}{calls.repeated:>7}{_times(calls)}"
            for kind, port, calls in rows
        ]
        memory = f"memory {self.drift_bytes / 1e6:+.1f} MB"
        return "\n".join([f"{'a stranger who':<15}{'on port':<10}{titles}", *lines, memory])


def _times(calls: Calls) -> str:
    times = calls.p99_seconds, calls.p999_seconds, calls.longest_seconds
    return "".join(f"{seconds * 1000:>8.1f} ms" for seconds in times)


async def run(folder: Path, *, seconds: float, kinds: Sequence[str] = tuple(KINDS)) -> Findings:
    """Measure good callers alone, then beside each kind of stranger on each port of one gateway."""
    async with plain_gateway(folder) as (credentials, gateway):
        callers = GoodCallers(credentials, gateway.callback_url, segments=2)
        targets = _targets(credentials, gateway)
        await callers.call(seconds=min(_WARMING_SECONDS, seconds), per_second=_GOOD_PER_SECOND)
        found = Findings(alone=await callers.call(seconds=seconds, per_second=_GOOD_PER_SECOND))
        strangers = [(kind, port) for kind in kinds for port in targets]
        settling = min(_SETTLING_SECONDS, seconds / 2)
        # What the first stranger of each kind leaves in the allocator is no drift.
        for kind, port in strangers:
            warming = min(_WARMING_SECONDS, seconds / 2)
            await _beside(callers, kind, targets[port], seconds=warming, settling_seconds=settling)
        warm_bytes = gateway.resident_bytes()
        for kind, port in strangers:
            found.beside[kind, port] = await _beside(
                callers, kind, targets[port], seconds=seconds, settling_seconds=settling
            )
        found.drift_bytes = gateway.resident_bytes() - warm_bytes
        callers.close()
    return found


def _targets(credentials: Credentials, gateway: Gateway) -> dict[str, Target]:
    sealed = seal_url_check(
        b"1234567890123456789", credentials, receive_id="", timestamp=int(time.time()), random=os.urandom
    )
    path = urlsplit(gateway.callback_url).path
    return {
        "callback": Target(gateway.callback_url, path, sealed.query),
        "gateway": Target(gateway.status_url, "/healthz", ""),
    }


async def _beside(callers: GoodCallers, kind: str, target: Target, *, seconds: float, settling_seconds: float) -> Calls:
    """Call while a stranger in a process of its own does its worst, then let the gateway come to rest."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak.stranger", "--be", kind),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    # The query of a URL check is in no list of processes.
    process.stdin.write(msgspec.json.encode(target) + b"\n")
    await process.stdout.readline()
    try:
        return await callers.call(seconds=seconds, per_second=_GOOD_PER_SECOND)
    finally:
        process.kill()
        await process.wait()
        await asyncio.sleep(settling_seconds)


def main() -> int:
    """Run the long form, print what was found, return 0 when every limit was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="beside each stranger on each port")
    parser.add_argument("--only", choices=KINDS, help="this stranger and no other")
    parser.add_argument("--be", choices=KINDS, help="be this stranger, to the target on standard input")
    arguments = parser.parse_args()
    if arguments.be:
        target = msgspec.json.decode(sys.stdin.buffer.readline(), type=Target)
        asyncio.run(_go_on(KINDS[arguments.be](target)))
    kinds = [arguments.only] if arguments.only else list(KINDS)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(run(Path(folder), seconds=arguments.seconds, kinds=kinds))
    sys.stdout.write(f"{found}\n")
    missed = found.missed()
    sys.stdout.write("".join(f"FAIL {sentence}\n" for sentence in missed) or "ok\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
