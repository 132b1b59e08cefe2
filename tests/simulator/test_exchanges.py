"""Observers see every request between WeCom and the bot, and its answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.simulator.exchanges import CallbackExchange, HttpExchange, ReplyExchange
from maven_channel_wecom.simulator.faults import Errcode, ResetAfterReading, ResetBeforeReading
from maven_channel_wecom.simulator.messages import Text
from maven_channel_wecom.simulator.refresh_faults import CutRefresh, LostAnswer
from tests.simulator.bots import growing

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.faults import Fault
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.bots import Bot


Seen = asyncio.Queue[HttpExchange]


@pytest.fixture
def seen(wecom: SimulatedWeCom) -> Seen:
    queue: Seen = asyncio.Queue()
    wecom.recorded.observers.append(queue.put_nowait)
    return queue


async def test_a_callback_is_seen_sealed_and_opened_with_its_answer(
    wecom: SimulatedWeCom, bot: Bot, seen: Seen
) -> None:
    bot.replies = False
    sent = await wecom.send(Text("canary"))
    exchange = seen.get_nowait()
    assert isinstance(exchange, CallbackExchange)
    assert (exchange.kind, exchange.message_id, exchange.plaintext) == ("message", sent.message_id, sent.plaintext)
    assert (exchange.request, exchange.opened, exchange.answer.status) == (sent.request, b'"success"', 200)
    assert b"encrypt" in exchange.answer.body
    assert not exchange.lost
    assert "canary" not in repr(exchange)


async def test_refreshes_are_seen_and_those_that_were_lost_marked(wecom: SimulatedWeCom, bot: Bot, seen: Seen) -> None:
    bot.frames, bot.replies = growing("one", "two", "three"), False
    wecom.refresh_faults.add(LostAnswer(), CutRefresh())
    sent = await wecom.send(Text("hi"))
    await sent.bubble_finished()
    exchanges = [await seen.get() for _ in range(4)]
    assert {exchange.message_id for exchange in exchanges} == {sent.message_id}
    found = [(each.kind, each.lost, each.answer.status) for each in exchanges if isinstance(each, CallbackExchange)]
    assert found == [("message", False, 200), ("refresh", True, 200), ("refresh", True, 0), ("refresh", False, 200)]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (None, (200, True, b'{"errcode": 0, "errmsg": "ok"}', "")),
        (Errcode(-1), (200, True, b'{"errcode": -1, "errmsg": "scripted"}', "Errcode")),
        (ResetAfterReading(), (0, True, b"", "ResetAfterReading")),
        (ResetBeforeReading(), (0, False, b"", "ResetBeforeReading")),
    ],
)
async def test_a_reply_is_seen_with_what_wecom_really_answered(
    wecom: SimulatedWeCom, bot: Bot, seen: Seen, fault: Fault | None, expected: tuple[int, bool, bytes, str]
) -> None:
    wecom.reply_faults.add(fault)
    await wecom.send(Text("canary"))
    exchanges = [await seen.get(), await seen.get()]
    (reply,) = [exchange for exchange in exchanges if isinstance(exchange, ReplyExchange)]
    assert (reply.status, b"canary" in reply.body, reply.answer, reply.fault) == expected
    assert "canary" not in repr(reply)
