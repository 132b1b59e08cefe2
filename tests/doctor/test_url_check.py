"""The URL check: every wrong answer is explained by a sentence of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest

from maven_channel_wecom.doctor.url_check import POST_BYTES
from maven_channel_wecom.errors import SignatureMismatch
from maven_channel_wecom.protocol import envelope
from tests.doctor.faulty_bots import CREDENTIALS, FakeBot, bot_config, own_error
from tests.fakes.sites import Site, answer, hang_up, reset, silence

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.doctor.conftest import Doctor

NOW = "Sun, 22 Nov 2026 12:00:00 GMT"
NOW_SECONDS = 1_795_348_800.0


async def test_the_right_text_passes(doctor: Doctor, tmp_path: Path) -> None:
    async with FakeBot() as bot:
        found = await doctor.diagnose(bot_config(tmp_path, port=bot.port), "--url", f"{bot.url}wecom/bot?tenant=7")
    assert found.exit_code == 0
    assert found.detail("local_url") == found.detail("public_url") == "the right text came back in 0 ms"
    local, public = (asked.line for asked in bot.requests)
    assert local.startswith("GET /wecom/bot?msg_signature=")
    assert public.startswith("GET /wecom/bot?tenant=7&msg_signature=")
    assert local.split("&")[1:] != public.split("&")[2:]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("400 Bad Request", "400: something in front of the gateway refuses the request"),
        ("401 Unauthorized", "401: something in front of the gateway asks for a login"),
        ("403 Forbidden", "403: something in front of the gateway refuses the request"),
        ("404 Not Found", "this channel answers only at /a/{b}"),
        ("405 Method Not Allowed", "405: GET is not allowed"),
        ("413 Payload Too Large", "413: something in front of the gateway refuses a body"),
        ("502 Bad Gateway", "502: a proxy in front cannot reach the gateway"),
        ("503 Service Unavailable", "503: a proxy in front cannot reach the gateway"),
        ("504 Gateway Timeout", "504: a proxy in front gets no answer"),
        ("500 Internal Server Error", "500: something in front of the gateway answers"),
        ("201 Created", "201: something in front of the gateway answers"),
    ],
)
async def test_a_wrong_status_is_explained(doctor: Doctor, tmp_path: Path, status: str, sentence: str) -> None:
    """The bot answers with the right text, but not with status 200: the channel itself would not do that."""
    sentence = sentence.replace("{b}", "b")
    async with FakeBot(status=status) as bot:
        found = await doctor.diagnose(bot_config(tmp_path, port=bot.port, path="/a/b"))
    assert (found.exit_code, found.outcome("local_url")) == (1, "fail")
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
    async with FakeBot(spoil) as bot:
        found = await doctor.diagnose(bot_config(tmp_path), "--url", bot.url)
    assert (found.exit_code, found.outcome("public_url")) == (1, "fail")
    assert sentence in found.detail("public_url")


async def test_a_web_page_is_also_recognized_by_its_content_type(doctor: Doctor, tmp_path: Path) -> None:
    async with FakeBot(lambda _: b"please log in", headers="Content-Type: text/html\r\n") as bot:
        found = await doctor.diagnose(bot_config(tmp_path), "--url", bot.url)
    assert "a web page" in found.detail("public_url")


@pytest.mark.parametrize(
    ("status", "body", "post", "sentence"),
    [
        (400, b"bad request", 401, "400: the token matches but EncodingAESKey or receiveId does not: compare"),
        (400, b"bad request", 400, "400: the query does not arrive as it was sent"),
        (400, b"bad request", 503, "400: the token matches but EncodingAESKey or receiveId does not, or something"),
        (401, b"unauthorized", 401, "401: the program that answers has a different token"),
        (404, b"not found", 404, "404: the path differs; this channel answers only at /wecom/bot"),
        (503, b"service unavailable", 503, "503: the gateway is stopping or overloaded"),
    ],
)
async def test_an_answer_of_the_channel_itself_is_told_by_its_body(
    doctor: Doctor, tmp_path: Path, status: int, body: bytes, post: int, sentence: str
) -> None:
    """All its 400s look alike. A POST with a wrong signature gets a 401 if its query arrives, and otherwise a 400."""
    async with FakeBot(lambda _: body, status=f"{status} x", post=own_error(post)) as bot:
        found = await doctor.diagnose(bot_config(tmp_path), "--url", bot.url)
    assert sentence in found.detail("public_url")


@pytest.mark.parametrize(
    ("post", "sentence"),
    [
        (answer(b"", status="405 No"), "405: POST is not allowed, so something other than the gateway answers"),
        (answer(b"", status="413 No"), "413: something in front of the gateway refuses a body of 32 KiB"),
        (answer(b"", status="403 No"), "403: something in front of the gateway refuses the request"),
        (answer(b"", status="401 No"), "401: something in front of the gateway asks for a login"),
        (answer(b"unauthorized", status="403 No"), "403: something in front of the gateway refuses"),
        (answer(b"", status="400 No"), "400: something in front of the gateway refuses the request"),
        (answer(b"", status="307 No", headers="Location: /login\r\n"), "307: it redirects to /login of the same host"),
        (answer(b"ok"), "200: something in front of the gateway answers, not the gateway"),
        (own_error(400), "400: the query or the body does not arrive as it was sent"),
        (own_error(503), "503: the gateway is stopping or overloaded"),
        (hang_up, "the connection was cut off"),
    ],
)
async def test_a_post_that_does_not_pass_is_explained(
    doctor: Doctor, tmp_path: Path, post: Callable[[asyncio.StreamWriter], Awaitable[None]], sentence: str
) -> None:
    """The console checks the URL with a GET, and messages are POSTs."""
    async with FakeBot(post=post) as bot:
        found = await doctor.diagnose(bot_config(tmp_path), "--url", bot.url)
    assert (found.exit_code, found.outcome("public_url")) == (1, "fail")
    assert f"the URL check passes, but callbacks, which are POSTs, do not: {sentence}" in found.detail("public_url")


async def test_the_post_is_like_a_callback_except_for_its_signature(doctor: Doctor, tmp_path: Path) -> None:
    async with FakeBot() as bot:
        await doctor.diagnose(bot_config(tmp_path), "--url", f"{bot.url}wecom/bot?tenant=7")
    (post,) = bot.posts
    assert post.line.startswith("POST /wecom/bot?tenant=7&msg_signature=")
    assert post.headers["content-type"] == "application/json"
    assert len(json.loads(post.body)["encrypt"]) == POST_BYTES
    with pytest.raises(SignatureMismatch):
        envelope.open_envelope(
            [CREDENTIALS],
            envelope.read_query(dict(parse_qsl(urlsplit(post.line.split(" ")[1]).query))),
            json.loads(post.body)["encrypt"],
        )


class FirewalledBot(FakeBot):
    """Refuses every User-Agent that does not begin with `accepted`."""

    def __init__(self, accepted: str) -> None:
        super().__init__()
        self._accepted = accepted

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        if self.requests[-1].headers["user-agent"].startswith(self._accepted):
            await super()._answer(writer)
        else:
            await answer(b"<html>", status="403 Forbidden")(writer)


@pytest.mark.parametrize(
    ("accepted", "sentence"),
    [
        ("Mozilla/4.0", "the right text came back"),
        ("Mozilla/5.0", "403: something in front of the gateway refuses the User-Agent of WeCom, Mozilla/4.0"),
        ("curl", "403: something in front of the gateway refuses the request"),
    ],
)
async def test_a_firewall_that_judges_the_user_agent_is_found(
    doctor: Doctor, tmp_path: Path, accepted: str, sentence: str
) -> None:
    async with FirewalledBot(accepted) as bot:
        found = await doctor.diagnose(bot_config(tmp_path), "--url", bot.url)
    assert sentence in found.detail("public_url")


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://user:canary@login.example.com/login?canary", "https://login.example.com/login,"),
        ("https://bot.example.com:8443/wecom/bot?canary", "https://bot.example.com:8443/wecom/bot,"),
        ("//bot.example.com/wecom/bot", "the same scheme://bot.example.com/wecom/bot,"),
        ("/wecom/bot/?canary", "/wecom/bot/ of the same host,"),
        ("?canary", "/ of the same host,"),
        ("https://[canary", "an invalid URL,"),
        ("https://h:canary/", "an invalid URL,"),
    ],
)
async def test_a_redirect_is_not_followed_and_its_target_is_shown_without_user_and_query(
    doctor: Doctor, tmp_path: Path, location: str, target: str
) -> None:
    """Its query may repeat the signature."""
    async with FakeBot(status="302 Found", headers=f"Location: {location}\r\n") as bot:
        found = await doctor.diagnose(bot_config(tmp_path), "--url", bot.url)
    assert f"it redirects to {target} and WeCom does not follow" in found.detail("public_url")
    assert {asked.line.split("?")[0] for asked in bot.requests} == {"GET /"}


async def test_a_login_in_front_is_not_mistaken_for_a_wrong_token(doctor: Doctor, tmp_path: Path) -> None:
    """A login page and a wrong token are both answered with 401."""
    async with FakeBot(status="401 Unauthorized", headers="WWW-Authenticate: Basic\r\n") as bot:
        found = await doctor.diagnose(bot_config(tmp_path), "--url", bot.url)
    assert "asks for a login" in found.detail("public_url")


async def test_the_right_text_after_more_than_a_second_is_too_late(doctor: Doctor, tmp_path: Path) -> None:

    def delay(seconds: float) -> Callable[[], None]:
        def pass_time() -> None:
            doctor.clock.time += seconds

        return pass_time

    async with FakeBot(before=delay(1.5)) as slow:
        found = await doctor.diagnose(bot_config(tmp_path), "--url", slow.url)
    assert found.outcome("public_url") == "fail"
    assert "came back in 1.5 s, but WeCom waits only 1 s" in found.detail("public_url")
    async with FakeBot(before=delay(0.75)) as prompt:
        found = await doctor.diagnose(bot_config(tmp_path), "--url", prompt.url)
    assert found.outcome("public_url") == "ok"


async def answer_in_ssh(writer: asyncio.StreamWriter) -> None:
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
        (answer_in_ssh, "does not speak HTTP"),
        (break_off, "cut off"),
        (hang_up, "cut off"),
        (reset, "cut off"),
    ],
)
async def test_an_incomplete_or_foreign_answer_is_explained(
    doctor: Doctor, tmp_path: Path, script: Callable[[asyncio.StreamWriter], Awaitable[None]], sentence: str
) -> None:
    async with Site(script) as site:
        found = await doctor.diagnose(bot_config(tmp_path), "--url", site.url)
    assert (found.exit_code, found.outcome("public_url")) == (1, "fail")
    assert sentence in found.detail("public_url")


async def test_a_missing_answer_times_out_and_no_clock_is_compared(doctor: Doctor, tmp_path: Path) -> None:
    async with Site(silence) as site:
        found = await doctor.diagnose(bot_config(tmp_path), "--url", site.url, answer_seconds=0.05)
    assert "no complete answer came within 0.05 s" in found.detail("public_url")
    assert "clock" not in found.names()


@pytest.mark.parametrize(
    ("ahead_seconds", "max_skew_seconds", "outcome"),
    [(0, 0, "ok"), (-29, 0, "ok"), (45, 0, "warn"), (-45, 600, "warn"), (45, 10, "fail"), (-20, 10, "fail")],
)
async def test_the_clock_is_compared_with_the_date_of_the_answer(
    doctor: Doctor, tmp_path: Path, ahead_seconds: int, max_skew_seconds: int, outcome: str
) -> None:
    doctor.clock.time = NOW_SECONDS + 0.5 + ahead_seconds
    async with FakeBot(headers=f"Date: {NOW}\r\n") as bot:
        found = await doctor.diagnose(bot_config(tmp_path, maxSkewSeconds=max_skew_seconds), "--url", bot.url)
    assert found.outcome("clock") == outcome
    assert found.detail("clock").startswith(
        f"it differs by {abs(ahead_seconds)} s from the clock of the public address"
    )


@pytest.mark.parametrize("headers", ["", "Date: canary\r\n"], ids=["none", "no date"])
async def test_an_answer_without_a_date_is_a_warning(doctor: Doctor, tmp_path: Path, headers: str) -> None:
    async with FakeBot(headers=headers) as bot:
        found = await doctor.diagnose(bot_config(tmp_path, port=bot.port))
    assert (found.exit_code, found.outcome("clock")) == (0, "warn")
