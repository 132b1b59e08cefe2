"""A POST: what is sent and returned, and whether the request left this machine if it failed."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.egress.egress import Egress, SendProgress
from maven_channel_wecom.errors import AnswerLost, RequestNotSent
from tests.fakes.connecting import Diversion
from tests.fakes.installed_aiodns import run_with_aiodns
from tests.fakes.names import Names
from tests.fakes.sites import (
    LoopbackServer,
    PlainTextServer,
    Site,
    answer,
    hang_up,
    in_turn,
    reset,
    send_informational_answers,
    silence,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp.abc import ResolveResult

    from tests.fakes.certificates import Authority

CANARY = "canary-response-code"


@asynccontextmanager
async def closing(egress: Egress) -> AsyncIterator[Egress]:
    try:
        yield egress
    finally:
        await egress.close()


class SilentServer(LoopbackServer):
    """Accepts connections and sends nothing, so that no TLS handshake completes."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()


class IdnaNames(Names):
    """Raises a UnicodeError for a name that IDNA does not allow, as Python's own resolver does."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        host.encode("idna")
        return await super().resolve(host, port, family)


async def test_the_body_arrives_unchanged_and_the_answer_is_returned() -> None:
    """The request is plain JSON, uncompressed, without cookies, and asks for the URL as written."""
    body = '{"msgtype":"markdown","markdown":{"content":"你好"}}'.encode()
    path = "/cgi-bin/aibot/response?response_code=a%2Fb%3d+c&x=%E4%BD%A0"
    names = Names({"files.example": [["93.184.216.34"]]})  # a cookie jar would keep the cookies of a name
    async with (
        Site(answer(b'{"errcode":0}', headers="Set-Cookie: a=b\r\n")) as site,
        closing(Egress(resolver=names, socket_factory=Diversion(site.port))) as egress,
    ):
        for _ in range(2):
            answered = await egress.post(f"http://files.example{path}", body, timeout_seconds=5)
            assert answered == (200, b'{"errcode":0}')
    assert len(site.requests) == site.accepted == 2
    for asked in site.requests:
        assert asked.line == f"POST {path} HTTP/1.1"
        assert asked.body == body
        assert asked.headers["content-type"] == "application/json"
        assert asked.headers["accept-encoding"] == "identity"
        assert asked.headers["connection"] == "close"
        assert "cookie" not in asked.headers


def test_an_installed_aiodns_is_not_used() -> None:
    program = """
from maven_channel_wecom.egress.egress import Egress
from maven_channel_wecom.errors import RequestNotSent

async def main():
    egress = Egress()
    try:
        await egress.post("http://localhost/", b"{}", timeout_seconds=5)
    except RequestNotSent as error:
        print(error.reason)
    await egress.close()

asyncio.run(main())
"""
    assert run_with_aiodns(program) == "forbidden_address\n"


async def test_simultaneous_replies_to_two_hosts_have_the_right_host_header() -> None:
    async with (
        Site(answer(b"first")) as first,
        Site(answer(b"second")) as second,
        closing(Egress(allow_private_network=True)) as egress,
    ):
        await asyncio.gather(*(egress.post(site.url, b"{}", timeout_seconds=5) for site in (first, second)))
    for site in (first, second):
        assert [request.headers["host"] for request in site.requests] == [f"127.0.0.1:{site.port}"]


async def test_no_request_waits_for_another() -> None:
    """WeCom may be slow. Waiting for its answers to others would count as time to connect."""
    everyone = 120
    arrived = 0
    all_arrived = asyncio.Event()

    async def answer_all_at_once(writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == everyone:
            all_arrived.set()
        await all_arrived.wait()
        await answer(b"ok")(writer)

    async with Site(answer_all_at_once) as site, closing(Egress(allow_private_network=True)) as egress:
        answers = await asyncio.gather(*(egress.post(site.url, b"{}", timeout_seconds=30) for _ in range(everyone)))
    assert answers == [(200, b"ok")] * everyone


async def test_bytes_that_were_sent_unasked_are_not_the_answer_to_the_next_request() -> None:
    """A server that closes an idle connection may send a 408 first (RFC 9110 15.5.9)."""
    first_read, sent = asyncio.Event(), asyncio.Event()

    async def speak_twice(writer: asyncio.StreamWriter) -> None:
        await answer(b"first")(writer)
        await first_read.wait()
        try:
            await answer(b"unasked", status="408 Request Timeout")(writer)
        finally:
            sent.set()

    async with (
        Site(in_turn(speak_twice, answer(b"second"))) as site,
        Site(answer(b"elsewhere")) as elsewhere,
        closing(Egress(allow_private_network=True)) as egress,
    ):
        assert await egress.post(site.url, b"{}", timeout_seconds=5) == (200, b"first")
        first_read.set()
        await sent.wait()
        # Meanwhile the event loop polls every open connection.
        await egress.post(elsewhere.url, b"{}", timeout_seconds=5)
        assert await egress.post(site.url, b"{}", timeout_seconds=5) == (200, b"second")


async def test_an_informational_answer_is_skipped() -> None:
    """A proxy may send a 103 (RFC 8297) before the answer."""

    async def hint_first(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
        await answer(b'{"errcode":0}')(writer)

    async with Site(hint_first) as site, closing(Egress(allow_private_network=True)) as egress:
        assert await egress.post(site.url, b"{}", timeout_seconds=5) == (200, b'{"errcode":0}')


async def test_a_connection_with_only_informational_answers_is_aborted() -> None:
    """Parsing all of them would occupy the event loop until the request times out."""
    async with Site(send_informational_answers) as site, closing(Egress(allow_private_network=True)) as egress:
        with pytest.raises(AnswerLost) as caught:
            await egress.post(site.url, b"{}", timeout_seconds=5)
    assert caught.value.reason == "reset"


async def test_an_answer_with_a_long_head_and_a_long_body_is_read() -> None:
    headers = "".join(f"X-{number}: {'x' * 4000}\r\n" for number in range(10))
    async with (
        Site(answer(b"y" * 50_000, headers=headers)) as site,
        closing(Egress(allow_private_network=True)) as egress,
    ):
        assert await egress.post(site.url, b"{}", timeout_seconds=5) == (200, b"y" * 50_000)


@pytest.mark.parametrize("left", [False, True], ids=["connecting", "sent"])
async def test_a_cancelled_post_records_whether_the_request_left(*, left: bool) -> None:
    """Only a request that never left may be sent again."""
    received = asyncio.Event()

    async def receive(writer: asyncio.StreamWriter) -> None:
        received.set()
        await silence(writer)

    class HandshakeServer(SilentServer):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await receive(writer)

    async with (
        Site(receive) if left else HandshakeServer() as server,
        closing(Egress(allow_private_network=True)) as egress,
    ):
        progress = SendProgress()
        url = f"{'http' if left else 'https'}://127.0.0.1:{server.port}/"
        posting = asyncio.create_task(egress.post(url, b"{}", timeout_seconds=5, progress=progress))
        await received.wait()
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        assert posting.cancelled()
        assert progress.left is left


@pytest.mark.parametrize(
    "status", ["302 Found", "307 Temporary Redirect", "407 Proxy Authentication Required", "503 x"]
)
async def test_any_status_is_returned_and_no_redirect_followed(status: str) -> None:
    script = answer(b"<html>", status=status, headers="Location: /elsewhere\r\n")
    async with Site(script) as site, closing(Egress(allow_private_network=True)) as egress:
        assert await egress.post(site.url, b"{}", timeout_seconds=5) == (int(status[:3]), b"<html>")
    assert len(site.requests) == 1


async def test_a_page_of_html_is_returned_as_it_is() -> None:
    """The policy, not this module, decides that a gateway's page with status 200 is not a success."""
    async with (
        Site(answer(b"<html>welcome</html>", headers="Content-Type: text/html\r\n")) as site,
        closing(Egress(allow_private_network=True)) as egress,
    ):
        assert await egress.post(site.url, b"{}", timeout_seconds=5) == (200, b"<html>welcome</html>")


async def test_64_kib_of_a_long_answer_are_read() -> None:
    async with Site(answer(b"x" * 300_000)) as site, closing(Egress(allow_private_network=True)) as egress:
        status, content = await egress.post(site.url, b"{}", timeout_seconds=5)
    assert (status, len(content)) == (200, 65_536)


async def test_reading_an_endless_answer_ends() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with Site(endless) as site, closing(Egress(allow_private_network=True)) as egress:
        _, content = await egress.post(site.url, b"{}", timeout_seconds=5)
    assert len(content) == 65_536


async def unresolvable(authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    yield Egress(resolver=Names({}), socket_factory=Diversion()), "http://files.example/"


async def overlong_name(authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    yield Egress(resolver=IdnaNames({}), socket_factory=Diversion()), f"http://{'a' * 64}.example/"


async def no_answers(authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    yield Egress(resolver=Names({"*": [[]]}), socket_factory=Diversion()), "http://files.example/"


async def refused(authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening, so that no other process gets the port
        yield Egress(allow_private_network=True), f"http://127.0.0.1:{bound.getsockname()[1]}/"


async def unknown_authority(authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    async with Site(answer(b""), tls=authority.server()) as site:
        yield Egress(allow_private_network=True), site.url


async def another_name(authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    async with Site(answer(b""), tls=authority.server("elsewhere.example")) as site:
        egress = Egress(
            resolver=Names({"files.example": [["93.184.216.34"]]}),
            socket_factory=Diversion(site.port),
            tls=authority.trust,
        )
        yield egress, "https://files.example/"


async def no_tls(authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    async with PlainTextServer() as plain:
        yield Egress(allow_private_network=True, tls=authority.trust), f"https://127.0.0.1:{plain.port}/"


async def slow_to_connect(authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    async with SilentServer() as silent:
        egress = Egress(allow_private_network=True, tls=authority.trust, connect_seconds=0.05)
        yield egress, f"https://127.0.0.1:{silent.port}/"


async def not_http(authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    yield Egress(allow_private_network=True), "ftp://127.0.0.1/"


async def forbidden(authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    yield Egress(socket_factory=Diversion()), "http://127.0.0.1/"


@pytest.mark.parametrize(
    ("situation", "reason"),
    [
        (unresolvable, "dns"),
        (overlong_name, "dns"),
        (no_answers, "dns"),
        (refused, "connect"),
        (unknown_authority, "tls"),
        (another_name, "tls"),
        (no_tls, "tls"),
        (slow_to_connect, "connect_timeout"),
        (not_http, "bad_url"),
        (forbidden, "forbidden_address"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_a_failure_before_the_connection_means_not_sent(
    situation: Callable[[Authority], AsyncIterator[tuple[Egress, str]]],
    reason: str,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each cause has its own reason, and the error does not contain the URL."""
    caplog.set_level(logging.DEBUG)
    async for egress, url in situation(authority):
        async with closing(egress):
            # The limit of the whole request is long, so connecting must end by its own limit.
            with pytest.raises(RequestNotSent) as caught:
                async with asyncio.timeout(10):
                    await egress.post(f"{url}?response_code={CANARY}", b"{}", timeout_seconds=60)
        assert caught.value.reason == reason
        assert_url_not_exposed(caught.value, caplog)


@pytest.mark.parametrize(
    "rest",
    [
        "user@files.example/",
        ":@files.example/",
        "@files.example/",
        "files.example/a b",
        "files.example/a\\b",
        "files.example\\.evil.example/",
        "files.example/\r\nX: y",
        "files.example/é",
        "files.example:0/",
        "a:b:c/",
    ],
)
async def test_a_url_that_is_not_plain_is_not_used(rest: str) -> None:
    """The URLs have credentials, blanks, or characters that parsers read differently. No name is resolved."""
    names = Names({"*": [["93.184.216.34"]]})
    async with closing(Egress(resolver=names, socket_factory=Diversion())) as egress:
        with pytest.raises(RequestNotSent) as caught:
            await egress.post(f"https://{rest}{CANARY}", b"{}", timeout_seconds=5)
    assert (caught.value.reason, names.asked) == ("bad_url", [])
    assert CANARY not in "".join(traceback.format_exception(caught.value))


async def test_a_total_timeout_while_connecting_means_not_sent(authority: Authority) -> None:
    """The limit of the whole request may be shorter than the limit for connecting."""
    async with SilentServer() as silent, closing(Egress(allow_private_network=True, tls=authority.trust)) as egress:
        with pytest.raises(RequestNotSent) as caught:
            await egress.post(f"https://127.0.0.1:{silent.port}/", b"{}", timeout_seconds=0.05)
    assert caught.value.reason == "connect_timeout"


async def cut_body(writer: asyncio.StreamWriter) -> None:
    await answer(b'{"errc', length=13)(writer)


async def reset_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"errc')
    await writer.drain()
    await reset(writer)


async def stalled_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"errc')
    await silence(writer)


async def broken_chunks(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n")
    await writer.drain()
    writer.close()


async def not_a_web_server(writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await hang_up(writer)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (silence, "timeout"),
        (stalled_body, "timeout"),
        (reset, "reset"),
        (hang_up, "reset"),
        (cut_body, "reset"),
        (reset_body, "reset"),
        (broken_chunks, "reset"),
        (not_a_web_server, "reset"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_a_failure_after_the_request_left_means_the_answer_is_lost(
    script: Callable[[asyncio.StreamWriter], Awaitable[None]],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The request may have arrived, so it is not repeated."""
    caplog.set_level(logging.DEBUG)
    async with Site(script) as site, closing(Egress(allow_private_network=True)) as egress:
        with pytest.raises(AnswerLost) as caught:
            await egress.post(
                f"{site.url}?response_code={CANARY}", b"{}", timeout_seconds=0.2 if reason == "timeout" else 5
            )
    assert caught.value.reason == reason
    assert len(site.requests) == 1
    assert_url_not_exposed(caught.value, caplog)


async def test_after_closing_nothing_is_sent_and_no_connection_is_left_open() -> None:
    """Closing twice is allowed. Warnings about open connections would fail this test."""
    egress = Egress(allow_private_network=True)
    async with Site(answer(b"{}")) as site:
        await egress.post(site.url, b"{}", timeout_seconds=5)
        await egress.close()
        await egress.close()
        with pytest.raises(RequestNotSent) as caught:
            await egress.post(site.url, b"{}", timeout_seconds=5)
    assert caught.value.reason == "connect"
    assert len(site.requests) == 1
    del egress
    gc.collect()


async def test_a_cancelled_post_raises_cancelled_error() -> None:
    asked = asyncio.Event()

    async def script(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await silence(writer)

    async with Site(script) as site, closing(Egress(allow_private_network=True)) as egress:
        post = asyncio.create_task(egress.post(site.url, b"{}", timeout_seconds=30))
        async with asyncio.timeout(5):
            await asked.wait()
        post.cancel()
        with pytest.raises(asyncio.CancelledError):
            await post


def assert_url_not_exposed(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """Assert that the URL is not in the error, in its traceback with all chained errors, or in the log."""
    rendered = "".join(traceback.format_exception(error)) + repr(error) + caplog.text
    assert CANARY not in rendered
    assert "127.0.0.1" not in str(error)
    assert error.__context__ is None
    assert error.__cause__ is None
