"""Each offence, provoked by a bot that breaks one rule."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, get_args

import msgspec
import pytest
from aiohttp import web

from maven_channel_wecom.protocol.reply import markdown_body
from maven_channel_wecom.simulator.messages import Text
from maven_channel_wecom.simulator.offences import OFFENCE_MEANINGS, Offence, OffenceKind
from tests.fakes.sites import Site, silence
from tests.simulator.bots import Bot, PostResult, kinds

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom

BODY = markdown_body("hello")


@pytest.mark.parametrize(
    ("echo", "expected"),
    [
        (lambda _plain: web.Response(status=500), "url_check_refused"),
        (lambda _plain: web.HTTPFound("/elsewhere"), "url_check_refused"),
        (lambda plain: web.json_response(plain.decode()), "url_check_decorated"),
        (lambda plain: web.Response(body=plain + b"\n"), "url_check_decorated"),
        (lambda plain: web.Response(body=b"\xef\xbb\xbf" + plain), "url_check_decorated"),
        (lambda plain: web.json_response({"code": 0, "data": plain.decode()}), "url_check_wrong_body"),
        (lambda _plain: web.Response(), "url_check_wrong_body"),
    ],
    ids=["error", "redirect", "quotes", "newline", "byte_order_mark", "wrapped", "nothing"],
)
async def test_a_wrong_answer_to_the_url_check_is_an_offence(
    wecom: SimulatedWeCom, bot: Bot, echo: Callable[[bytes], web.Response], expected: OffenceKind
) -> None:
    bot.echo = echo
    check = await wecom.check_url()
    assert (check.passed, kinds(wecom)) == (False, [expected])


async def test_a_bot_that_never_answers_fails_the_url_check(wecom: SimulatedWeCom) -> None:
    async with Site(silence) as bot:
        wecom.callback_url, wecom.url_check_seconds = bot.url, 0.05
        await wecom.check_url()
    assert kinds(wecom) == ["url_check_slow"]


async def test_a_callback_without_an_answer_in_time_is_an_offence(wecom: SimulatedWeCom) -> None:
    async with Site(silence) as bot:
        wecom.callback_url, wecom.answer_seconds = bot.url, 0.05
        sent = await wecom.send(Text("x"))
    assert (sent.status, kinds(wecom), wecom.recorded.acknowledged_ids) == (0, ["slow_answer"], set())


def envelope_with(**changes: str | int) -> Callable[[object], web.Response]:
    return lambda sealed: web.json_response(msgspec.to_builtins(sealed) | changes)


@pytest.mark.parametrize(
    "answer",
    [
        lambda _sealed: web.Response(text="success"),
        lambda _sealed: web.Response(text="<html></html>"),
        envelope_with(msg_signature="x"),
        envelope_with(msgsignature="0" * 40),
        envelope_with(nonce="another"),
        envelope_with(encrypt="AAAA"),
        lambda sealed: web.json_response({"encrypt": sealed.encrypt}),
    ],
    ids=["plain", "html", "extra_key", "signature", "nonce", "ciphertext", "missing_keys"],
)
async def test_an_answer_without_a_valid_envelope_is_an_offence(
    wecom: SimulatedWeCom, bot: Bot, answer: Callable[[object], web.Response]
) -> None:
    bot.answer, bot.replies = answer, False
    sent = await wecom.send(Text("x"))
    assert wecom.recorded.offences == [Offence("unsealed_answer", sent.message_id)]
    assert (sent.acknowledgement, sent.acknowledged) == (None, True)


async def test_the_answer_to_an_earlier_callback_is_an_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    answers: list[object] = []

    def same_answer(sealed: object) -> web.Response:
        answers.append(sealed)
        return web.Response(body=msgspec.json.encode(answers[0]))

    bot.answer, bot.replies = same_answer, False
    await wecom.send(Text("first"))
    await wecom.send(Text("second"))
    assert kinds(wecom) == ["unsealed_answer"]


@pytest.mark.parametrize(
    ("plain", "form"), [(b'"success"', "success"), (b"{}", "empty_object")], ids=["success", "object"]
)
async def test_each_empty_reply_is_allowed_and_counted(
    wecom: SimulatedWeCom, bot: Bot, plain: bytes, form: str
) -> None:
    bot.acknowledgement = plain
    await wecom.send(Text("x"))
    assert (dict(wecom.recorded.acknowledgements), kinds(wecom)) == ({form: 1}, [])


async def test_an_empty_body_is_allowed_and_counted(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.answer = lambda _sealed: web.Response()
    sent = await wecom.send(Text("x"))
    assert (sent.acknowledgement, dict(wecom.recorded.acknowledgements)) == (b"", {"empty_body": 1})
    assert kinds(wecom) == []


async def test_a_sealed_answer_with_content_is_an_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.acknowledgement, bot.replies = b'{"msgtype":"text"}', False
    await wecom.send(Text("x"))
    assert kinds(wecom) == ["unexpected_answer"]


async def test_another_receive_id_in_the_answer_is_an_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    wecom.receive_id, bot.receive_id, bot.replies = "ww1", "ww2", False
    await wecom.send(Text("x"))
    assert kinds(wecom) == ["wrong_receive_id"]


@pytest.mark.parametrize(("status", "expected"), [(404, ["wrong_status"]), (500, ["wrong_status"]), (503, [])])
async def test_only_200_and_503_are_allowed_for_a_genuine_callback(
    wecom: SimulatedWeCom, bot: Bot, status: int, expected: list[OffenceKind]
) -> None:
    """A bot that cannot accept a message answers 503, so that WeCom redelivers it."""
    bot.answer, bot.replies = lambda _sealed: web.Response(status=status), False
    sent = await wecom.send(Text("x"))
    assert (sent.status, kinds(wecom), sent.acknowledged) == (status, expected, False)


async def test_a_server_error_for_a_malformed_callback_is_an_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.answer, bot.replies = lambda _sealed: web.Response(status=500), False
    await wecom.send_plaintext(b'{"msgid":"m","msgtype":"text","text":{"content":"x"}}')
    assert kinds(wecom) == ["wrong_status"]


Misuse = Callable[[Bot, str], Awaitable[PostResult]]


@pytest.mark.parametrize(
    ("misuse", "expected", "errcode"),
    [
        (lambda bot, url: bot.post(url, BODY, method="PUT"), "wrong_method", 40058),
        (lambda bot, url: bot.post(url, BODY, headers={"Content-Type": "text/plain"}), "wrong_content_type", 40058),
        (
            lambda bot, url: bot.post(url, BODY, headers={"Content-Type": "application/json; charset=gbk"}),
            "wrong_content_type",
            40058,
        ),
        (lambda bot, url: bot.post(url, b"{"), "malformed_body", 40058),
        (lambda bot, url: bot.post(url, '{"msgtype":"你"}'.encode("gbk")), "malformed_body", 40058),
        (lambda bot, url: bot.post(url, b'{"msgtype":"markdown"}'), "malformed_body", 40058),
        (lambda bot, url: bot.post(url, b"[" * 100_000), "malformed_body", 40058),
        (lambda bot, url: bot.post(url, b'{"encrypt":"x","msgsignature":"x"}'), "encrypted_body", 40008),
        (lambda bot, url: bot.post(url, b'{"msgtype":"text","text":{"content":"x"}}'), "wrong_message_type", 40008),
        (
            lambda bot, url: bot.post(url, rb'{"msgtype":"markdown","markdown":{"content":"\u4f60"}}'),
            "escaped_characters",
            40033,
        ),
        (lambda bot, url: bot.post(url, markdown_body("")), "empty", 44004),
        (lambda bot, url: bot.post(url, markdown_body(" \n")), "empty", 44004),
        (lambda bot, url: bot.post(url, markdown_body("你" * 6_827)), "oversized", 45002),
        (lambda bot, url: bot.post(url, markdown_body("x" * 2_000_000)), "oversized", 45002),
        (lambda bot, url: bot.post(url + "0", BODY), "unknown_code", 60140),
    ],
    ids=[
        *("method", "content_type", "charset", "not_json", "not_utf8", "no_markdown", "deep", "encrypted", "text"),
        *("escapes", "empty", "blank", "one_byte_over", "enormous", "unknown_code"),
    ],
)
async def test_a_wrong_reply_is_refused_and_an_offence(
    wecom: SimulatedWeCom, bot: Bot, misuse: Misuse, expected: OffenceKind, errcode: int
) -> None:
    """A refused reply does not spend the URL, so a correct one is still accepted."""
    bot.replies = False
    sent = await wecom.send(Text("x"))
    url = bot.received[0].response_url
    assert await misuse(bot, url) == PostResult(200, errcode)
    assert kinds(wecom) == [expected]
    assert await bot.post(url, BODY) == PostResult(200, 0)
    assert (await sent.reply()).content == "hello"


async def test_the_largest_reply_and_escaped_control_characters_are_accepted(wecom: SimulatedWeCom, bot: Bot) -> None:
    """JSON cannot contain raw control characters, and a backslash before `u` in the text is not an escape."""
    bot.replies = False
    for content in ("你" * 6_826 + "xx", "\x00\x1f", r"C:\u4f60"):
        sent = await wecom.send(Text("x"))
        assert await bot.post(bot.received[-1].response_url, markdown_body(content)) == PostResult(200, 0)
        assert (await sent.reply()).content == content
    assert kinds(wecom) == []


def test_every_kind_of_offence_has_a_meaning() -> None:
    assert set(OFFENCE_MEANINGS) == set(get_args(OffenceKind))
    assert Offence("late", "m1").describe() == "late: a reply was sent more than an hour after its callback"
