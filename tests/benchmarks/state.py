"""Many live messages on each state backend: memory per message, pauses while they expire, and CPU time of a message.

Every measurement runs in a new process with the garbage collection settings of the embedded host. Memory is the growth
of that process over the empty state, without the file of `sqlite:` and the server of `redis:`. The CPU time is that of
a message's life in the state: it is admitted with its window, answered (every other one) and finished. On `memory:`,
which holds at most MAX_CLAIMS, the messages of one hour stay alive, so that for each new message an old one expires.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from maven_channel_wecom.clock import SystemClock
from maven_channel_wecom.host.process import tune_garbage_collection
from maven_channel_wecom.policy.reply_window import ReplyWindow, chat_key
from maven_channel_wecom.protocol import limits
from maven_channel_wecom.state.backends import open_state
from maven_channel_wecom.state.memory import MAX_CLAIMS, MemoryStateStore
from maven_channel_wecom.state.store import CLAIM_SECONDS, Admission, StoredCallback, retry_while_unavailable
from tests.benchmarks.figures import figure, ratios
from tests.benchmarks.load import load_core, pinned, server_core
from tests.benchmarks.stalls import watch_stalls
from tests.soak.replicas import durable_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from maven_channel_wecom.state.store import StateStore
    from tests.benchmarks.figures import Rows
    from tests.benchmarks.scale import Scale

_T = TypeVar("_T")

_START = 1_700_000_000.0
_BATCH = 200
_BATCH_WATCHED = 20
"""A small batch, so that pauses are not due to the batch itself."""
_USERS = 500
_FEW, _SOME = 1, 1_000
_EXPIRIES = 3
"""Number of rounds. On a shared machine, other programs may cause the longest pause of a single round."""


def measure(scale: Scale) -> Rows:
    """Return the figures of each state backend."""
    scale.report("memory:")
    entries = min(scale.entries, MAX_CLAIMS)
    ids, ids_stalls = _in_new_process(partial(_fill, "memory:", entries, with_windows=False, expiries=_EXPIRIES))
    both, both_stalls = _in_new_process(partial(_fill, "memory:", entries, with_windows=True, expiries=_EXPIRIES))
    stalls = [max(pair) for pair in zip(ids_stalls, both_stalls, strict=True)]
    costs = _in_new_process(partial(_costs, entries, scale.messages, scale.rounds))
    rows: Rows = {
        "memory:": {
            "bytes for an id": figure([ids], "B", at_most=400.0),
            "bytes for a window": figure([both - ids], "B", at_most=600.0),
            "longest pause while all expire": figure([stall * 1000 for stall in stalls], "ms", at_most=100.0),
            f"cost with {_SOME:,} messages relative to {_FEW}": figure(ratios(costs[1], costs[0]), "x"),
            f"cost with {entries:,} messages relative to {_FEW}": figure(ratios(costs[2], costs[0]), "x", at_most=1.5),
            f"cost with {_FEW} message": figure([seconds * 1e6 for seconds in costs[0]], "µs"),
        }
    }
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        with pinned(load_core()):
            redis = stack.enter_context(durable_redis())
        for name, address in (("sqlite:", f"sqlite:{Path(folder) / 'state.db'}"), ("redis:", redis.address())):
            scale.report(name)
            grown, stalls = _in_new_process(partial(_fill, address, scale.entries, with_windows=False))
            rows[name] = {
                "bytes for an id": figure([grown], "B"),
                "longest pause while all expire": figure([stall * 1000 for stall in stalls], "ms"),
            }
    return rows


def _in_new_process(measurement: Callable[[], Coroutine[None, None, _T]]) -> _T:
    """Run a measurement in a new process on the servers' core."""
    with (
        pinned(server_core()),
        ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        return pool.submit(_run, measurement).result()


def _run(measurement: Callable[[], Coroutine[None, None, _T]]) -> _T:
    tune_garbage_collection()
    return asyncio.run(measurement())


async def _open(address: str, entries: int) -> StateStore:
    if address == "memory:":
        # The default limit would end the measurement.
        return MemoryStateStore(max_claims=4 * (entries + 10_000))
    return await open_state(address, channel="bench")


async def _fill(address: str, entries: int, *, with_windows: bool, expiries: int = 1) -> tuple[float, list[float]]:
    """Return the bytes per entry, and the longest stall in seconds of each round in which all entries expire."""
    state = await _open(address, entries)
    await _admit_all(state, 0, min(entries, 1_000), _START - 2 * CLAIM_SECONDS, with_windows=with_windows)
    gc.collect()
    empty, grown = _resident_bytes(), 0
    stalls: list[float] = []
    for expiry in range(expiries):
        first, now = (2 * expiry + 1) * entries, _START + 3 * expiry * CLAIM_SECONDS
        await _admit_all(state, first, entries, now, with_windows=with_windows)
        gc.collect()
        if not stalls:
            grown = _resident_bytes() - empty
        # An hour later new messages arrive, fewer than the old ones, which now expire.
        async with watch_stalls() as stall:
            count = min(entries, 20_000) if address != "memory:" else entries // 3
            later = now + CLAIM_SECONDS + 1
            await _admit_all(state, first + entries, count, later, batch_size=_BATCH_WATCHED)
        stalls.append(stall.longest_seconds)
    await state.close()
    return grown / entries, stalls


async def _admit_all(
    state: StateStore, first: int, count: int, now: float, *, with_windows: bool = False, batch_size: int = _BATCH
) -> None:
    clock = SystemClock()
    for start in range(first, first + count, batch_size):
        numbers = range(start, min(start + batch_size, first + count))
        batch = [_admission(number, now, with_window=with_windows) for number in numbers]
        # On a busy machine an operation may time out; it is retried as in a host.
        until = clock.now() + 300.0
        await retry_while_unavailable(partial(state.admit, batch, now), clock, until=until)
        finishes = (partial(state.finish, admission.callback.message_id, now) for admission in batch)
        await asyncio.gather(*(retry_while_unavailable(finish, clock, until=until) for finish in finishes))


def _admission(number: int, now: float, *, with_window: bool = True) -> Admission:
    message_id, user_id = f"{number:032x}", f"user{number % _USERS}"
    window = ReplyWindow(
        message_id=message_id,
        chat=chat_key(user_id, is_group=False),
        sender_id=user_id,
        url=f"https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code={number:048x}",
        opened_at=now,
        expires_at=now + limits.RESPONSE_URL_SECONDS,
    )
    return Admission(StoredCallback(message_id, now, b"{}"), window if with_window else None)


async def _process_message(state: StateStore, number: int, now: float) -> None:
    """Admit and finish one message, and answer every other one."""
    admission = _admission(number, now)
    message_id, window = admission.callback.message_id, admission.window
    await state.admit([admission], now)
    if number % 2 == 0 and window and (claimed := await state.claim_window([window.chat], message_id, now)):
        await state.spend_window(claimed, now)
    await state.finish(message_id, now)


async def _costs(entries: int, messages: int, rounds: int) -> list[list[float]]:
    """Return the CPU seconds of a message in each round, for each number of live entries."""
    levels = (_FEW, _SOME, entries)
    states = [await _open("memory:", entries) for _ in levels]
    numbers = [0, 0, 0]

    async def process_messages(which: int, count: int) -> float:
        """Continue with this number of messages and return the CPU seconds of each."""
        state, pause = states[which], CLAIM_SECONDS / levels[which]
        began = time.thread_time()
        for number in range(numbers[which], numbers[which] + count):
            await _process_message(state, number, _START + number * pause)
        numbers[which] += count
        return (time.thread_time() - began) / count

    for which, level in enumerate(levels):
        await process_messages(which, level)
    found: list[list[float]] = [[], [], []]
    for _ in range(rounds):
        for which in range(3):
            found[which].append(await process_messages(which, messages))
    return found


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096
