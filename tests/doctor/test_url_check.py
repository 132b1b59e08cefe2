"""A bot that answers the URL check wrongly: each way has a sentence of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.doctor.faulty_bots import FakeBot, with_bot
from tests.fakes.sites import Site, hang_up, reset, silence

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.doctor.conftest import Doctor

NOW = "Sun, 22 Nov 2026 12:00:00 GMT"
NOW_SECONDS = 1_795_348_800.0


async def test_the_right_text_is_right(doctor: Doctor, tmp_path: Path) -> None:
    """And nothing else failed, so the exit code is 0."""
    async with FakeBot() as bot:
        found = await doctor.ask(with_bot(tmp_path, port=bot.port), "--url", f"{bot.url}wecom/bot?tenant=7")
    assert found.code == 0
    assert found.detail("local_url") == found.detail("public_url") == "the right text came back in 0 ms"
    local, public = (asked.line for asked in bot.requests)
    assert local.startswith("GET /wecom/bot?msg_signature=")
    assert public.startswith("GET /wecom/bot?tenant=7&msg_signature=")
    assert local.split("&")[1:] != public.split("&")[2:]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("400 Bad Request", "400: the token fits and EncodingAESKey or receiveId does not"),
        ("401 Unauthorized", "401: whoever answers has another token"),
        ("403 Forbidden", "403: something in front of the gateway refuses"),
        ("404 Not Found", "this channel answers to /a/{b} alone"),
        ("405 Method Not Allowed", "405: no GET is taken there"),
        ("502 Bad Gateway", "502: a proxy in front does not reach the gateway"),
        ("503 Service Unavailable", "503: the gateway is being stopped or has too much to do"),
        ("504 Gateway Timeout", "504: a proxy in front gets no answer"),
        ("500 Internal Server Error", "500: not the gateway answers"),
        ("201 Created", "201: not the gateway answers"),
    ],
)
async def test_a_wrong_status_is_explained(doctor: Doctor, tmp_path: Path, status: str, sentence: str) -> None:
    """Even with the right text."""
    sentence = sentence.replace("{b}", "b")
    async with FakeBot(status=status) as bot:
        found = await doctor.ask(with_bot(tmp_path, port=bot.port, path="/a/b"))
    assert (found.code, found.outcome("local_url")) == (1, "fail")
    assert sentence in found.detail("local_url")
    assert found.detail("local_url").endswith("(the console says 回调地址请求不通过)")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda echo: b'"' + echo + b'"', "in quotes"),
        (lambda echo: b'"' + echo + b'"\n', "in quotes"),
        (lambda echo: echo + b"\n", "line end"),
        (lambda echo: b" " + echo, "line end"),
        (lambda echo: b"\xef\xbb\xbf" + echo, "byte order mark"),
        (lambda echo: b'{"echo": ' + echo + b"}", "other text around it"),
        (lambda echo: b"<!doctype html><p>" + echo, "a web page"),
        (lambda echo: b"", "an empty answer"),
        (lambda echo: echo[::-1], "another text"),
        (lambda echo: b"\xff" * 200_000, "another text"),
    ],
    ids=["quotes", "quotes and line end", "line end", "space", "mark", "wrapped", "page", "empty", "other", "long"],
)
async def test_a_changed_text_is_explained(
    doctor: Doctor, tmp_path: Path, spoil: Callable[[bytes], bytes], sentence: str
) -> None:
    """What was done to it says what to look for."""
    async with FakeBot(spoil) as bot:
        found = await doctor.ask(with_bot(tmp_path), "--url", bot.url)
    assert (found.code, found.outcome("public_url")) == (1, "fail")
    assert sentence in found.detail("public_url")


async def test_a_page_is_known_by_its_type_too(doctor: Doctor, tmp_path: Path) -> None:
    """One that does not begin with a tag."""
    async with FakeBot(lambda _: b"please log in", headers="Content-Type: text/html\r\n") as bot:
        found = await doctor.ask(with_bot(tmp_path), "--url", bot.url)
    assert "a web page" in found.detail("public_url")


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("https://user:canary@login.example.com/canary?canary", "redirects to login.example.com,"),
        ("/wecom/bot/", "redirects to another path of the same host,"),
        ("https://[canary", "redirects to another path of the same host,"),
    ],
)
async def test_a_redirect_is_told_by_its_host_and_not_followed(
    doctor: Doctor, tmp_path: Path, location: str, host: str
) -> None:
    """Nothing else of where it leads is shown."""
    async with FakeBot(status="302 Found", headers=f"Location: {location}\r\n") as bot:
        found = await doctor.ask(with_bot(tmp_path), "--url", bot.url)
    assert host in found.detail("public_url")
    assert len(bot.requests) == 1


async def test_a_login_in_front_is_no_wrong_token(doctor: Doctor, tmp_path: Path) -> None:
    """Both are a 401."""
    async with FakeBot(status="401 Unauthorized", headers="WWW-Authenticate: Basic\r\n") as bot:
        found = await doctor.ask(with_bot(tmp_path), "--url", bot.url)
    assert "asks for a login" in found.detail("public_url")


async def test_the_right_text_after_more_than_a_second_is_too_late(doctor: Doctor, tmp_path: Path) -> None:
    """WeCom does not wait for it; exactly one second is in time."""

    def dawdle(seconds: float) -> Callable[[], None]:
        def pass_time() -> None:
            doctor.clock.time += seconds

        return pass_time

    async with FakeBot(before=dawdle(1.5)) as slow:
        found = await doctor.ask(with_bot(tmp_path), "--url", slow.url)
    assert found.outcome("public_url") == "fail"
    assert "came back in 1.5 s, and WeCom waits 1 s" in found.detail("public_url")
    async with FakeBot(before=dawdle(0.75)) as prompt:
        found = await doctor.ask(with_bot(tmp_path), "--url", prompt.url)
    assert found.outcome("public_url") == "ok"


async def babble(writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    await writer.drain()
    writer.close()


async def break_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n12345")
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (babble, "does not speak HTTP"),
        (break_off, "broke off"),
        (hang_up, "broke off"),
        (reset, "broke off"),
    ],
)
async def test_an_answer_that_is_none_is_explained(
    doctor: Doctor, tmp_path: Path, script: Callable[[asyncio.StreamWriter], Awaitable[None]], sentence: str
) -> None:
    """Another protocol, or a connection that ends early."""
    async with Site(script) as site:
        found = await doctor.ask(with_bot(tmp_path), "--url", site.url)
    assert (found.code, found.outcome("public_url")) == (1, "fail")
    assert sentence in found.detail("public_url")


async def test_an_answer_that_does_not_come_is_waited_for_only_so_long(doctor: Doctor, tmp_path: Path) -> None:
    """And nothing can be said about clocks then."""
    async with Site(silence) as site:
        found = await doctor.ask(with_bot(tmp_path), "--url", site.url, answer_seconds=0.05)
    assert "no complete answer came in 0.05 s" in found.detail("public_url")
    assert "clock" not in found.names()


@pytest.mark.parametrize(
    ("ahead_seconds", "max_skew_seconds", "outcome"),
    [(0, 0, "ok"), (-29, 0, "ok"), (45, 0, "warn"), (-45, 600, "warn"), (45, 10, "fail"), (-20, 10, "fail")],
)
async def test_the_clock_is_compared_with_the_date_of_the_answer(
    doctor: Doctor, tmp_path: Path, ahead_seconds: int, max_skew_seconds: int, outcome: str
) -> None:
    """A failure only where callbacks would be refused for it."""
    doctor.clock.time = NOW_SECONDS + 0.5 + ahead_seconds
    async with FakeBot(headers=f"Date: {NOW}\r\n") as bot:
        found = await doctor.ask(with_bot(tmp_path, maxSkewSeconds=max_skew_seconds), "--url", bot.url)
    assert found.outcome("clock") == outcome
    assert found.detail("clock").startswith(f"{abs(ahead_seconds)} s apart from that of the public address")


@pytest.mark.parametrize("headers", ["", "Date: canary\r\n"], ids=["none", "no date"])
async def test_an_answer_without_a_date_is_a_warning(doctor: Doctor, tmp_path: Path, headers: str) -> None:
    """It is not the fault of the channel."""
    async with FakeBot(headers=headers) as bot:
        found = await doctor.ask(with_bot(tmp_path, port=bot.port))
    assert (found.code, found.outcome("clock")) == (0, "warn")
