"""What a turn is told of earlier ones, for each kind of memory."""

from __future__ import annotations

import msgspec
import pytest

from maven_channel_wecom.contract.messages import ImageBlock, TextBlock
from maven_channel_wecom.host.agents.agent import Answer, Turn
from maven_channel_wecom.host.conversations import MemoryKind, MemoryLimits
from maven_channel_wecom.host.memory import REPORT_SECONDS, SERVER_SESSION_SECONDS, Memory, Recollection
from maven_channel_wecom.host.memory_store import ProcessMemory
from tests.host.broken_store import REASON, BrokenStore
from tests.host.fake_channel import message

SESSION = "00000000-0000-5000-8000-000000004711"


class Clock:
    """Seconds that a test moves."""

    seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


class Chat:
    """One session and its memory."""

    def __init__(self, kind: MemoryKind) -> None:
        self.clock = Clock()
        self.store = ProcessMemory()
        self.memory = Memory(kind, MemoryLimits(), self.store, now=self.clock)
        self.asked = 0

    async def recall(self, message_id: str = "the next") -> Recollection:
        return await self.memory.recall(SESSION, message_id)

    async def say(self, text: str, answer: Answer, recollection: Recollection | None = None) -> None:
        self.asked += 1
        recollection = recollection or await self.recall()
        turn = Turn(message(text, message_id=str(self.asked)), SESSION, history=recollection.history)
        await self.memory.remember(SESSION, turn, answer, recollection)


async def test_messages_brings_the_earlier_exchanges_and_the_session() -> None:
    chat = Chat("messages")
    await chat.say("hello", Answer("hi", "resp_1"))
    session_id, history, previous_response_id, _ = await chat.recall()
    assert (session_id, previous_response_id) == (SESSION, "")
    assert [(exchange.question, exchange.answer) for exchange in history] == [((TextBlock(text="hello"),), "hi")]


async def test_a_blank_answer_is_no_exchange() -> None:
    chat = Chat("messages")
    await chat.say("hello", Answer(" \n", "resp_1"))
    assert (await chat.recall()).history == ()


async def test_reasoning_is_not_remembered() -> None:
    chat = Chat("messages")
    await chat.say("hello", Answer("<think>hm</think>hi"))
    await chat.say("and?", Answer("<think>hm</think>"))
    assert [exchange.answer for exchange in (await chat.recall()).history] == ["hi"]


async def test_previous_response_id_brings_the_last_one_and_nothing_that_was_said() -> None:
    chat = Chat("previous_response_id")
    await chat.say("hello", Answer("hi", "resp_1"))
    await chat.say("and", Answer("", "resp_2"))
    assert (await chat.recall())[:3] == (SESSION, (), "resp_2")
    assert (await chat.store.read(SESSION, chat.clock())).turns == ()
    assert (await chat.recall("2")).previous_response_id == "resp_1", "the second message is processed again"
    await chat.say("more", Answer("no id this time"))
    assert (await chat.recall()).previous_response_id == ""


async def test_server_brings_the_session_alone_and_stores_nothing() -> None:
    chat = Chat("server")
    await chat.say("hello", Answer("hi", "resp_1"))
    assert await chat.recall() == Recollection(SESSION)
    assert len(chat.store) == 0


@pytest.mark.parametrize("kind", ["messages", "previous_response_id"])
async def test_what_is_too_old_is_not_recalled(kind: MemoryKind) -> None:
    chat = Chat(kind)
    await chat.say("hello", Answer("hi", "resp_1"))
    chat.clock.seconds += 3_600
    assert await chat.recall() == Recollection(SESSION)


@pytest.mark.parametrize("kind", ["messages", "previous_response_id"])
async def test_after_starting_over_nothing_is_recalled_and_the_session_stays(kind: MemoryKind) -> None:
    chat = Chat(kind)
    await chat.say("hello", Answer("hi", "resp_1"))
    assert await chat.memory.start_over(SESSION)
    assert (await chat.recall())[:3] == (SESSION, (), "")


async def test_with_server_starting_over_gives_a_new_session_until_the_chat_is_silent_for_long() -> None:
    chat = Chat("server")
    await chat.memory.start_over(SESSION)
    first = (await chat.recall()).session_id
    for _ in range(40):
        chat.clock.seconds += SERVER_SESSION_SECONDS - 1
        assert (await chat.recall()).session_id == first != SESSION
        await chat.say("hello", Answer("hi"))
    await chat.memory.start_over(SESSION)
    assert (await chat.recall()).session_id not in {first, SESSION}
    chat.clock.seconds += SERVER_SESSION_SECONDS
    assert (await chat.recall()).session_id == SESSION


@pytest.mark.parametrize("kind", ["messages", "previous_response_id", "server"])
async def test_a_turn_that_outlasts_the_conversation_is_remembered(kind: MemoryKind) -> None:
    chat = Chat(kind)
    await chat.memory.start_over(SESSION)
    before = await chat.recall()
    chat.clock.seconds += SERVER_SESSION_SECONDS + 1
    await chat.say("hello", Answer("hi", "resp_1"), before)
    after = await chat.recall()
    remembered = {
        "messages": len(after.history) == 1,
        "previous_response_id": after.previous_response_id == "resp_1",
        "server": after.session_id == before.session_id != SESSION,
    }
    assert remembered[kind]


async def test_history_that_the_agent_did_not_get_is_forgotten() -> None:
    chat = Chat("messages")
    for text in ("one", "two", "three"):
        await chat.say(text, Answer(text))
    recollection = await chat.recall()
    turn = Turn(message("four", message_id="4"), SESSION, history=recollection.history[2:])
    await chat.memory.remember(SESSION, turn, Answer("four"), recollection)
    assert [exchange.answer for exchange in (await chat.recall()).history] == ["three", "four"]


async def test_a_turn_that_began_before_the_session_started_over_is_not_remembered() -> None:
    """With `parallelTurns`, turns run while the session starts over."""
    chat = Chat("messages")
    before = await chat.recall()
    await chat.memory.start_over(SESSION)
    await chat.say("hello", Answer("hi"), before)
    assert (await chat.recall()).history == ()


async def test_an_agent_that_refused_a_picture_does_not_get_it_again() -> None:
    chat = Chat("messages")
    picture = ImageBlock(media_type="image/png", data="aGk=")
    turn = Turn(msgspec.structs.replace(message(), content_blocks=(picture,)), SESSION)
    await chat.memory.remember(SESSION, turn, Answer("no eyes", refused_attachments="message"), await chat.recall())
    assert picture not in (await chat.recall()).history[0].question


async def test_a_store_that_fails_is_logged_once_a_minute_without_what_was_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    memory = Memory("messages", MemoryLimits(), BrokenStore(), now=clock)
    recollection = await memory.recall(SESSION, "m1")
    assert recollection == Recollection(SESSION)
    await memory.remember(SESSION, Turn(message("canary-4711"), SESSION), Answer("canary-4711"), recollection)
    assert not await memory.start_over(SESSION)
    assert [record.message for record in caplog.records] == ["agent memory unavailable"]
    clock.seconds += REPORT_SECONDS
    assert not await memory.start_over(SESSION)
    assert [record.message for record in caplog.records] == ["agent memory unavailable"] * 2
    assert all(vars(record)["fields"] == {"error": REASON} for record in caplog.records)
