"""A correct bot in front of the simulator: everything works, and nothing is an offence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.protocol.callback import MediaItem, TextItem
from maven_channel_wecom.protocol.cipher import decode_key
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator.messages import (
    CardClick,
    EnterChat,
    Feedback,
    File,
    Image,
    ImageById,
    Mixed,
    StreamRefresh,
    Text,
    Unknown,
    Video,
    Voice,
)
from maven_channel_wecom.simulator.picture import draw_png
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.messages import Message
    from maven_channel_wecom.simulator.sent import SentCallback
    from tests.simulator.bots import Bot
    from tests.simulator.conftest import HandClock


async def test_a_correct_bot_passes_the_url_check(wecom: SimulatedWeCom, bot: Bot) -> None:
    """Many times over, since the ciphertext holds a plus sign only now and then."""
    checks = [await wecom.check_url() for _ in range(20)]
    assert all(check.passed for check in checks)
    assert wecom.recorded.offences == []


async def test_a_text_is_acknowledged_and_answered(wecom: SimulatedWeCom, bot: Bot) -> None:
    """The simulator opens the acknowledgement and hands over the reply."""
    sent = await wecom.send(Text("你好"))
    reply = await sent.reply()
    assert (sent.status, sent.acknowledgement, sent.acknowledged) == (200, b'"success"', True)
    assert (reply.content, reply.accepted, reply.message_id) == ("你好", True, sent.message_id)
    assert wecom.recorded.acknowledged_ids == {sent.message_id}
    assert wecom.recorded.acknowledgements["success"] == 1
    assert wecom.recorded.replies == wecom.recorded.replies_to(sent.message_id) == [reply]
    assert wecom.recorded.offences == []


async def test_a_picture_arrives_encrypted_and_opens(wecom: SimulatedWeCom, bot: Bot) -> None:
    """The bot fetches ciphertext, and its own key opens it."""
    picture = draw_png(8, 8)
    sent = await wecom.send(Mixed((Text("look"), Image(picture, "图.png"))))
    assert (await sent.reply()).content == f"look [image image/png, {len(picture)} bytes]"
    item = bot.seen[0].items[1]
    assert isinstance(item, MediaItem)
    status, body, name = await bot.fetch(item.url)
    assert (status, name) == (200, "图.png")
    assert body != picture
    assert wecom.recorded.media_requests[sent.message_id] == 2
    assert wecom.recorded.offences == []


@pytest.mark.parametrize(
    "message",
    [
        Voice("spoken"),
        File(b"%PDF-1.7 not much of a document", "a.pdf"),
        Video(b"\0" * 64),
        ImageById("id1"),
        CardClick("yes", "task1"),
        Unknown("location"),
    ],
    ids=lambda message: type(message).__name__,
)
async def test_what_may_be_answered_carries_a_response_url(wecom: SimulatedWeCom, bot: Bot, message: Message) -> None:
    """User messages of every kind and card clicks."""
    bot.replies = False
    await wecom.send(message)
    assert bot.seen[0].response_url.startswith(f"{wecom.base_url}/cgi-bin/aibot/response?response_code=")
    assert wecom.recorded.offences == []


@pytest.mark.parametrize(
    "message", [EnterChat(), Feedback("f1", 1), StreamRefresh("s1")], ids=lambda message: type(message).__name__
)
async def test_what_may_not_be_answered_carries_none(wecom: SimulatedWeCom, bot: Bot, message: Message) -> None:
    """And waiting for its reply says so instead of waiting."""
    sent = await wecom.send(message)
    assert bot.seen[0].response_url == ""
    with pytest.raises(LookupError, match="without a response_url"):
        await sent.reply()


async def test_a_quote_in_a_group_reaches_the_bot(wecom: SimulatedWeCom, bot: Bot) -> None:
    """The words, the group, the quoted picture."""
    await (await wecom.send(Text("@Maven what is this"), group="wr1", quote=Image(draw_png(2, 2)))).reply()
    callback = bot.seen[0]
    assert (callback.chat_id, callback.items) == ("wr1", (TextItem("@Maven what is this"),))
    assert [item.kind for item in callback.quoted_items if isinstance(item, MediaItem)] == ["image"]


async def test_a_redelivery_has_the_same_message_in_a_new_envelope(wecom: SimulatedWeCom, bot: Bot) -> None:
    """New nonce, timestamp and ciphertext even while the clock stands still; the bot answers once."""
    first = await wecom.send(Text("once"))
    await first.reply()
    again = await wecom.redeliver(first)
    assert (again.status, again.message_id, again.plaintext) == (200, first.message_id, first.plaintext)
    assert again.request.nonce != first.request.nonce
    assert again.request.timestamp > first.request.timestamp
    assert again.request.body != first.request.body
    assert [callback.message_id for callback in bot.seen] == [first.message_id] * 2
    assert wecom.recorded.posts[first.message_id] == 1


async def test_a_verbatim_redelivery_is_the_same_byte_for_byte(wecom: SimulatedWeCom, bot: Bot) -> None:
    """What somebody who captured it could send."""
    first = await wecom.send(Text("once"))
    again = await wecom.redeliver(first, verbatim=True)
    assert again.request == first.request
    assert again.status == 200


async def test_a_thousand_messages_at_once_each_get_their_own_reply(wecom: SimulatedWeCom, bot: Bot) -> None:
    """Sends share nothing but a limit on open connections."""

    async def exchange(number: int) -> bool:
        sent = await wecom.send(Text(f"number {number}"), user=f"user{number}")
        return (await sent.reply(60)).content == f"number {number}"

    async with asyncio.timeout(120):
        assert all(await asyncio.gather(*(exchange(number) for number in range(1_000))))
    assert len(wecom.recorded.acknowledged_ids) == 1_000
    assert wecom.recorded.offences == []


async def test_credentials_can_be_replaced_at_runtime(wecom: SimulatedWeCom, bot: Bot) -> None:
    """From then on only the new ones open what is sent."""
    token, key = new_token(), new_encoding_aes_key()
    wecom.use_credentials(token=token, encoding_aes_key=key)
    bot.credentials = Credentials(token, decode_key(key))
    assert (await (await wecom.send(Text("new"))).reply()).content == "new"


async def test_a_strangers_callback_may_be_refused(wecom: SimulatedWeCom, bot: Bot) -> None:
    """Sealed with other credentials, a 401 is what it should get."""
    stranger = Credentials(new_token(), decode_key(new_encoding_aes_key()))
    sent = await wecom.send(Text("x"), credentials=stranger)
    assert (sent.status, sent.acknowledged, sent.acknowledgement) == (401, False, None)
    assert wecom.recorded.offences == []


async def test_abuse_reaches_the_bot_as_it_is(wecom: SimulatedWeCom, bot: Bot) -> None:
    """Any plaintext in a good envelope, any HTTP, any bytes: refusing them is no offence."""
    sealed = await wecom.send_plaintext(b"not json")
    request = await wecom.request("PUT", body=b"x")
    raw = await wecom.send_bytes(b"nonsense\r\n\r\n")
    assert (sealed.status, request.status) == (400, 405)
    assert raw.startswith(b"HTTP/1.")
    assert wecom.recorded.offences == []


async def test_a_bot_that_is_not_there_is_status_0_and_no_offence(wecom: SimulatedWeCom) -> None:
    """A killed bot does nothing wrong; the caller sees it and may redeliver."""
    async with SimulatedWeCom(token="t", encoding_aes_key=new_encoding_aes_key()) as gone:
        wecom.callback_url = gone.base_url
    sent = await wecom.send(Text("x"))
    assert (sent.status, sent.acknowledged) == (0, False)
    assert wecom.recorded.offences == []


async def test_waiting_for_a_reply_that_does_not_come_ends(wecom: SimulatedWeCom, bot: Bot) -> None:
    """With the message id and nothing else in the text; a later reply is still there for the next who asks."""
    bot.replies = False
    sent = await wecom.send(Text("x"))
    with pytest.raises(TimeoutError, match=f"no reply to message {sent.message_id} was accepted"):
        await sent.reply(0.01)
    await bot.post(bot.seen[0].response_url, b'{"msgtype":"markdown","markdown":{"content":"late but in time"}}')
    assert (await sent.reply()).content == "late but in time"


async def test_listeners_hear_of_replies_and_offences(wecom: SimulatedWeCom, bot: Bot) -> None:
    """What a console prints from."""
    heard: list[object] = []
    wecom.recorded.listeners.append(heard.append)
    sent: SentCallback = await wecom.send(Text("x"))
    reply = await sent.reply()
    await bot.post(bot.seen[0].response_url, b'{"msgtype":"markdown","markdown":{"content":"again"}}')
    assert heard[0] == reply
    assert wecom.recorded.offences[0] in heard


async def test_nothing_secret_shows_in_a_repr(wecom: SimulatedWeCom, bot: Bot, clock: HandClock) -> None:
    """Token, key, user text, response codes and media URLs stay out of test output and tracebacks."""
    sent = await wecom.send(Mixed((Text("CANARY"), Image(draw_png(2, 2)))))
    reply = await sent.reply()
    shown = repr([sent, reply, sent.request, wecom.credentials, await wecom.check_url()])
    code = bot.seen[0].response_url.partition("response_code=")[2]
    for secret in ("CANARY", code, "sign=", wecom.credentials.token):
        assert secret not in shown
