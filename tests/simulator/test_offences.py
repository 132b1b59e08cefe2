"""Each offence, provoked by a bot that does one thing wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, get_args

import msgspec
import pytest
from aiohttp import web

from maven_channel_wecom.protocol import limits
from maven_channel_wecom.protocol.callback import MediaItem
from maven_channel_wecom.protocol.reply import markdown_body
from maven_channel_wecom.simulator.faults import Errcode
from maven_channel_wecom.simulator.messages import Image, Text
from maven_channel_wecom.simulator.offences import OFFENCE_MEANINGS, Offence, OffenceKind
from maven_channel_wecom.simulator.picture import draw_png
from tests.simulator.bots import Bot, Posted

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.conftest import HandClock

BODY = markdown_body("hello")


def kinds(wecom: SimulatedWeCom) -> list[OffenceKind]:
    return [offence.kind for offence in wecom.recorded.offences]


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
    """The answer is the plaintext, and nothing before, after or around it."""
    bot.echo = echo
    check = await wecom.check_url()
    assert (check.passed, kinds(wecom)) == (False, [expected])


async def test_a_bot_that_never_answers_fails_the_url_check(wecom: SimulatedWeCom) -> None:
    """The console gives up after its limit."""
    async with silent_bot() as url:
        wecom.callback_url, wecom.url_check_seconds = url, 0.05
        await wecom.check_url()
    assert kinds(wecom) == ["url_check_slow"]


async def test_a_bot_that_never_answers_a_callback_is_cut_off(wecom: SimulatedWeCom) -> None:
    """WeCom gives up after its limit, and the message is not acknowledged."""
    async with silent_bot() as url:
        wecom.callback_url, wecom.answer_seconds = url, 0.05
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
async def test_an_answer_that_is_no_sealed_envelope_is_an_offence(
    wecom: SimulatedWeCom, bot: Bot, answer: Callable[[object], web.Response]
) -> None:
    """Four exact keys, signed for what they say, under the nonce of the callback."""
    bot.answer, bot.replies = answer, False
    sent = await wecom.send(Text("x"))
    assert wecom.recorded.offences == [Offence("unsealed_answer", sent.message_id)]
    assert (sent.acknowledgement, sent.acknowledged) == (None, True)


async def test_a_good_envelope_under_another_nonce_is_an_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    """The answer to an earlier callback does not pass for the answer to this one."""
    kept: list[object] = []

    def same_answer(sealed: object) -> web.Response:
        kept.append(sealed)
        return web.Response(body=msgspec.json.encode(kept[0]))

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
    """Which form a bot uses is known, not judged."""
    bot.acknowledgement = plain
    await wecom.send(Text("x"))
    assert (dict(wecom.recorded.acknowledgements), kinds(wecom)) == ({form: 1}, [])


async def test_an_empty_body_is_allowed_and_counted(wecom: SimulatedWeCom, bot: Bot) -> None:
    """It needs no seal."""
    bot.answer = lambda _sealed: web.Response()
    sent = await wecom.send(Text("x"))
    assert (sent.acknowledgement, dict(wecom.recorded.acknowledgements)) == (b"", {"empty_body": 1})
    assert kinds(wecom) == []


async def test_a_sealed_answer_that_says_something_is_an_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    """This bot answers by response_url."""
    bot.acknowledgement, bot.replies = b'{"msgtype":"text"}', False
    await wecom.send(Text("x"))
    assert kinds(wecom) == ["unexpected_answer"]


async def test_another_receive_id_in_the_answer_is_an_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    """It is given back as it came."""
    wecom.receive_id, bot.receive_id, bot.replies = "ww1", "ww2", False
    await wecom.send(Text("x"))
    assert kinds(wecom) == ["wrong_receive_id"]


@pytest.mark.parametrize(("status", "expected"), [(404, ["wrong_status"]), (500, ["wrong_status"]), (503, [])])
async def test_a_genuine_callback_gets_200_or_a_request_to_come_back(
    wecom: SimulatedWeCom, bot: Bot, status: int, expected: list[OffenceKind]
) -> None:
    """503 is how a full bot asks for a redelivery."""
    bot.answer, bot.replies = lambda _sealed: web.Response(status=status), False
    sent = await wecom.send(Text("x"))
    assert (sent.status, kinds(wecom), sent.acknowledged) == (status, expected, False)


async def test_a_server_error_for_a_malformed_callback_is_an_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    """Bad input is refused, it does not break anything."""
    bot.answer, bot.replies = lambda _sealed: web.Response(status=500), False
    await wecom.send_plaintext(b'{"msgid":"m","msgtype":"text","text":{"content":"x"}}')
    assert kinds(wecom) == ["wrong_status"]


Misuse = Callable[[Bot, str], Awaitable[Posted]]


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
    """Refused with WeCom's code; the URL is not spent, so a good reply still gets through."""
    bot.replies = False
    sent = await wecom.send(Text("x"))
    url = bot.seen[0].response_url
    assert await misuse(bot, url) == Posted(200, errcode)
    assert kinds(wecom) == [expected]
    assert await bot.post(url, BODY) == Posted(200, 0)
    assert (await sent.reply()).content == "hello"


async def test_the_largest_reply_and_escaped_control_characters_are_fine(wecom: SimulatedWeCom, bot: Bot) -> None:
    """Exactly 20480 bytes; JSON has no other way to say a control character; a backslash is not an escape."""
    bot.replies = False
    for content in ("你" * 6_826 + "xx", "\x00\x1f", r"C:\u4f60"):
        sent = await wecom.send(Text("x"))
        assert await bot.post(bot.seen[-1].response_url, markdown_body(content)) == Posted(200, 0)
        assert (await sent.reply()).content == content
    assert kinds(wecom) == []


async def test_a_second_use_is_an_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    """Both POSTs are counted, one reply is accepted."""
    bot.replies = False
    sent = await wecom.send(Text("x"))
    url = bot.seen[0].response_url
    answers = await asyncio.gather(bot.post(url, BODY), bot.post(url, BODY))
    assert sorted(answer.errcode or 0 for answer in answers) == [0, 60140]
    assert wecom.recorded.offences == [Offence("second_use", sent.message_id)]
    assert (wecom.recorded.posts[sent.message_id], len(wecom.recorded.replies)) == (2, 1)
    assert [attempt.accepted for attempt in wecom.recorded.attempts] == [True, False]


async def test_a_reply_is_late_after_exactly_an_hour(wecom: SimulatedWeCom, bot: Bot, clock: HandClock) -> None:
    """A moment before it is fine, by the simulator's clock."""
    bot.replies = False
    await wecom.send(Text("x"))
    await wecom.send(Text("y"))
    clock.now += limits.RESPONSE_URL_SECONDS - 1
    assert await bot.post(bot.seen[0].response_url, BODY) == Posted(200, 0)
    clock.now += 1
    assert await bot.post(bot.seen[1].response_url, BODY) == Posted(200, 60140)
    assert kinds(wecom) == ["late"]


async def test_a_template_card_is_for_single_chats(wecom: SimulatedWeCom, bot: Bot) -> None:
    """In a group it is refused."""
    bot.replies = False
    card = b'{"msgtype":"template_card","template_card":{"card_type":"text_notice"}}'
    single = await wecom.send(Text("x"))
    await wecom.send(Text("x"), group="wr1")
    assert await bot.post(bot.seen[0].response_url, card) == Posted(200, 0)
    assert await bot.post(bot.seen[1].response_url, card) == Posted(200, 40008)
    assert (await single.reply()).content == '{"card_type":"text_notice"}'
    assert kinds(wecom) == ["card_in_group"]


async def test_repeating_what_was_refused_for_good_is_an_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    """A scripted 45002 will not turn into a yes."""
    bot.replies = False
    wecom.reply_faults.add(Errcode(45002))
    sent = await wecom.send(Text("x"))
    url = bot.seen[0].response_url
    assert await bot.post(url, BODY) == Posted(200, 45002)
    await bot.post(url, BODY)
    assert wecom.recorded.offences == [Offence("unsafe_repeat", sent.message_id)]


@pytest.mark.parametrize(
    "alter", [lambda url: url + "+", lambda url: url.replace("%26", "&")], ids=["space", "decoded"]
)
async def test_an_altered_media_url_breaks_its_signature(
    wecom: SimulatedWeCom, bot: Bot, alter: Callable[[str], str]
) -> None:
    """It is requested byte for byte, without the trailing space."""
    bot.replies = False
    sent = await wecom.send(Image(draw_png(2, 2)))
    item = bot.seen[0].items[0]
    assert isinstance(item, MediaItem)
    status, _, _ = await bot.fetch(alter(item.url))
    assert (status, wecom.recorded.offences) == (403, [Offence("altered_media_url", sent.message_id)])


def test_every_kind_of_offence_has_its_meaning() -> None:
    """An operator reads a sentence, not a word."""
    assert set(OFFENCE_MEANINGS) == set(get_args(OffenceKind))
    assert Offence("late", "m1").describe() == "late: a reply was sent more than an hour after its callback"


class silent_bot:  # noqa: N801  # used like a function
    """Accepts connections and never says a word."""

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._hold, "127.0.0.1", 0)
        self._writers: list[asyncio.StreamWriter] = []
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/wecom/bot"

    async def __aexit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.close()
        self._server.close()

    async def _hold(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
