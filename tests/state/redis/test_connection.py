"""Commands on a pool of sockets: their timeout, the single retry, and that each caller gets its own answer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import uvloop

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.backends import open_state
from maven_channel_wecom.state.redis.address import parse_redis_address
from maven_channel_wecom.state.redis.breaker import FAILURE_LIMIT
from maven_channel_wecom.state.redis.connection import COMMAND_TIMEOUT_SECONDS, CONNECTIONS, RedisConnection
from maven_channel_wecom.state.redis.scripts import HEARTBEAT
from tests.fakes.certificates import Authority
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.redis_replicas import LONG_ANSWER_SECONDS, Replicas, frozen
from tests.fakes.redis_server import shared_redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.fakes.redis_server import RedisServer

    Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def connection(proxy: FaultProxy) -> AsyncIterator[RedisConnection]:
    address = parse_redis_address(proxy.address())
    connection = await asyncio.to_thread(RedisConnection, address, seconds=LONG_ANSWER_SECONDS)
    yield connection
    await connection.close()


async def test_each_concurrent_caller_gets_its_own_answer(connection: RedisConnection) -> None:
    answers = await asyncio.gather(*(connection.command("ECHO", str(number)) for number in range(500)))
    assert answers == [str(number).encode() for number in range(500)]


async def test_the_answer_to_a_cancelled_command_is_not_read_by_the_next(connection: RedisConnection) -> None:
    await connection.command("ECHO", "warm")
    for number in range(20):
        cancelled = asyncio.create_task(connection.command("ECHO", "cancelled"))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        cancelled.cancel()
        assert await connection.command("ECHO", str(number)) == str(number).encode()
        await asyncio.wait([cancelled])


async def test_a_command_whose_answer_was_lost_is_sent_a_second_time(
    connection: RedisConnection, proxy: FaultProxy
) -> None:
    await connection.command("ECHO", "warm")
    proxy.drop(1, to=b"counter")
    assert await connection.command("INCR", "counter") == 2
    proxy.drop(3, to=b"counter")
    with pytest.raises(StateUnavailable, match="cannot be reached"):
        await connection.command("INCR", "counter")
    assert proxy.lost == 3
    assert connection.last_failure is not None


async def test_connections_that_fail_together_count_as_one_failure(
    connection: RedisConnection, proxy: FaultProxy
) -> None:
    for _ in range(5):
        await asyncio.gather(*(connection.command("ECHO", "open") for _ in range(3 * CONNECTIONS)))
        proxy.drop(CONNECTIONS, to=b"lost")
        answers = await asyncio.gather(*(connection.command("ECHO", "lost") for _ in range(CONNECTIONS)))
        assert answers == [b"lost"] * CONNECTIONS
        assert connection.last_failure is None


async def test_commands_succeed_after_idle_connections_were_closed(
    connection: RedisConnection, proxy: FaultProxy
) -> None:
    await asyncio.gather(*(connection.command("ECHO", "open") for _ in range(CONNECTIONS)))
    proxy.reset()
    answers = await asyncio.gather(*(connection.command("ECHO", "again") for _ in range(CONNECTIONS)))
    assert answers == [b"again"] * CONNECTIONS


async def test_an_error_about_one_command_fails_that_command_alone(connection: RedisConnection) -> None:
    await connection.command("SET", "text", "x")
    results = await asyncio.gather(
        *(connection.command("INCR", "text") for _ in range(10)),
        connection.command("ECHO", "fine"),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [StateUnavailable] * 10 + [bytes]
    assert connection.last_failure is None


async def test_a_script_that_redis_has_not_loaded_is_sent_to_it(
    server: RedisServer, connection: RedisConnection
) -> None:
    key = "maven-wecom:{wecom}:unfinished"
    for _ in range(2):
        await server.command("SCRIPT", "FLUSH")
        assert await connection.run(HEARTBEAT, key, "replica", 1000, 0) == [0, 0, 0]
        assert await server.command("SCRIPT", "EXISTS", HEARTBEAT.sha) == [1]


async def test_cancelling_the_attempt_of_a_half_open_breaker_does_not_keep_it_open(server: RedisServer) -> None:
    connection = await asyncio.to_thread(RedisConnection, parse_redis_address(server.address()), seconds=0.2)
    try:
        async with asyncio.timeout(10):
            async with frozen(server):
                for _ in range(FAILURE_LIMIT):
                    assert not await answers(connection)
                cancelled = False
                while not cancelled:
                    # The breaker refuses attempts for half a second, then allows one, which waits for Redis.
                    trying = asyncio.create_task(answers(connection))
                    await asyncio.wait([trying], timeout=0.05)
                    cancelled = trying.cancel()
                    await asyncio.wait([trying])
            while not await answers(connection):  # noqa: ASYNC110 - there is no notification
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


async def answers(connection: RedisConnection) -> bool:
    try:
        await connection.command("ECHO", "x")
    except StateUnavailable:
        return False
    return True


async def test_a_closed_connection_refuses_commands(connection: RedisConnection) -> None:
    waiting = [asyncio.create_task(connection.command("ECHO", "x")) for _ in range(3 * CONNECTIONS)]
    await asyncio.sleep(0)
    await connection.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert any(isinstance(result, StateUnavailable) for result in results)
    with pytest.raises(StateUnavailable, match="closed"):
        await connection.command("ECHO", "x")


def test_a_command_that_is_cancelled_while_the_host_name_resolves_logs_no_error_later() -> None:
    """On uvloop the resolution continues, and its failure finds nobody."""
    logged: list[dict[str, object]] = []

    async def cancel_commands() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: logged.append(context))
        for iterations in range(1, 5):
            command = asyncio.create_task(unresolved.command("PING"))
            for _ in range(iterations):
                await asyncio.sleep(0)
            command.cancel()
            await asyncio.wait([command])
        # Resolutions end in the order in which they began, or nearly so.
        for _ in range(8):
            with contextlib.suppress(socket.gaierror):
                await loop.getaddrinfo("canary.invalid", 1)
        gc.collect()
        await unresolved.close()

    unresolved = RedisConnection(parse_redis_address("redis://canary.invalid"), seconds=10)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(cancel_commands())
    assert logged == []


async def test_tls_needs_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    server = shared_redis()
    authority = await asyncio.to_thread(Authority, tmp_path)
    trusted = tmp_path / "authority.pem"
    trusted.write_text(ssl.DER_cert_to_PEM_cert(authority.trust.get_ca_certs(binary_form=True)[0]))
    async with FaultProxy(server.port, tls=authority.server("localhost")) as proxy, Replicas() as opened:
        with_authority = await opened.open(f"rediss://127.0.0.1:{proxy.port}?ssl_ca_certs={trusted}")
        assert await with_authority.health() is None
        without_authority = await opened.open(f"rediss://127.0.0.1:{proxy.port}")
        assert "no trusted certificate" in (await without_authority.health() or "")
        without_tls = await opened.open(f"rediss://127.0.0.1:{server.port}", answer_seconds=COMMAND_TIMEOUT_SECONDS)
        assert await without_tls.health() is not None
        for store in (with_authority, without_authority, without_tls):
            await store.close()


async def test_opening_fails_if_the_tls_files_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for file in ("missing.pem", "empty.pem"):
        with pytest.raises(StateUnavailable, match="files for TLS"):
            await open_state(f"rediss://127.0.0.1:1?ssl_ca_certs={tmp_path}/{file}", channel="wecom")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("redis://127.0.0.1:{redis}/99", "no database with the number"),
        ("rediss://127.0.0.1:{redis}", "redis:// instead of rediss://"),
        ("redis://127.0.0.1:{http}", "another service"),
        ("redis://127.0.0.1:{closing}", "closed the connection"),
        ("redis://canary.invalid:{redis}", "host name of the state's Redis cannot be resolved"),
        ("redis://127.0.0.1:{sentinel}", "is that of a Sentinel"),
    ],
)
async def test_a_wrong_address_is_explained_by_its_cause(server: RedisServer, address: str, sentence: str) -> None:
    served: list[asyncio.Task[None]] = []

    async def answer_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def close_connection(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async def answer_as_sentinel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(65536):
            writer.write(b"+OK\r\n" * request.count(b"SETINFO"))
            if b"INFO\r\n$6\r\nserver" in request:
                info = b"# Server\r\nredis_version:7.0.15\r\nredis_mode:sentinel\r\n"
                writer.write(b"$%d\r\n%s\r\n" % (len(info), info))

    def serving(serve: Serve) -> Serve:
        async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task
            served.append(task)
            await serve(reader, writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

        return serve_and_close

    async with contextlib.AsyncExitStack() as stack:
        ports = {"redis": server.port}
        for name, serve in (("http", answer_http), ("closing", close_connection), ("sentinel", answer_as_sentinel)):
            listener = await stack.enter_async_context(await asyncio.start_server(serving(serve), "127.0.0.1", 0))
            ports[name] = listener.sockets[0].getsockname()[1]
        parsed = parse_redis_address(address.format(**ports))
        connection = await asyncio.to_thread(RedisConnection, parsed, seconds=1.0)
        with pytest.raises(StateUnavailable) as raised:
            await connection.command("PING")
        await connection.close()
        await asyncio.gather(*served)
    assert sentence in str(raised.value)
    assert "canary" not in str(raised.value)
