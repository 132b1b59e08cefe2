"""The connection to Redis: a pool of sockets, with one command at a time on each and a timeout for each command."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any, Final, cast

import hiredis
from redis.asyncio import Connection, SSLConnection
from redis.exceptions import NoScriptError, ResponseError

from maven_channel_wecom.errors import StateClosed, StateUnavailable
from maven_channel_wecom.state.redis import scripts
from maven_channel_wecom.state.redis.breaker import Breaker
from maven_channel_wecom.state.redis.errors import (
    NoTlsHandshake,
    ServerIsSentinel,
    ServerTooOld,
    is_lost_answer,
    is_server_error,
    to_unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.state.redis.address import RedisAddress

COMMAND_TIMEOUT_SECONDS: Final = 0.2
"""Timeout of a command, including the time to connect, in seconds. Lower: a short delay causes 503s. Higher: a frozen
Redis is noticed later."""

CONNECTIONS: Final = 8
"""Maximum number of concurrent commands. A socket is opened when all others are busy. Lower: commands wait for each
other if Redis is far away. Higher: each replica uses more connections of Redis."""

# The deadline of a call, as a multiple of the timeout. While Redis fails, a caller makes two attempts, or waits for an
# attempt of another caller and makes one.
_DEADLINE_TIMEOUTS: Final = 2.5

_OLDEST_VERSION: Final = 7
_CLOSED: Final = "the state is closed"


class _LostAnswer(StateUnavailable):
    """The answer to a command was lost. Redis may have run it, and a second attempt on a new connection may succeed."""


class RedisConnection:
    """A pool of sockets that runs commands, with one command at a time on each socket.

    If an answer is lost, the command is sent once more on a new socket, so every command must be idempotent. There are
    no other retries. After several consecutive failures, a circuit breaker fails all commands immediately.

    Args:
        address: location and credentials of Redis.
        seconds: timeout of a command.

    Raises:
        OSError: a TLS file cannot be read. The constructor reads files, so it must not run in the event loop.
    """

    def __init__(self, address: RedisAddress, *, seconds: float = COMMAND_TIMEOUT_SECONDS) -> None:
        class_: Callable[..., Connection] = SSLConnection if address.tls else Connection
        # The most recently used one is last.
        self._idle = [
            class_(
                host=address.host,
                port=address.port,
                db=address.database,
                username=address.user,
                password=address.password,
                protocol=2,
                # One timeout covers connecting and the command.
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
        self.last_failure: StateUnavailable | None = None
        """The failure of the last command; None if it did not fail."""

    async def run(self, script: scripts.Script, key: str, *arguments: str | bytes | float) -> Any:  # noqa: ANN401 - the type depends on the script
        """Run a script in the slot of a key. Raises StateUnavailable."""
        return await self.command("EVALSHA", script.sha, 1, key, *arguments)

    async def command(self, *command: str | bytes | float) -> Any:  # noqa: ANN401 - the type depends on the command
        """Run a command. Raises StateUnavailable, after at most about two timeouts once Redis has begun to fail."""
        deadline = time.monotonic() + _DEADLINE_TIMEOUTS * self._seconds
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
        """Close all sockets. Waiting callers get StateUnavailable."""
        self._closed = True
        await self._disconnect_idle()

    async def _attempt(self, connection: Connection, command: tuple[str | bytes | float, ...], deadline: float) -> Any:  # noqa: ANN401 - as `command`
        if self._closed:
            raise StateClosed(_CLOSED)
        failures = self._breaker.failures
        too_late = failures > 0 and time.monotonic() + self._seconds > deadline
        if too_late or not self._breaker.enter():
            raise self._failure()
        try:
            async with asyncio.timeout(self._seconds):
                answer = await _exchange(connection, command)
        except Exception as error:  # noqa: BLE001 - callers get a StateUnavailable, whatever the library raises
            failure: Exception = error
            if (
                isinstance(error, TimeoutError)
                and isinstance(connection, SSLConnection)
                and not connection.is_connected
            ):
                failure = NoTlsHandshake()
        except BaseException:
            # The caller was cancelled. An unread answer would be taken for the answer to the next command.
            await connection.disconnect(nowait=True)
            self._breaker.abandoned()
            raise
        else:
            if not isinstance(answer, ResponseError):
                self.last_failure = None
                self._breaker.succeeded()
                return answer
            if not is_server_error(answer):
                # The server answers, but not necessarily to other commands.
                self.last_failure = None
                self._breaker.abandoned()
                raise to_unavailable(answer)
            failure = answer
        # Idle connections have probably failed too, or lead to a server that is no longer the right one.
        await connection.disconnect(nowait=True)
        await self._disconnect_idle()
        self.last_failure = to_unavailable(failure)
        if self._breaker.failures == failures:
            self._breaker.failed()
        else:
            # A concurrent command has failed as well: together they count as one failure.
            self._breaker.abandoned()
        raise self._failure(_LostAnswer if is_lost_answer(failure) else StateUnavailable)

    async def _disconnect_idle(self) -> None:
        for connection in tuple(self._idle):
            await connection.disconnect(nowait=True)

    def _failure(self, class_: type[StateUnavailable] = StateUnavailable) -> StateUnavailable:
        # A new instance each time, because raising the same one again extends its traceback.
        failure = self.last_failure or StateUnavailable("the state's Redis does not answer in time")
        return class_(str(failure), reason=failure.reason)


async def _exchange(connection: Connection, command: tuple[str | bytes | float, ...]) -> Any:  # noqa: ANN401 - as `command`
    """Send a command and return its answer, which may be an error of Redis. Raises if there is no answer."""
    if not connection.is_connected:
        await _connect(connection)
    answer = await _request(connection, command)
    if isinstance(answer, NoScriptError):
        # Redis was restarted, failed over or flushed. It ran nothing, and EVAL loads the script again.
        sha = command[1]
        answer = await _request(connection, ("EVAL", scripts.TEXTS[sha], *command[2:]))
    return answer


async def _connect(connection: Connection) -> None:
    # If a caller is cancelled while connecting resolves the name, uvloop later logs the failure of that resolution. So
    # the name is resolved before, because the second resolution rarely fails when the first did not.
    await asyncio.get_running_loop().getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
    await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no annotation
    info = await _request(connection, ("INFO", "server"))
    # A user without permission for INFO gets an error, and the version is assumed to be new enough.
    if isinstance(info, bytes):
        version = info.partition(b"redis_version:")[2].partition(b".")[0]
        if version.isdigit() and int(version) < _OLDEST_VERSION:
            raise ServerTooOld
        if b"redis_mode:sentinel" in info:
            raise ServerIsSentinel


async def _request(connection: Connection, command: tuple[str | bytes | float, ...]) -> Any:  # noqa: ANN401 - as `command`
    # Unlike redis-py, hiredis packs all arguments in C. Its annotation allows one argument only, but it accepts more.
    packed = hiredis.pack_command(cast("tuple[str]", command))
    await connection.send_packed_command(packed, check_health=False)
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
