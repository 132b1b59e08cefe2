"""Attack a gateway without credentials, and measure the response times of good callers and the memory of the gateway.

python -m tests.soak.stranger --seconds 20

The attacker is a separate process without the token. It runs each attack on the callback port, then on the gateway
port, while good callers send genuine callbacks, each in two segments. Exits with 1 if a limit is exceeded.
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
from tests.soak.callers import GoodCallers
from tests.soak.fleet import plain_gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from maven_channel_wecom.protocol.envelope import Credentials
    from tests.soak.callers import CallStats
    from tests.soak.fleet import Gateway

MAX_P999_SECONDS: Final = 0.05
MAX_WAIT_SECONDS: Final = 0.25
MAX_DRIFT_BYTES: Final = 8_000_000

_GOOD_PER_SECOND: Final = 100.0
_WARM_UP_SECONDS: Final = 2.0
_COOL_DOWN_SECONDS: Final = 2.0
_ANSWER_TIMEOUT_SECONDS: Final = 2.0

_COMPRESSED_BYTES: Final = 61_000
_BOMB_BYTES: Final = 62_000_000
"""Size of a compressed body when it is decompressed."""
_COMPRESSED_PER_SECOND: Final = 16
"""Compressed bodies per second, about 1 MB/s."""
_BODY_BYTES: Final = 1024 * 1024
_INCOMPLETE_BODIES: Final = 32
_INCOMPLETE_PER_SECOND: Final = 64
_INITIAL_REPLAYS: Final = 999
_MAX_OPEN_REPLAYS: Final = 1_500
_CONNECTIONS_PER_SECOND: Final = 300
_TRICKLING_CONNECTIONS: Final = 50
_TRICKLE_DELAY_SECONDS: Final = 0.02
_ONE_BYTE_CHUNKS: Final = b"1\r\nx\r\n" * 100


class Target(msgspec.Struct, frozen=True):
    """Target of an attack: a URL with the port, a path, and the query of a URL check that the attacker has recorded."""

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


def compressed_bodies(target: Target) -> Coroutine[None, None, None]:
    """Send bodies of every content coding to several paths, at 1 MB/s. Gzip and deflate decompress to 62 MB."""
    gzipped, deflated = (_compress(bytes(_BOMB_BYTES), bits) for bits in (31, 15))
    noise = os.urandom(_COMPRESSED_BYTES)
    coded = itertools.cycle(
        [("gzip", gzipped), ("deflate", deflated), ("br", noise), ("zstd", noise), ("gzip, gzip", gzipped)]
    )
    paths = itertools.cycle([target.path, "/", "/elsewhere"])

    async def send_one() -> None:
        coding, body = next(coded)
        headers = (f"Content-Encoding: {coding}", f"Content-Length: {len(body)}")
        await _exchange(target, target.head("POST", *headers, path=next(paths)) + body)

    return _repeat(_COMPRESSED_PER_SECOND, send_one)


def incomplete_bodies(target: Target) -> Coroutine[None, None, None]:
    """Keep 32 bodies of 1 MiB open without their last byte."""
    limit = asyncio.Semaphore(_INCOMPLETE_BODIES)
    request = target.head("POST", f"Content-Length: {_BODY_BYTES}") + bytes(_BODY_BYTES - 1)

    async def send_one() -> None:
        async with limit:
            await _exchange(target, request, until_closed=True)

    return _repeat(_INCOMPLETE_PER_SECOND, send_one)


async def replayed_url_checks(target: Target) -> None:
    """Open 999 connections that each replay a URL check, then 300 a second more, closing the oldest above 1,500."""
    request = target.head("GET", path=f"{target.path}?{target.query}")
    opened: deque[asyncio.StreamWriter] = deque()

    async def send_one() -> None:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(*target.address)
            writer.write(request)
            opened.append(writer)
            if len(opened) > _MAX_OPEN_REPLAYS:
                opened.popleft().close()

    for _ in range(_INITIAL_REPLAYS):
        await send_one()
    await _repeat(_CONNECTIONS_PER_SECOND, send_one)


async def trickle(target: Target) -> None:
    """Send requests byte by byte, and bodies in chunks of one byte, many of them in one segment."""
    plain = target.head("POST", "Content-Length: 2") + b"{}"
    chunked = target.head("POST", "Transfer-Encoding: chunked")

    async def send_repeatedly(number: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(*target.address)
                pieces = (
                    [bytes([byte]) for byte in plain]
                    if number % 2
                    else [chunked, *(_ONE_BYTE_CHUNKS for _ in range(40))]
                )
                for piece in [*pieces, b"0\r\n\r\n"]:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(_TRICKLE_DELAY_SECONDS)
                await _read(reader, until_closed=False)
                writer.close()

    await asyncio.gather(*(send_repeatedly(number) for number in range(_TRICKLING_CONNECTIONS)))


def connection_flood(target: Target) -> Coroutine[None, None, None]:
    """Open 300 connections a second that close at once, close within a request, or send what is not HTTP."""
    beginnings = itertools.cycle(
        [b"", target.head("POST", "Content-Length: 9"), b"\x16\x03\x01\x02\x00\x01\x00", b"\r\n"]
    )

    async def send_one() -> None:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(*target.address)
            writer.write(next(beginnings))
            writer.close()

    return _repeat(_CONNECTIONS_PER_SECOND, send_one)


# Each function prepares its data and returns a coroutine that runs until the process is killed.
ATTACKS: Final[dict[str, Callable[[Target], Coroutine[None, None, None]]]] = {
    "compressed-bodies": compressed_bodies,
    "incomplete-bodies": incomplete_bodies,
    "replayed-checks": replayed_url_checks,
    "trickle": trickle,
    "flood": connection_flood,
}


async def _run_attack(attack: Coroutine[None, None, None]) -> None:
    """Report on standard output that the data are prepared, then run the attack."""
    sys.stdout.write("started\n")
    sys.stdout.flush()
    await attack


def _compress(data: bytes, window_bits: int) -> bytes:
    compressor = zlib.compressobj(9, wbits=window_bits)
    return compressor.compress(data) + compressor.flush()


async def _repeat(per_second: float, send_one: Callable[[], Coroutine[None, None, None]]) -> None:
    """Call `send_one` at this rate until cancelled, without waiting for earlier calls."""
    loop, started = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        for number in itertools.count(1):
            group.create_task(send_one())
            await asyncio.sleep(max(0.0, started + number / per_second - loop.time()))


async def _exchange(target: Target, request: bytes, *, until_closed: bool = False) -> None:
    """Send a request on a new connection and read the answer, if any, or until the server closes."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(*target.address)
        try:
            writer.write(request)
            await _read(reader, until_closed=until_closed)
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader, *, until_closed: bool) -> None:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(None if until_closed else _ANSWER_TIMEOUT_SECONDS):
            while await reader.read(65536) and until_closed:
                pass


@dataclass(kw_only=True)
class Findings:
    """The calls of good callers without an attack, and during each attack on each port."""

    undisturbed: CallStats
    attacked: dict[tuple[str, str], CallStats] = field(default_factory=dict)
    drift_bytes: int = 0

    def exceeded(self) -> list[str]:
        """Return a sentence for each limit that was exceeded."""
        sentences = []
        for (attack, port), calls in self.attacked.items():
            when = f"during {attack} on the {port} port"
            if calls.failed:
                sentences.append(f"{when} {calls.failed} calls of good callers failed")
            if calls.p999_seconds > MAX_P999_SECONDS or calls.longest_seconds > MAX_WAIT_SECONDS:
                sentences.append(f"{when} good callers waited too long")
        if self.undisturbed.failed:
            sentences.append(f"without an attack {self.undisturbed.failed} calls of good callers failed")
        if self.drift_bytes > MAX_DRIFT_BYTES:
            sentences.append(f"memory rose by {self.drift_bytes / 1e6:.1f} MB")
        return sentences

    def __str__(self) -> str:
        rows = [("none", "", self.undisturbed), *((*key, calls) for key, calls in self.attacked.items())]
        titles = f"{'calls':>7}{'failed':>8}{'retried':>9}{'p99':>11}{'p99.9':>11}{'longest':>11}"
        lines = [
            f"{attack:<19}{port:<10}{len(calls.seconds):>7}{calls.failed:>8}{calls.repeated:>9}{_format_times(calls)}"
            for attack, port, calls in rows
        ]
        memory = f"memory {self.drift_bytes / 1e6:+.1f} MB"
        return "\n".join([f"{'attack':<19}{'on port':<10}{titles}", *lines, memory])


def _format_times(calls: CallStats) -> str:
    times = calls.p99_seconds, calls.p999_seconds, calls.longest_seconds
    return "".join(f"{seconds * 1000:>8.1f} ms" for seconds in times)


async def run(folder: Path, *, seconds: float, attacks: Sequence[str] = tuple(ATTACKS)) -> Findings:
    """Measure good callers of one gateway, first undisturbed and then during each attack on each port."""
    async with plain_gateway(folder) as (credentials, gateway):
        callers = GoodCallers(credentials, gateway.callback_url, segments=2)
        targets = _targets(credentials, gateway)
        await callers.call(seconds=min(_WARM_UP_SECONDS, seconds), per_second=_GOOD_PER_SECOND)
        findings = Findings(undisturbed=await callers.call(seconds=seconds, per_second=_GOOD_PER_SECOND))
        rounds = [(attack, port) for attack in attacks for port in targets]
        cool_down = min(_COOL_DOWN_SECONDS, seconds / 2)
        # A first round of attacks warms up the allocator, so that its memory does not count as drift.
        for attack, port in rounds:
            warm_up = min(_WARM_UP_SECONDS, seconds / 2)
            await _measure_during(callers, attack, targets[port], seconds=warm_up, cool_down_seconds=cool_down)
        warm_bytes = gateway.resident_bytes()
        for attack, port in rounds:
            findings.attacked[attack, port] = await _measure_during(
                callers, attack, targets[port], seconds=seconds, cool_down_seconds=cool_down
            )
        findings.drift_bytes = gateway.resident_bytes() - warm_bytes
        callers.close()
    return findings


def _targets(credentials: Credentials, gateway: Gateway) -> dict[str, Target]:
    sealed = seal_url_check(
        b"1234567890123456789", credentials, receive_id="", timestamp=int(time.time()), random=os.urandom
    )
    path = urlsplit(gateway.callback_url).path
    return {
        "callback": Target(gateway.callback_url, path, sealed.query),
        "gateway": Target(gateway.status_url, "/healthz", ""),
    }


async def _measure_during(
    callers: GoodCallers, attack: str, target: Target, *, seconds: float, cool_down_seconds: float
) -> CallStats:
    """Measure good callers during an attack from another process, then wait until the gateway is idle again."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak.stranger", "--attack", attack),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    # Standard input keeps the query of the URL check out of the process list.
    process.stdin.write(msgspec.json.encode(target) + b"\n")
    await process.stdout.readline()
    try:
        return await callers.call(seconds=seconds, per_second=_GOOD_PER_SECOND)
    finally:
        process.kill()
        await process.wait()
        await asyncio.sleep(cool_down_seconds)


def main() -> int:
    """Run the long form, print the result, and return 0 if every limit was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each attack on each port")
    parser.add_argument("--only", choices=ATTACKS, help="run only this attack")
    parser.add_argument(
        "--attack", choices=ATTACKS, help="carry out this attack on the target on standard input, and measure nothing"
    )
    arguments = parser.parse_args()
    if arguments.attack:
        target = msgspec.json.decode(sys.stdin.buffer.readline(), type=Target)
        asyncio.run(_run_attack(ATTACKS[arguments.attack](target)))
    attacks = [arguments.only] if arguments.only else list(ATTACKS)
    with tempfile.TemporaryDirectory() as folder:
        findings = asyncio.run(run(Path(folder), seconds=arguments.seconds, attacks=attacks))
    sys.stdout.write(f"{findings}\n")
    exceeded = findings.exceeded()
    sys.stdout.write("".join(f"FAIL {sentence}\n" for sentence in exceeded) or "ok\n")
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
