"""One POST, and an exact word on whether it left. Everything holds on the short path and without it."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import traceback
from collections.abc import Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.errors import AnswerLost, RequestNotSent
from maven_channel_wecom.transport.egress import Egress
from maven_channel_wecom.transport.passage import Passage
from maven_channel_wecom.transport.reply_client import LOST_REASONS, NOT_SENT_REASONS, ReplyClient
from tests.fakes.connecting import Diversion, TellingSocket
from tests.fakes.names import Names
from tests.fakes.sites import LoopbackServer, Site, announce, answer, hang_up, in_turn, reset, silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from aiohttp.abc import ResolveResult

    from tests.fakes.certificates import Authority

CANARY = "canary-response-code"


NewEgress = Callable[..., Egress]


@pytest.fixture(params=[True, False], ids=["short", "plain"])
def new_egress(request: pytest.FixtureRequest) -> NewEgress:
    return partial(Egress, short_path=request.param)


@asynccontextmanager
async def client(egress: Egress) -> AsyncIterator[ReplyClient]:
    try:
        yield ReplyClient(egress)
    finally:
        await egress.close()


class Mute(LoopbackServer):
    """Accepts and says nothing, so that no TLS handshake ever ends."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()


class Strict(Names):
    """Refuses what does not fit the rules for names as Python's own lookup does: with a UnicodeError."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        host.encode("idna")
        return await super().resolve(host, port, family)


class Plain(LoopbackServer):
    """Greets in plain text, as a server without TLS does."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await hang_up(writer)


async def test_the_body_arrives_as_given_and_the_answer_comes_back(new_egress: NewEgress) -> None:
    """Exactly these bytes, as plain JSON, uncompressed, without cookies, to the URL as written."""
    body = '{"msgtype":"markdown","markdown":{"content":"你好"}}'.encode()
    async with (
        Site(answer(b'{"errcode":0}', headers="Set-Cookie: a=b\r\n")) as site,
        client(new_egress(allow_private_network=True)) as replies,
    ):
        url = f"{site.url}cgi-bin/aibot/response?response_code=a%2Fb%3d+c&x=%E4%BD%A0"
        assert await replies.post(url, body, timeout_seconds=5) == (200, b'{"errcode":0}')
        assert await replies.post(url, body, timeout_seconds=5) == (200, b'{"errcode":0}')
    for asked in site.requests:
        assert asked.line == "POST /cgi-bin/aibot/response?response_code=a%2Fb%3d+c&x=%E4%BD%A0 HTTP/1.1"
        assert asked.body == body
        assert asked.headers["content-type"] == "application/json"
        assert asked.headers["accept-encoding"] == "identity"
        assert "cookie" not in asked.headers
    assert site.accepted == 1  # the second one on the kept connection


async def test_both_paths_send_the_same_request() -> None:
    """Line, headers, body: nobody over there can tell them apart."""
    async with Site(answer(b"{}")) as site:
        for short_path in (True, False):
            async with client(Egress(allow_private_network=True, short_path=short_path)) as replies:
                await replies.post(f"{site.url}a?b=c", b'{"a":1}', timeout_seconds=5)
    short, plain = site.requests
    assert (short.line, short.headers, short.body) == (plain.line, plain.headers, plain.body)


async def test_each_host_gets_its_own_name(new_egress: NewEgress) -> None:
    """Replies to two hosts in turn, over one connection to each."""
    async with (
        Site(answer(b"first")) as first,
        Site(answer(b"second")) as second,
        client(new_egress(allow_private_network=True)) as replies,
    ):
        for _ in range(2):
            assert await replies.post(first.url, b"{}", timeout_seconds=5) == (200, b"first")
            assert await replies.post(second.url, b"{}", timeout_seconds=5) == (200, b"second")
    for site in (first, second):
        assert {request.headers["host"] for request in site.requests} == {f"127.0.0.1:{site.port}"}
        assert site.accepted == 1


async def test_each_host_gets_its_own_name_when_both_are_connected_to_at_once(new_egress: NewEgress) -> None:
    """Whoever waits for a connection finds what it wanted to say unchanged."""
    async with (
        Site(answer(b"first")) as first,
        Site(answer(b"second")) as second,
        client(new_egress(allow_private_network=True)) as replies,
    ):
        await asyncio.gather(*(replies.post(site.url, b"{}", timeout_seconds=5) for site in (first, second)))
    for site in (first, second):
        assert [request.headers["host"] for request in site.requests] == [f"127.0.0.1:{site.port}"]


async def test_replies_of_one_turn_of_the_event_loop_are_sent_together() -> None:
    """When all that leads there is done for each of them, over connections that are there already."""
    steps: list[str] = []
    tell = partial(TellingSocket, lambda: steps.append("sent"))
    egress = Egress(allow_private_network=True, socket_factory=tell)
    async with Site(answer(b"{}")) as site, client(egress) as replies:

        async def prepare_and_post() -> None:
            steps.append("prepared")
            await replies.post(site.url, b"{}", timeout_seconds=5)

        for _ in range(2):
            steps.clear()
            await asyncio.gather(*(prepare_and_post() for _ in range(3)))
            assert steps == ["prepared"] * 3 + ["sent"] * 3
    assert site.accepted == 3


async def test_what_came_unasked_is_no_answer(new_egress: NewEgress) -> None:
    """A server that gives up on an idle connection may say so (408): the next reply goes over another one."""
    first_over, said = asyncio.Event(), asyncio.Event()

    async def speak_twice(writer: asyncio.StreamWriter) -> None:
        await answer(b"first")(writer)
        await first_over.wait()
        await answer(b"unasked", status="408 Request Timeout")(writer)
        said.set()
        await silence(writer)

    async with (
        Site(in_turn(speak_twice, answer(b"second"))) as site,
        Site(answer(b"elsewhere")) as elsewhere,
        client(new_egress(allow_private_network=True)) as replies,
    ):
        assert await replies.post(site.url, b"{}", timeout_seconds=5) == (200, b"first")
        first_over.set()
        await said.wait()
        # Meanwhile the event loop looks at every connection.
        await replies.post(elsewhere.url, b"{}", timeout_seconds=5)
        assert await replies.post(site.url, b"{}", timeout_seconds=5) == (200, b"second")


async def test_an_informational_answer_is_not_the_answer(new_egress: NewEgress) -> None:
    """A proxy may say that it goes on (103, RFC 8297) before it says what came of it."""

    async def hint_first(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
        await answer(b'{"errcode":0}')(writer)

    async with Site(hint_first) as site, client(new_egress(allow_private_network=True)) as replies:
        assert await replies.post(site.url, b"{}", timeout_seconds=5) == (200, b'{"errcode":0}')


async def test_a_server_that_only_announces_an_answer_is_hung_up_on(new_egress: NewEgress) -> None:
    """At once: reading all it says would keep everybody else waiting, until the time for the reply is over."""
    async with Site(announce) as site, client(new_egress(allow_private_network=True)) as replies:
        with pytest.raises(AnswerLost) as lost:
            await replies.post(site.url, b"{}", timeout_seconds=2)
    assert lost.value.reason == "reset"


async def test_an_answer_with_a_long_head_and_a_long_body_is_read(new_egress: NewEgress) -> None:
    """However much of it comes at once."""
    headers = "".join(f"X-{number}: {'x' * 4000}\r\n" for number in range(10))
    async with (
        Site(answer(b"y" * 50_000, headers=headers)) as site,
        client(new_egress(allow_private_network=True)) as replies,
    ):
        for _ in range(2):
            assert await replies.post(site.url, b"{}", timeout_seconds=5) == (200, b"y" * 50_000)
    assert site.accepted == 1


@pytest.mark.parametrize("left", [False, True], ids=["connecting", "sent"])
async def test_who_is_canceled_is_told_whether_the_request_left(new_egress: NewEgress, *, left: bool) -> None:
    """Only what never left may be sent again."""
    came = asyncio.Event()

    async def come(writer: asyncio.StreamWriter) -> None:
        came.set()
        await silence(writer)

    class Handshaking(Mute):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await come(writer)

    async with (
        Site(come) if left else Handshaking() as server,
        client(new_egress(allow_private_network=True)) as replies,
    ):
        passage = Passage()
        url = f"{'http' if left else 'https'}://127.0.0.1:{server.port}/"
        posting = asyncio.create_task(replies.post(url, b"{}", timeout_seconds=5, passage=passage))
        await came.wait()
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        assert posting.cancelled()
        assert passage.left is left


@pytest.mark.parametrize(
    "status", ["302 Found", "307 Temporary Redirect", "407 Proxy Authentication Required", "503 x"]
)
async def test_any_status_is_handed_back_and_no_redirect_followed(new_egress: NewEgress, status: str) -> None:
    """What a status means is decided elsewhere."""
    script = answer(b"<html>", status=status, headers="Location: /elsewhere\r\n")
    async with Site(script) as site, client(new_egress(allow_private_network=True)) as replies:
        assert await replies.post(site.url, b"{}", timeout_seconds=5) == (int(status[:3]), b"<html>")
    assert len(site.requests) == 1


async def test_a_page_of_html_is_handed_back_as_it_is(new_egress: NewEgress) -> None:
    """A gateway's page with status 200 is no success, but that is not for the transport to say."""
    async with (
        Site(answer(b"<html>welcome</html>", headers="Content-Type: text/html\r\n")) as site,
        client(new_egress(allow_private_network=True)) as replies,
    ):
        assert await replies.post(site.url, b"{}", timeout_seconds=5) == (200, b"<html>welcome</html>")


async def test_of_a_long_answer_only_the_beginning_is_read(new_egress: NewEgress) -> None:
    """64 KiB, however much there is."""
    async with Site(answer(b"x" * 300_000)) as site, client(new_egress(allow_private_network=True)) as replies:
        status, content = await replies.post(site.url, b"{}", timeout_seconds=5)
    assert (status, len(content)) == (200, 65_536)


async def test_an_endless_answer_ends(new_egress: NewEgress) -> None:
    """An endless body costs no more than a long one."""

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with Site(endless) as site, client(new_egress(allow_private_network=True)) as replies:
        _, content = await replies.post(site.url, b"{}", timeout_seconds=5)
    assert len(content) == 65_536


async def unresolvable(new_egress: NewEgress, authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    yield new_egress(resolver=Names({}), socket_factory=Diversion()), "http://files.example/"


async def overlong_name(new_egress: NewEgress, authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    yield new_egress(resolver=Strict({}), socket_factory=Diversion()), f"http://{'a' * 64}.example/"


async def no_answers(new_egress: NewEgress, authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    yield new_egress(resolver=Names({"*": [[]]}), socket_factory=Diversion()), "http://files.example/"


async def refused(new_egress: NewEgress, authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port either
        yield new_egress(allow_private_network=True), f"http://127.0.0.1:{bound.getsockname()[1]}/"


async def unknown_authority(new_egress: NewEgress, authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    async with Site(answer(b""), tls=authority.server()) as site:
        yield new_egress(allow_private_network=True), site.url


async def another_name(new_egress: NewEgress, authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    async with Site(answer(b""), tls=authority.server("elsewhere.example")) as site:
        egress = new_egress(
            resolver=Names({"files.example": [["93.184.216.34"]]}),
            socket_factory=Diversion(site.port),
            tls=authority.trust,
        )
        yield egress, "https://files.example/"


async def no_tls_there(new_egress: NewEgress, authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    async with Plain() as plain:
        yield new_egress(allow_private_network=True, tls=authority.trust), f"https://127.0.0.1:{plain.port}/"


async def slow_to_connect(new_egress: NewEgress, authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    async with Mute() as mute:
        egress = new_egress(allow_private_network=True, tls=authority.trust, connect_seconds=0.05)
        yield egress, f"https://127.0.0.1:{mute.port}/"


async def not_http(new_egress: NewEgress, authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    yield new_egress(allow_private_network=True), "ftp://127.0.0.1/"


async def forbidden(new_egress: NewEgress, authority: Authority) -> AsyncIterator[tuple[Egress, str]]:
    yield new_egress(socket_factory=Diversion()), "http://127.0.0.1/"


@pytest.mark.parametrize(
    ("situation", "reason"),
    [
        (unresolvable, "dns"),
        (overlong_name, "dns"),
        (no_answers, "dns"),
        (refused, "connect"),
        (unknown_authority, "tls"),
        (another_name, "tls"),
        (no_tls_there, "tls"),
        (slow_to_connect, "connect_timeout"),
        (not_http, "bad_url"),
        (forbidden, "forbidden_address"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_without_a_connection_the_request_was_surely_not_sent(
    new_egress: NewEgress,
    situation: Callable[[NewEgress, Authority], AsyncIterator[tuple[Egress, str]]],
    reason: str,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each step before the request has its word, and no text of the error shows the URL."""
    caplog.set_level(logging.DEBUG)
    async for egress, url in situation(new_egress, authority):
        async with client(egress) as replies:
            # The limit for everything is far away, so that connecting must end by its own.
            with pytest.raises(RequestNotSent) as caught:
                async with asyncio.timeout(10):
                    await replies.post(f"{url}?response_code={CANARY}", b"{}", timeout_seconds=60)
        assert caught.value.reason == reason
        assert reason in NOT_SENT_REASONS
        assert_tells_nothing(caught.value, caplog)


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
async def test_a_url_that_is_not_plain_is_not_used(new_egress: NewEgress, rest: str) -> None:
    """Credentials, blanks and whatever two readers may read differently; no name is even looked up."""
    names = Names({"*": [["93.184.216.34"]]})
    async with client(new_egress(resolver=names, socket_factory=Diversion())) as replies:
        with pytest.raises(RequestNotSent) as caught:
            await replies.post(f"https://{rest}{CANARY}", b"{}", timeout_seconds=5)
    assert (caught.value.reason, names.asked) == ("bad_url", [])
    assert CANARY not in "".join(traceback.format_exception(caught.value))


async def test_a_total_timeout_while_connecting_is_not_sent(new_egress: NewEgress, authority: Authority) -> None:
    """The limit for everything may be shorter than the one for connecting."""
    async with Mute() as mute, client(new_egress(allow_private_network=True, tls=authority.trust)) as replies:
        with pytest.raises(RequestNotSent) as caught:
            await replies.post(f"https://127.0.0.1:{mute.port}/", b"{}", timeout_seconds=0.05)
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
async def test_after_the_request_left_a_failure_means_the_answer_is_lost(
    new_egress: NewEgress,
    script: Callable[[asyncio.StreamWriter], Awaitable[None]],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It may have arrived, so it is never sent again here, and not called unsent."""
    caplog.set_level(logging.DEBUG)
    async with Site(script) as site, client(new_egress(allow_private_network=True)) as replies:
        with pytest.raises(AnswerLost) as caught:
            await replies.post(
                f"{site.url}?response_code={CANARY}", b"{}", timeout_seconds=0.2 if reason == "timeout" else 5
            )
    assert caught.value.reason == reason
    assert reason in LOST_REASONS
    assert len(site.requests) == 1
    assert_tells_nothing(caught.value, caplog)


async def test_a_failure_on_a_kept_connection_is_lost_too(new_egress: NewEgress) -> None:
    """A request written to a connection that then broke may have arrived."""
    async with Site(in_turn(answer(b"{}"), reset)) as site, client(new_egress(allow_private_network=True)) as replies:
        await replies.post(site.url, b"{}", timeout_seconds=5)
        with pytest.raises(AnswerLost) as caught:
            await replies.post(site.url, b"{}", timeout_seconds=5)
    assert caught.value.reason == "reset"
    assert (len(site.requests), site.accepted) == (2, 1)


async def test_after_closing_nothing_is_sent_and_nothing_is_left_open(new_egress: NewEgress) -> None:
    """Closing twice is fine; warnings about open connections would fail this test."""
    egress = new_egress(allow_private_network=True)
    async with Site(answer(b"{}")) as site:
        replies = ReplyClient(egress)
        await replies.post(site.url, b"{}", timeout_seconds=5)
        await egress.close()
        await egress.close()
        with pytest.raises(RequestNotSent) as caught:
            await replies.post(site.url, b"{}", timeout_seconds=5)
    assert caught.value.reason == "connect"
    assert len(site.requests) == 1
    del egress, replies
    gc.collect()


async def test_a_cancelled_post_stays_cancelled(new_egress: NewEgress) -> None:
    """A shutdown is no lost answer."""
    asked = asyncio.Event()

    async def script(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await silence(writer)

    async with Site(script) as site, client(new_egress(allow_private_network=True)) as replies:
        post = asyncio.create_task(replies.post(site.url, b"{}", timeout_seconds=30))
        async with asyncio.timeout(5):
            await asked.wait()
        post.cancel()
        with pytest.raises(asyncio.CancelledError):
            await post


def assert_tells_nothing(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the text, nor the traceback with everything chained to it, nor a log line shows the URL."""
    shown = "".join(traceback.format_exception(error)) + repr(error) + caplog.text
    assert CANARY not in shown
    assert "127.0.0.1" not in str(error)
    assert error.__context__ is None
    assert error.__cause__ is None
