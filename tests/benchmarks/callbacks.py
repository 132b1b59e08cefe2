"""Acknowledgements per second of the channel on each state backend and of two baselines, through real sockets.

The servers in `serving.py` run on the first core, the load generator and Redis on the last. Every request is a new
message with a valid signature, sealed before the measurement begins. Requests go over 32 keep-alive connections with
one request at a time on each. Each round measures all servers in turn, and each server is compared with the bare
aiohttp application of the same round. A sample of the answers is decrypted and verified, and at the end every
acknowledged message must have reached the host.

On a busy machine use the CPU columns, which count only the computing time of the server itself.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tests.benchmarks.figures import Figure, figure, ratios
from tests.benchmarks.load import load_core, pinned, put_under_load
from tests.benchmarks.sealing import Bot, as_http, check_answers
from tests.benchmarks.servers import Server, Settings
from tests.soak.replicas import durable_redis

if TYPE_CHECKING:
    from tests.benchmarks.figures import Rows
    from tests.benchmarks.scale import Scale

AIOHTTP = "bare aiohttp application"
PROTOCOL = "bare asyncio protocol"
MAX_CPU = {"memory:": 1.1, "sqlite:": 2.0, "redis:": 2.0}
"""Maximum CPU time of a callback, as a multiple of the bare aiohttp application's. The Go original needs 1.1."""

_WARM_UP_MESSAGES = 200


@dataclass
class Rounds:
    """The results of all rounds of one server."""

    per_second: list[float] = field(default_factory=list)
    p99_seconds: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)


def servers(bot: Bot, folder: Path, redis: str) -> dict[str, Settings]:
    """Return the servers, keyed by row label."""
    return {
        AIOHTTP: Settings(kind="aiohttp"),
        PROTOCOL: Settings(kind="protocol"),
        "memory:": Settings(kind="channel", entry=bot.entry(state="memory:")),
        "sqlite:": Settings(kind="channel", entry=bot.entry(state=f"sqlite:{folder / 'state.db'}")),
        "redis:": Settings(kind="channel", entry=bot.entry(state=redis)),
    }


def variants(bot: Bot) -> dict[str, Settings]:
    """Return servers with other settings, which help to explain the figures, keyed by row label."""
    ours = Settings(kind="channel", entry=bot.entry(state="memory:"))
    found = {"memory:, logging warnings only": msgspec.structs.replace(ours, level="warning")}
    if find_spec("uvloop"):
        found["memory:, uvloop"] = msgspec.structs.replace(ours, uvloop=True)
        found[f"{AIOHTTP}, uvloop"] = Settings(kind="aiohttp", uvloop=True)
    return found


def measure(scale: Scale) -> Rows:
    """Return the figures of each server.

    Raises:
        RuntimeError: an answer is wrong, or a message did not reach the host.
    """
    bot = Bot()
    found: dict[str, Rounds] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with pinned(load_core()):
            redis = stack.enter_context(durable_redis())
        measured = servers(bot, folder, redis.address()) | (variants(bot) if scale.variants else {})
        started = {name: stack.enter_context(Server(settings)) for name, settings in measured.items()}
        stack.enter_context(pinned(load_core()))
        warm_up = min(_WARM_UP_MESSAGES, scale.messages)
        for server in started.values():
            put_under_load(server.port, [as_http(bot.seal()) for _ in range(warm_up)])
        for number in range(scale.rounds):
            sealed = [bot.seal() for _ in range(scale.messages)]
            requests = [as_http(each) for each in sealed]
            for name, server in started.items():
                cpu_before = server.cpu_seconds()
                load = put_under_load(server.port, requests)
                cpu_seconds = (server.cpu_seconds() - cpu_before) / scale.messages
                if name.split(",")[0] in MAX_CPU:
                    check_answers(sealed, load.sample)
                each = found.setdefault(name, Rounds())
                each.per_second.append(load.per_second)
                each.p99_seconds.append(load.p99_seconds)
                each.busy.append(load.busy)
                each.cpu_seconds.append(cpu_seconds)
            scale.report(f"round {number + 1} of {scale.rounds}")
    for name, server in started.items():
        sent = warm_up + scale.rounds * scale.messages
        published = server.summary.published
        if published not in {None, sent}:
            message = f"{name}: of {sent} acknowledged messages {published} reached the host"
            raise RuntimeError(message)
    return {name: _figures(name, each, found[AIOHTTP]) for name, each in found.items()}


def _figures(name: str, rounds: Rounds, baseline: Rounds) -> dict[str, Figure]:
    return {
        "throughput relative to aiohttp": figure(ratios(rounds.per_second, baseline.per_second), "x"),
        "per second": figure(rounds.per_second),
        "CPU relative to aiohttp": figure(
            ratios(rounds.cpu_seconds, baseline.cpu_seconds), "x", at_most=MAX_CPU.get(name)
        ),
        "p99": figure([seconds * 1000 for seconds in rounds.p99_seconds], "ms"),
        "CPU each": figure([seconds * 1e6 for seconds in rounds.cpu_seconds], "µs"),
        "generator busy": figure(rounds.busy),
    }
