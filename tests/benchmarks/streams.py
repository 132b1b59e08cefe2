"""The time until people see the first sign of an answer, and the answers to refreshes, while answers are streamed.

The stream of each message is refreshed once a second until its last frame, as WeCom does: the generator opens each
answer. Each request has a scheduled time, from which its response time counts. In the end every answer must have been
fetched by a refresh.
"""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING

from maven_channel_wecom.policy.stream import stream_id
from maven_channel_wecom.sentences import STREAM_ENDED
from maven_channel_wecom.simulator.acknowledgements import read_acknowledgement
from tests.benchmarks.figures import figure
from tests.benchmarks.load import load_core, p99, pinned, send_on_schedule
from tests.benchmarks.sealing import Bot, as_http
from tests.benchmarks.servers import Server, Settings
from tests.soak.replicas import durable_redis

if TYPE_CHECKING:
    from tests.benchmarks.figures import Rows
    from tests.benchmarks.scale import Scale

_ROUNDS = 3
# So many that no refresh waits for a connection while the state is slow.
_CONNECTIONS = 256
# As many as a stream may need on a busy machine before its last frame.
_REFRESHES = 9
_CPU = "CPU of a core"
_FIRST_SIGN = "first sign, p99"
_MAX_FIRST_SIGN_MS = {"memory:": 1000.0}
_SHARE_OF_LOAD = {"memory:": 1.0, "redis:": 1 / 3}
"""Redis shares its core with the generator here, and a message needs up to ten scripts, most of them shared."""


def measure(scale: Scale) -> Rows:
    """Return the figures of two states, measured in turn.

    Raises:
        RuntimeError: a callback was not acknowledged, a frame is wrong, or an answer was not fetched.
    """
    found: dict[str, dict[str, list[float]]] = {}
    rounds = min(_ROUNDS, scale.rounds)
    with ExitStack() as stack:
        with pinned(load_core()):
            redis = stack.enter_context(durable_redis())
        stack.enter_context(pinned(load_core()))
        for number in range(rounds):
            for state, address in (("memory:", "memory:"), ("redis:", redis.address())):
                scale.report(f"{state}, round {number + 1} of {rounds}")
                per_second = scale.streams_per_second * _SHARE_OF_LOAD[state]
                measured = _measure(address, scale, per_second=per_second, seconds=scale.seconds / rounds)
                for name, value in measured.items():
                    found.setdefault(state, {}).setdefault(name, []).append(value)
    return {
        f"{state} {scale.streams_per_second * _SHARE_OF_LOAD[state]:g}/s, turns of {scale.turn_seconds:g} s": {
            name: figure(
                values,
                "" if name == _CPU else "ms",
                at_most=_MAX_FIRST_SIGN_MS.get(state) if name == _FIRST_SIGN else None,
            )
            for name, values in measures.items()
        }
        for state, measures in found.items()
    }


def _measure(state: str, scale: Scale, *, per_second: float, seconds: float) -> dict[str, float]:
    """Return the figures of one server, in ms but for the share of its core that it used."""
    bot, turn_seconds = Bot(), scale.turn_seconds
    messages = max(1, int(per_second * seconds))
    planned: list[tuple[float, str, int]] = sorted(
        (number / per_second + refresh, message_id, refresh)
        for number, message_id in enumerate(bot.new_message_id() for _ in range(messages))
        for refresh in range(_REFRESHES + 1)
    )
    unfinished = {message_id for _, message_id, _ in planned}
    # The inbox has room for every message, because this measures delays, not refusals.
    entry = bot.entry(state=state, progress="stream", inboxLimit=messages + 1)
    with Server(Settings(kind="channel", entry=entry, turn_seconds=turn_seconds)) as channel:
        sealed = [
            bot.seal_refresh(message_id) if refresh else bot.seal(message_id=message_id)
            for _, message_id, refresh in planned
        ]

        def read_frame(number: int, body: bytes) -> None:
            _, message_id, refresh = planned[number]
            found = read_acknowledgement(body, sealed[number], "", kind="refresh" if refresh else "message")
            frame = found.frame
            if frame is None or frame.stream_id != stream_id("wecom", message_id):
                message = f"the answer to refresh {refresh} of a stream is wrong: {found}"
                raise RuntimeError(message)
            # On a busy machine a refresh may overtake its message, which WeCom does not do: there is no stream yet.
            if frame.finish and frame.content not in STREAM_ENDED:
                unfinished.discard(message_id)

        requests = [as_http(each) for each in sealed]
        port, cpu_before = channel.port, channel.cpu_seconds()
        load = send_on_schedule(
            port,
            requests,
            [due for due, _, _ in planned],
            connections=_CONNECTIONS,
            is_needed=lambda number: planned[number][1] in unfinished,
            answered=read_frame,
        )
        cpu_seconds = channel.cpu_seconds() - cpu_before
    if channel.summary.fetched != messages:
        message = f"{channel.summary.fetched} of {messages} answers were fetched by a refresh"
        raise RuntimeError(message)
    timed = [(each * 1000, plan[2]) for each, plan in zip(load.seconds, planned, strict=True) if each]
    signs = [each for each, refresh in timed if not refresh]
    refreshes = [each for each, refresh in timed if refresh]
    return {
        "first sign, p50": median(signs),
        _FIRST_SIGN: p99(signs),
        "first sign, longest": max(signs),
        "refresh, p50": median(refreshes),
        "refresh, p99": p99(refreshes),
        "refresh, longest": max(refreshes),
        "longest stall": channel.summary.stall_seconds * 1000,
        _CPU: cpu_seconds / (seconds + turn_seconds),
    }
