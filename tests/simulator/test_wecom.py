"""The simulator with a correct bot: every function, and no offence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maven_channel_wecom.protocol.callback import MediaItem, TextItem
from maven_channel_wecom.protocol.cipher import decode_key
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator.messages import (
    Image,
    Mixed,
    Text,
)
from maven_channel_wecom.simulator.picture import draw_png
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.sent import SentCallback
    from tests.simulator.bots import Bot
    from tests.simulator.conftest import ManualClock


async def test_a_correct_bot_passes_the_url_check(wecom: SimulatedWeCom, bot: Bot) -> None:
    """Repeated, because not every ciphertext contains a plus sign."""
    checks = [await wecom.check_url() for _ in range(20)]
    assert all(check.passed for check in checks)
    assert wecom.recorded.offences == []


async def test_a_text_is_acknowledged_and_answered(wecom: SimulatedWeCom, bot: Bot) -> None:
    sent = await wecom.send(Text("你好"))
    reply = await sent.reply()
    assert (sent.status, sent.acknowledgement, sent.acknowledged) == (200, b'"success"', True)
    assert (reply.content, reply.accepted, reply.message_id) == ("你好", True, sent.message_id)
    assert wecom.recorded.acknowledged_ids == {sent.message_id}
    assert wecom.recorded.acknowledgements["success"] == 1
    assert wecom.recorded.replies == wecom.recorded.replies_to(sent.message_id) == [reply]
    assert wecom.recorded.offences == []


async def test_a_quote_in_a_group_reaches_the_bot(wecom: SimulatedWeCom, bot: Bot) -> None:
    await (await wecom.send(Text("@Maven what is this"), group="wr1", quote=Image(draw_png(2, 2)))).reply()
    callback = bot.received[0]
    assert (callback.chat_id, callback.items) == ("wr1", (TextItem("@Maven what is this"),))
    assert [item.kind for item in callback.quoted_items if isinstance(item, MediaItem)] == ["image"]


async def test_a_redelivery_has_the_same_message_in_a_new_envelope(wecom: SimulatedWeCom, bot: Bot) -> None:
    """The timestamp is new even though the clock of the test stands still."""
    first = await wecom.send(Text("once"))
    await first.reply()
    again = await wecom.redeliver(first)
    assert (again.status, again.message_id, again.plaintext) == (200, first.message_id, first.plaintext)
    assert again.request.nonce != first.request.nonce
    assert again.request.timestamp > first.request.timestamp
    assert again.request.body != first.request.body
    assert [callback.message_id for callback in bot.received] == [first.message_id] * 2
    assert wecom.recorded.posts[first.message_id] == 1


async def test_a_verbatim_redelivery_is_the_same_byte_for_byte(wecom: SimulatedWeCom, bot: Bot) -> None:
    """An attacker who captured a callback could send this."""
    first = await wecom.send(Text("once"))
    again = await wecom.redeliver(first, verbatim=True)
    assert again.request == first.request
    assert again.status == 200


async def test_a_thousand_messages_at_once_each_get_their_own_reply(wecom: SimulatedWeCom, bot: Bot) -> None:

    async def exchange(number: int) -> bool:
        sent = await wecom.send(Text(f"number {number}"), user=f"user{number}")
        return (await sent.reply(60)).content == f"number {number}"

    async with asyncio.timeout(120):
        assert all(await asyncio.gather(*(exchange(number) for number in range(1_000))))
    assert len(wecom.recorded.acknowledged_ids) == 1_000
    assert wecom.recorded.offences == []


async def test_credentials_can_be_replaced_at_runtime(wecom: SimulatedWeCom, bot: Bot) -> None:
    token, key = new_token(), new_encoding_aes_key()
    wecom.use_credentials(token=token, encoding_aes_key=key)
    bot.credentials = Credentials(token, decode_key(key))
    assert (await (await wecom.send(Text("new"))).reply()).content == "new"


async def test_refusing_a_callback_with_other_credentials_is_no_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    other = Credentials(new_token(), decode_key(new_encoding_aes_key()))
    sent = await wecom.send(Text("x"), credentials=other)
    assert (sent.status, sent.acknowledged, sent.acknowledgement) == (401, False, None)
    assert wecom.recorded.offences == []


async def test_malformed_requests_reach_the_bot_unchanged_and_refusing_them_is_no_offence(
    wecom: SimulatedWeCom, bot: Bot
) -> None:
    sealed = await wecom.send_plaintext(b"not json")
    request = await wecom.request("PUT", body=b"x")
    raw = await wecom.send_bytes(b"nonsense\r\n\r\n")
    assert (sealed.status, request.status) == (400, 405)
    assert raw.startswith(b"HTTP/1.")
    assert wecom.recorded.offences == []


async def test_an_unreachable_bot_is_status_0_and_no_offence(wecom: SimulatedWeCom) -> None:
    async with SimulatedWeCom(token="t", encoding_aes_key=new_encoding_aes_key()) as stopped:
        wecom.callback_url = stopped.base_url
    sent = await wecom.send(Text("x"))
    assert (sent.status, sent.acknowledged) == (0, False)
    assert wecom.recorded.offences == []


async def test_listeners_receive_replies_and_offences(wecom: SimulatedWeCom, bot: Bot) -> None:
    notified: list[object] = []
    wecom.recorded.listeners.append(notified.append)
    sent: SentCallback = await wecom.send(Text("x"))
    reply = await sent.reply()
    await bot.post(bot.received[0].response_url, b'{"msgtype":"markdown","markdown":{"content":"again"}}')
    assert notified[0] == reply
    assert wecom.recorded.offences[0] in notified


async def test_a_repr_contains_neither_secrets_nor_user_text(
    wecom: SimulatedWeCom, bot: Bot, clock: ManualClock
) -> None:
    sent = await wecom.send(Mixed((Text("CANARY"), Image(draw_png(2, 2)))))
    reply = await sent.reply()
    text = repr([sent, reply, sent.request, wecom.credentials, await wecom.check_url()])
    code = bot.received[0].response_url.partition("response_code=")[2]
    for secret in ("CANARY", code, "sign=", wecom.credentials.token):
        assert secret not in text
