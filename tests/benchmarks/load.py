"""A load generator fast enough not to be the bottleneck. It has no event loop.

It uses keep-alive connections with one request at a time on each.
"""

from __future__ import annotations

import os
import select
import socket
import statistics
import time
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_CONNECTIONS = 32
# One answer in so many is kept.
_SAMPLE_EVERY = 100
_RECEIVE_BYTES = 65536
_SILENCE_SECONDS = 30.0
_SILENT = f"no answer for {_SILENCE_SECONDS:.0f} s"


@dataclass(frozen=True)
class Load:
    """The result of one round.

    `busy` is the share of its core that the generator used: at 0.2 it could have generated five times the load.
    `sample` holds the bodies of some answers, keyed by the number of the request.
    """

    per_second: float
    p99_seconds: float
    busy: float
    sample: dict[int, bytes]


@dataclass(slots=True)
class _Caller:
    """One connection, waiting for the answer to request `number`."""

    connection: socket.socket
    number: int = 0
    began: float = 0.0
    received: bytes = b""


def server_core() -> int:
    """Return the core for servers."""
    return min(os.sched_getaffinity(0))


def load_core() -> int:
    """Return the core for everything else, which is the servers' core if there is only one."""
    return max(os.sched_getaffinity(0))


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Pin this thread, and every process it starts, to one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def put_under_load(port: int, requests: Sequence[bytes]) -> Load:
    """Send every request once, as fast as the server answers, over a few connections.

    Raises:
        RuntimeError: an answer is not 200, or the server closed a connection or stopped answering.
    """
    with ExitStack() as stack:
        poll, callers = _connect(stack, port, min(_CONNECTIONS, len(requests)))
        return _run(poll, callers, requests)


def _connect(stack: ExitStack, port: int, connections: int) -> tuple[select.epoll, dict[int, _Caller]]:
    """Return a poll object and its callers, keyed by file descriptor."""
    poll = stack.enter_context(select.epoll())
    callers = {}
    for _ in range(connections):
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(connection, select.EPOLLIN)
        callers[connection.fileno()] = _Caller(connection)
    return poll, callers


def _run(poll: select.epoll, callers: dict[int, _Caller], requests: Sequence[bytes]) -> Load:
    seconds: list[float] = []
    sample: dict[int, bytes] = {}
    numbered = enumerate(requests)
    busy_before, began = time.thread_time(), time.perf_counter()
    for caller in callers.values():
        caller.number, request = next(numbered)
        caller.began = time.perf_counter()
        caller.connection.sendall(request)
    while len(seconds) < len(requests):
        ready = poll.poll(_SILENCE_SECONDS)
        if not ready:
            raise RuntimeError(_SILENT)
        for descriptor, _ in ready:
            caller = callers[descriptor]
            body = _receive(caller)
            if body is None:
                continue
            now = time.perf_counter()
            seconds.append(now - caller.began)
            if caller.number % _SAMPLE_EVERY == 0:
                sample[caller.number] = body
            following = next(numbered, None)
            if following is not None:
                caller.number, request = following
                caller.began = now
                caller.connection.sendall(request)
    elapsed = time.perf_counter() - began
    return Load(
        per_second=len(seconds) / elapsed,
        p99_seconds=p99(seconds),
        busy=(time.thread_time() - busy_before) / elapsed,
        sample=sample,
    )


@dataclass(frozen=True)
class SteadyLoad:
    """The result of a load with a schedule.

    `seconds` is the time from when each request was due to its answer, by the number of the request. `sample` holds the
    bodies of some answers.
    """

    seconds: list[float]
    sample: dict[int, bytes]


def send_steadily(port: int, requests: Sequence[bytes], *, per_second: float) -> SteadyLoad:
    """Send the requests at a steady rate, each on a free connection. Time spent waiting for a connection counts.

    Raises:
        RuntimeError: an answer is not 200, or the server closed a connection or stopped answering.
    """
    due = [number / per_second for number in range(len(requests))]
    return send_on_schedule(port, requests, due)


def send_on_schedule(
    port: int,
    requests: Sequence[bytes],
    due: Sequence[float],
    *,
    connections: int = _CONNECTIONS,
    is_needed: Callable[[int], bool] = lambda _: True,
    answered: Callable[[int, bytes], None] = lambda _number, _body: None,
) -> SteadyLoad:
    """Send each request on a free connection when it is due, in seconds after the beginning, in ascending order.

    A request that is not needed any more is left out, and its time is 0. `answered` is called with the
    body of each answer.

    Raises:
        RuntimeError: as `send_steadily`.
    """
    seconds = [0.0] * len(requests)
    sample: dict[int, bytes] = {}
    with ExitStack() as stack:
        poll, callers = _connect(stack, port, connections)
        idle = deque(callers.values())
        began = time.perf_counter()
        number = done = 0
        while done < len(requests):
            now = time.perf_counter()
            while number < len(requests) and ((is_left_out := not is_needed(number)) or began + due[number] <= now):
                if is_left_out:
                    done += 1
                elif idle:
                    # Connections take turns, because servers close idle ones.
                    caller = idle.popleft()
                    caller.number, caller.began = number, began + due[number]
                    caller.connection.sendall(requests[number])
                else:
                    break
                number += 1
            if done == len(requests):
                break
            # Without a free connection or a remaining request, only an answer can arrive.
            is_next_known = bool(idle) and number < len(requests)
            pause = max(0.0, began + due[number] - time.perf_counter()) if is_next_known else _SILENCE_SECONDS
            ready = poll.poll(pause)
            if not ready and not is_next_known:
                raise RuntimeError(_SILENT)
            for descriptor, _ in ready:
                caller = callers[descriptor]
                body = _receive(caller)
                if body is not None:
                    seconds[caller.number] = time.perf_counter() - caller.began
                    answered(caller.number, body)
                    done += 1
                    idle.append(caller)
                    if caller.number % _SAMPLE_EVERY == 0:
                        sample[caller.number] = body
    return SteadyLoad(seconds, sample)


def p99(seconds: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(seconds, n=100)[98] if len(seconds) > 1 else seconds[0]


def _receive(caller: _Caller) -> bytes | None:
    """Read available data; return the body once the answer is complete, else None."""
    data = caller.connection.recv(_RECEIVE_BYTES)
    if not data:
        message = "the server closed the connection"
        raise RuntimeError(message)
    if caller.received:
        data = caller.received + data
    head, separator, body = data.partition(b"\r\n\r\n")
    if separator:
        fields = head.lower()
        if len(body) >= int(fields[fields.index(b"content-length:") + 15 :].split(b"\r\n", 1)[0]):
            if not data.startswith(b"HTTP/1.1 200"):
                message = f"not acknowledged: {head.splitlines()[0]!r}"
                raise RuntimeError(message)
            caller.received = b""
            return body
    caller.received = data
    return None
