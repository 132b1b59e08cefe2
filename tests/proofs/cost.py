"""What a promise costs: acknowledgements a second and their p99 on each state, measured side by side in one run.

python -m tests.proofs.cost --messages 5000 --rounds 3

The gateway is on one core, load and Redis on another. Callbacks are sealed beforehand; each one is new, opens a window,
and goes to an agent that has nothing to say, so that no reply is part of the figure.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from maven_channel_wecom.protocol import cipher
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator.callbacks import seal_callback
from maven_channel_wecom.simulator.keys import new_encoding_aes_key, new_token
from tests.proofs.fleet import Gateway
from tests.proofs.replicas import durable_redis

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONNECTIONS = 32


@dataclass
class Rounds:
    """What the rounds of one state gave."""

    per_second: list[float] = field(default_factory=list)
    p99_seconds: list[float] = field(default_factory=list)


def sealed_requests(credentials: Credentials, url: str, *, messages: int, start: int) -> list[bytes]:
    """Return whole HTTP requests, each with a message of its own."""
    parts = urlsplit(url)
    requests = []
    for number in range(start, start + messages):
        message = msgspec.json.encode(
            {
                "msgid": f"{os.urandom(12).hex()}{number}",
                "aibotid": "aib1",
                "chattype": "single",
                "from": {"userid": f"user{number % 500}"},
                "response_url": f"http://127.0.0.1:1/cgi-bin/aibot/response?response_code={os.urandom(32).hex()}",
                "msgtype": "text",
                "text": {"content": " "},
            }
        )
        sealed = seal_callback(message, credentials, receive_id="", timestamp=int(time.time()), random=os.urandom)
        requests.append(
            f"POST {parts.path}?{sealed.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(sealed.body)}\r\n\r\n".encode()
            + sealed.body
        )
    return requests


async def one_round(url: str, requests: list[bytes]) -> tuple[float, float]:
    """Send everything over a few connections; return acknowledgements a second and their p99 in seconds."""
    parts = urlsplit(url)
    seconds: list[float] = []
    remaining: Iterator[bytes] = iter(requests)

    async def caller() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for request in remaining:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            seconds.append(time.perf_counter() - began)
            if not head.startswith(b"HTTP/1.1 200"):
                message = f"not acknowledged: {head.splitlines()[0]!r}"
                raise RuntimeError(message)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(_CONNECTIONS)))
    elapsed = time.perf_counter() - began
    return len(seconds) / elapsed, statistics.quantiles(seconds, n=100)[98]


async def measure(folder: Path, *, messages: int, rounds: int) -> dict[str, Rounds]:
    """Return the rounds of each state, taken in turns."""
    token, key = new_token(), new_encoding_aes_key()
    credentials = Credentials(token, cipher.decode_key(key))
    found = {"memory:": Rounds(), "sqlite:": Rounds(), "redis:": Rounds()}
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-1:])
    with durable_redis() as redis:
        addresses = {"memory:": "memory:", "sqlite:": f"sqlite:{folder / 'state.db'}", "redis:": redis.address()}
        gateways = {
            name: Gateway(folder, number, token=token, encoding_aes_key=key, agent_url="", state=address)
            for number, (name, address) in enumerate(addresses.items())
        }
        try:
            # A process has the cores of the one that starts it, with all its threads.
            os.sched_setaffinity(0, cores[:1])
            for gateway in gateways.values():
                await gateway.start()
            os.sched_setaffinity(0, cores[-1:])
            for number in range(rounds):
                for name, gateway in gateways.items():
                    requests = sealed_requests(
                        credentials, gateway.callback_url, messages=messages, start=number * messages
                    )
                    per_second, p99_seconds = await one_round(gateway.callback_url, requests)
                    found[name].per_second.append(per_second)
                    found[name].p99_seconds.append(p99_seconds)
        finally:
            os.sched_setaffinity(0, cores)
            for gateway in gateways.values():
                await gateway.kill()
    return found


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), messages=arguments.messages, rounds=arguments.rounds))
    floor = statistics.median(found["memory:"].per_second)
    sys.stdout.write("state     acknowledged/s   of memory:   p99\n")
    for name, rounds in found.items():
        middle = statistics.median(rounds.per_second)
        p99 = statistics.median(rounds.p99_seconds)
        sys.stdout.write(f"{name:<10}{middle:>14.0f}{middle / floor:>13.2f}{p99 * 1000:>9.1f} ms\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
