"""The connection to Redis: a few sockets with one command at a time on each, answered or failed within a fixed time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, cast

import hiredis
from redis.asyncio import Connection, SSLConnection
from redis.exceptions import NoScriptError, ResponseError

from maven_channel_wecom.errors import StateClosed, StateUnavailable
from maven_channel_wecom.state.redis import scripts
from maven_channel_wecom.state.redis.breaker import Breaker
from maven_channel_wecom.state.redis.failures import ServerTooOld, concerns_everyone, is_lost_answer, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.state.redis.address import RedisAddress

ANSWER_SECONDS: Final = 0.2
"""How long a command may take, connecting included. Lower: a hiccup costs 503. Higher: a frozen Redis is noticed
later."""

CONNECTIONS: Final = 8
"""How many commands may be under way at once; a socket is opened when all others are busy. Lower: commands wait for
each other where Redis is far away. Higher: more sockets in Redis for each replica."""

# In ANSWER_SECONDS. While Redis fails, a caller makes two attempts, or waits for one of another's and makes one.
_BUDGET: Final = 2.5

_OLDEST_VERSION: Final = 7
_CLOSED: Final = "the state is closed"


class _LostAnswer(StateUnavailable):
    """Redis may have run the command, and its answer did not arrive. It may do better on a new connection at once."""


class RedisConnection:
    """Runs commands, each on a socket of its own while it is under way.

    A command whose answer is lost is sent once more on a new socket: every command given here must be one that may run
    twice. There are no other retries, and after some failures in a row a circuit breaker fails all callers at once.

    Args:
        address: where Redis is.
        seconds: how long a command may take.

    Raises:
        OSError: a file for TLS cannot be read. Construct it in a thread, as it reads files.
    """

    def __init__(self, address: RedisAddress, *, seconds: float = ANSWER_SECONDS) -> None:
        class_: Callable[..., Connection] = SSLConnection if address.tls else Connection
        # Those not in use, the last used one last.
        self._idle = [
            class_(
                host=address.host,
                port=address.port,
                db=address.database,
                username=address.user,
                password=address.password,
                protocol=2,
                # There is one limit around a command and connecting together.
                socket_timeout=None,
                socket_connect_timeout=seconds,
                **address.options,
            )
            for _ in range(CONNECTIONS)
        ]
        secured = [connection for connection in self._idle if isinstance(connection, SSLConnection)]
        if secured:
            secured[0].ssl_context.get()
        for connection in secured:
            connection.ssl_context = secured[0].ssl_context
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._seconds = seconds
        self._closed = False
        self._breaker = Breaker(time.monotonic)
        self.trouble: StateUnavailable | None = None
        """Why the last command failed; None after one that did not."""

    async def run(self, script: scripts.Script, key: str, *arguments: str | bytes | float) -> Any:  # noqa: ANN401 - a script answers what it answers
        """Run a script on the slot of a key. Raises StateUnavailable."""
        return await self.command("EVALSHA", script.sha, 1, key, *arguments)

    async def command(self, *command: str | bytes | float) -> Any:  # noqa: ANN401 - Redis answers what it answers
        """Run a command. Raises StateUnavailable; while Redis fails, in at most about twice the time of an answer."""
        deadline = time.monotonic() + _BUDGET * self._seconds
        async with self._free:
            connection = self._idle.pop()
            try:
                try:
                    return await self._attempt(connection, command, deadline)
                except _LostAnswer:
                    return await self._attempt(connection, command, deadline)
            finally:
                if self._closed:
                    await connection.disconnect(nowait=True)
                self._idle.append(connection)

    async def close(self) -> None:
        """Close all sockets. Callers that still wait get StateUnavailable."""
        self._closed = True
        await self._disconnect_idle()

    async def _attempt(self, connection: Connection, command: tuple[str | bytes | float, ...], deadline: float) -> Any:  # noqa: ANN401 - as `command`
        if self._closed:
            raise StateClosed(_CLOSED)
        failures = self._breaker.failures
        too_late = failures > 0 and time.monotonic() + self._seconds > deadline
        if too_late or not self._breaker.enter():
            raise self._refusal()
        try:
            async with asyncio.timeout(self._seconds):
                answer = await _exchange(connection, command)
        except Exception as error:  # noqa: BLE001 - whatever the library raises, callers get one kind of error
            failure: Exception = error
        except BaseException:
            # The caller was canceled, and an answer that nobody reads would be taken for that of the next command.
            await connection.disconnect(nowait=True)
            self._breaker.abandoned()
            raise
        else:
            if not isinstance(answer, ResponseError):
                self.trouble = None
                self._breaker.succeeded()
                return answer
            if not concerns_everyone(answer):
                self.trouble = None
                self._breaker.succeeded()
                raise unavailable(answer)
            failure = answer
        # Those that are idle are most likely as dead, or lead to the same server that is the wrong one by now.
        await connection.disconnect(nowait=True)
        await self._disconnect_idle()
        self.trouble = unavailable(failure)
        if self._breaker.failures == failures:
            self._breaker.failed()
        else:
            # One that was under way at the same time failed as well: together they are one failure.
            self._breaker.abandoned()
        raise self._refusal(_LostAnswer if is_lost_answer(failure) else StateUnavailable)

    async def _disconnect_idle(self) -> None:
        for connection in tuple(self._idle):
            await connection.disconnect(nowait=True)

    def _refusal(self, class_: type[StateUnavailable] = StateUnavailable) -> StateUnavailable:
        # A new one each time: an error raised twice grows its traceback.
        trouble = self.trouble or StateUnavailable("the Redis of the state does not answer in time")
        return class_(str(trouble), reason=trouble.reason)


async def _exchange(connection: Connection, command: tuple[str | bytes | float, ...]) -> Any:  # noqa: ANN401 - as `command`
    """Send a command and return its answer, or the error Redis answers with. Raises when there is no answer."""
    if not connection.is_connected:
        await _connect(connection)
    answer = await _answer(connection, command)
    if isinstance(answer, NoScriptError):
        # Redis was restarted, failed over or flushed. It ran nothing, and remembers what EVAL runs.
        sha = command[1]
        answer = await _answer(connection, ("EVAL", scripts.TEXTS[sha], *command[2:]))
    return answer


async def _connect(connection: Connection) -> None:
    await connection.connect()  # type: ignore[no-untyped-call]  # redis-py left it out
    info = await _answer(connection, ("INFO", "server"))
    # For a user who may not ask for the version, it is taken to be new enough.
    if isinstance(info, bytes):
        version = info.partition(b"redis_version:")[2].partition(b".")[0]
        if version.isdigit() and int(version) < _OLDEST_VERSION:
            raise ServerTooOld


async def _answer(connection: Connection, command: tuple[str | bytes | float, ...]) -> Any:  # noqa: ANN401 - as `command`
    # redis-py packs argument by argument, hiredis all at once in C. Its annotation says a tuple of one; it takes more.
    packed = hiredis.pack_command(cast("tuple[str]", command))
    await connection.send_packed_command(packed, check_health=False)
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
