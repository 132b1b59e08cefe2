"""The bus: from a published message to the answer that is sent."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.contract.messages import (
    ContentBlock,
    FileBlock,
    ImageBlock,
    OutboundMessage,
    OutboundProgress,
    Receipt,
    TextBlock,
)
from maven_channel_wecom.host.agents.agent import AgentError, Answer, Exchange, Failure, Turn
from maven_channel_wecom.host.agents.agent_failures import CONTEXT_LENGTH, for_status
from maven_channel_wecom.host.agents.attachments import attachment_kind
from maven_channel_wecom.host.agents.echo import EchoAgent
from maven_channel_wecom.host.bus import Bus
from maven_channel_wecom.host.conversations import MemoryLimits
from maven_channel_wecom.host.memory import Memory
from maven_channel_wecom.host.memory_store import ProcessMemory
from maven_channel_wecom.host.sessions import session_id
from maven_channel_wecom.sentences import (
    CONVERSATION_NEW,
    EARLIER_FILE_LEFT_OUT,
    EARLIER_PICTURE_LEFT_OUT,
    FAULT,
    FILE_LEFT_OUT,
    PICTURE_LEFT_OUT,
    Sentence,
)
from tests.host.broken_store import BrokenStore
from tests.host.fake_channel import FakeChannel, FakePlugin, manager_with, message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maven_channel_wecom.host.agents.agent import Agent, RefusedAttachments
    from maven_channel_wecom.host.conversations import MemoryKind

CANARY = "canary-4711"
TURNS = ("answered", "failed")
PICTURE = ImageBlock(media_type="image/png", data="aGk=")
FILE = FileBlock(media_type="application/pdf", name="a.pdf", data="aGk=")
BUSY = Failure("http_429", Sentence("智能体正忙。", "The agent is busy."))


class ScriptedAgent:
    """Returns or raises what it was given, once the gate, if any, is open."""

    def __init__(self, answer: str | Exception, gate: asyncio.Event | None = None) -> None:
        self.script = answer
        self.gate = gate
        self.asked: list[str] = []
        self.turns = asyncio.Semaphore(0)

    async def answer(self, turn: Turn) -> Answer:
        self.asked.append(turn.message.message_id)
        self.turns.release()
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.script, Exception):
            raise self.script
        return Answer(self.script)

    async def close(self) -> None:
        pass


class GrowingAgent:
    """Shows half of its answer, and gives all of it once the gate, if any, is open."""

    def __init__(self, gate: asyncio.Event | None = None) -> None:
        self.gate = gate

    async def answer(self, turn: Turn) -> Answer:
        turn.show(lambda: "half")
        if self.gate is not None:
            await self.gate.wait()
        return Answer("half and half")

    async def close(self) -> None:
        pass


async def one_loop_iteration(seconds: float) -> None:
    await asyncio.sleep(0)


def bus_with(
    agent: Agent,
    plugin: object,
    *,
    memory: Memory | None = None,
    speaker_ids: bool = False,
    parallel_turns: bool = False,
    turns: int = 64,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Bus:
    bus = Bus(
        hook=manager_with(plugin).hook,
        metrics=CollectorRegistry(),
        agent=agent,
        memory=memory,
        speaker_ids=speaker_ids,
        parallel_turns=parallel_turns,
        turns=turns,
        sleep=sleep,
    )
    channel = FakeChannel("fake", bus)
    if isinstance(plugin, FakePlugin):
        plugin.started["fake"] = channel
    bus.attach("fake", channel)
    return bus


async def test_an_answer_replies_to_its_message() -> None:
    plugin = FakePlugin()
    await bus_with(EchoAgent(), plugin).publish(message("hello", message_id="m7"))
    assert plugin.sent == [OutboundMessage(channel="fake", chat_id="chat", content="hello", reply_to="m7")]


@pytest.mark.parametrize(
    ("error", "sentence", "reason"),
    [
        (AgentError(BUSY), BUSY.sentence.en, "http_429"),
        (AgentError(BUSY, partial="half"), f"half\n\n(The answer breaks off here. {BUSY.sentence.en})", "http_429"),
        (ValueError(CANARY), FAULT.en, "fault"),
    ],
    ids=["failure", "half an answer", "bug"],
)
async def test_a_failing_agent_is_reported_to_the_user_and_logged_without_any_text(
    caplog: pytest.LogCaptureFixture, error: Exception, sentence: str, reason: str
) -> None:
    plugin = FakePlugin()
    await bus_with(ScriptedAgent(error), plugin).publish(message(CANARY))
    assert [sent.content for sent in plugin.sent] == [sentence]
    (record,) = [record for record in caplog.records if record.message == "agent failed"]
    fields = vars(record)["fields"]
    assert fields == {"channel": "fake", "message_id": "m1", "reason": reason}
    assert (record.exc_info is not None) is (reason == "fault")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (AgentError(BUSY), "智能体正忙。"),
        (AgentError(BUSY, partial="half"), "half\n\n（回答到此中断。智能体正忙。）"),
        (ValueError(), FAULT.zh),
    ],
    ids=["failure", "half an answer", "bug"],
)
async def test_a_failure_is_told_in_the_language_of_the_message_which_the_answer_names(
    error: Exception, sentence: str
) -> None:
    plugin = FakePlugin()
    incoming = msgspec.structs.replace(message(), transport_meta={"language": "zh"})
    await bus_with(ScriptedAgent(error), plugin).publish(incoming)
    assert [(sent.content, sent.metadata) for sent in plugin.sent] == [(sentence, {"language": "zh"})]


async def test_a_blank_answer_is_sent_and_logged_as_not_delivered(caplog: pytest.LogCaptureFixture) -> None:
    plugin = FakePlugin()
    plugin.receipt = Receipt(outcome="undeliverable", reason="empty")
    await bus_with(ScriptedAgent(" \n"), plugin).publish(message())
    assert [sent.content for sent in plugin.sent] == [" \n"]
    assert [record.message for record in caplog.records] == ["answer not delivered"]


async def test_an_undelivered_answer_is_logged_as_a_warning_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    plugin = FakePlugin()
    plugin.receipt = Receipt(outcome="undeliverable", reason="no_reply_window")
    await bus_with(EchoAgent(), plugin).publish(message(CANARY))
    (record,) = caplog.records
    assert (record.levelno, record.message) == (logging.WARNING, "answer not delivered")
    assert vars(record)["fields"] == {
        "channel": "fake",
        "outcome": "undeliverable",
        "reason": "no_reply_window",
        "attempts": 0,
    }
    assert CANARY not in str(vars(record))


async def test_turns_are_concurrent_up_to_a_limit_and_start_in_order() -> None:
    gate = asyncio.Event()
    agent = ScriptedAgent("ok", gate)
    plugin = FakePlugin()
    bus = bus_with(agent, plugin, turns=2)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(bus.publish(message(message_id=str(number), chat_id=str(number))))
        await agent.turns.acquire()
        await agent.turns.acquire()
        # All three tasks have started by now, and the third waits for a turn.
        assert agent.asked == ["0", "1"]
        gate.set()
    assert agent.asked == ["0", "1", "2"]
    assert len(plugin.sent) == 3


async def test_a_turn_ends_when_the_answer_is_there_and_not_when_it_is_sent() -> None:
    agent = ScriptedAgent("ok")
    plugin = FakePlugin()
    plugin.send_gate = asyncio.Event()
    bus = bus_with(agent, plugin, turns=1)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(bus.publish(message(message_id="m1")))
        await plugin.sent_any.wait()
        group.create_task(bus.publish(message(message_id="m2")))
        await agent.turns.acquire()
        await agent.turns.acquire()
        assert agent.asked == ["m1", "m2"]
        plugin.send_gate.set()


async def test_the_text_so_far_reaches_the_channel_before_the_answer() -> None:
    plugin = FakePlugin(progress=True)
    bus = bus_with(GrowingAgent(plugin.shown_any), plugin, sleep=one_loop_iteration)
    async with asyncio.timeout(10):
        await bus.publish(message(message_id="m7"))
    assert plugin.shown == [OutboundProgress(channel="fake", chat_id="chat", reply_to="m7", content="half")]
    assert [sent.content for sent in plugin.sent] == ["half and half"]


async def test_a_job_shows_no_progress() -> None:
    plugin = FakePlugin(progress=True)
    bus = bus_with(GrowingAgent(), plugin, sleep=one_loop_iteration)
    assert await bus.ask(message()) == "half and half"
    assert plugin.capabilities_asked == 0


async def test_the_turns_of_a_session_run_one_after_another_and_take_one_place() -> None:
    gate = asyncio.Event()
    agent = ScriptedAgent("ok", gate)
    bus = bus_with(agent, FakePlugin(), turns=2)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(bus.publish(message(message_id=f"busy {number}", chat_id="busy")))
        group.create_task(bus.publish(message(message_id="quiet", chat_id="quiet")))
        await agent.turns.acquire()
        await agent.turns.acquire()
        assert agent.asked == ["busy 0", "quiet"]
        gate.set()
    assert agent.asked == ["busy 0", "quiet", *(f"busy {number}" for number in range(1, 6))]


async def test_parallel_turns_of_a_busy_chat_leave_places_for_another() -> None:
    gate = asyncio.Event()
    agent = ScriptedAgent("ok", gate)
    bus = bus_with(agent, FakePlugin(), turns=4, parallel_turns=True)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(bus.publish(message(message_id=f"busy {number}", chat_id="busy")))
        for _ in range(3):
            await agent.turns.acquire()
        group.create_task(bus.publish(message(message_id="quiet", chat_id="quiet")))
        await agent.turns.acquire()
        assert agent.asked == ["busy 0", "busy 1", "busy 2", "quiet"]
        gate.set()
    assert len(agent.asked) == 7


@pytest.mark.parametrize("error", [AgentError(BUSY), ValueError()], ids=["failure", "bug"])
async def test_the_next_turn_of_a_session_follows_one_that_failed(error: Exception) -> None:
    agent = ScriptedAgent(error)
    bus = bus_with(agent, FakePlugin())
    async with asyncio.timeout(10):
        await asyncio.gather(*(bus.publish(message(message_id=str(number))) for number in range(3)))
    assert agent.asked == ["0", "1", "2"]


async def test_the_next_turn_of_a_session_follows_one_that_was_cancelled() -> None:
    gate = asyncio.Event()
    agent = ScriptedAgent("ok", gate)
    bus = bus_with(agent, FakePlugin())
    tasks = [asyncio.create_task(bus.publish(message(message_id=str(number)))) for number in range(3)]
    await agent.turns.acquire()
    tasks[0].cancel()
    await agent.turns.acquire()
    gate.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks[1:])
    assert agent.asked == ["0", "1", "2"]


class LockingAgent:
    """Refuses a turn of a session while another one runs, as agents do that lock a session."""

    def __init__(self) -> None:
        self.answered: dict[str, list[str]] = {}
        self._running: set[str] = set()

    async def answer(self, turn: Turn) -> Answer:
        if turn.session_id in self._running:
            raise AgentError(Failure("http_409", FAULT))
        self._running.add(turn.session_id)
        await asyncio.sleep(0)
        self._running.discard(turn.session_id)
        self.answered.setdefault(turn.session_id, []).append(turn.message.content)
        return Answer(turn.message.content)

    async def close(self) -> None:
        pass


async def test_two_quick_messages_of_each_of_200_chats_are_answered_in_order_by_an_agent_that_locks_sessions() -> None:
    agent = LockingAgent()
    plugin = FakePlugin()
    bus = bus_with(agent, plugin)
    pairs = [(word, f"chat {number}") for number in range(200) for word in ("first", "second")]
    async with asyncio.timeout(30):
        await asyncio.gather(
            *(bus.publish(message(word, chat_id=chat, message_id=f"{chat} {word}")) for word, chat in pairs)
        )
    assert list(agent.answered.values()) == [["first", "second"]] * 200
    assert sorted((sent.content, sent.chat_id) for sent in plugin.sent) == sorted(pairs)


class RememberingAgent:
    """Records each turn, and answers with the number of the turn."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []

    async def answer(self, turn: Turn) -> Answer:
        self.turns.append(turn)
        return Answer(f"answer {len(self.turns)}", response_id=f"resp_{len(self.turns)}")

    async def close(self) -> None:
        pass


def memory_of(kind: MemoryKind) -> Memory:
    return Memory(kind, MemoryLimits(), ProcessMemory())


async def test_a_turn_brings_the_earlier_exchanges_of_its_session_alone() -> None:
    agent = RememberingAgent()
    bus = bus_with(agent, FakePlugin(), memory=memory_of("messages"))
    await bus.publish(message("my name is Ada", message_id="m1"))
    await bus.publish(message("and mine?", message_id="m2", chat_id="other"))
    await bus.publish(message("what is my name?", message_id="m3"))
    assert [len(turn.history) for turn in agent.turns] == [0, 0, 1]
    (earlier,) = agent.turns[2].history
    assert earlier == Exchange(question=(TextBlock(text="my name is Ada"),), answer="answer 1")
    assert len({turn.session_id for turn in agent.turns}) == 2


@pytest.mark.parametrize(("partial", "remembered"), [("", []), ("half", ["half"])])
async def test_of_a_failed_turn_only_what_was_shown_of_the_answer_is_remembered(
    partial: str, remembered: list[str]
) -> None:
    agent = ScriptedAgent(AgentError(BUSY, partial=partial))
    memory = memory_of("messages")
    incoming = message()
    await bus_with(agent, FakePlugin(), memory=memory).publish(incoming)
    recollection = await memory.recall(session_id(incoming), "next")
    assert [exchange.answer for exchange in recollection.history] == remembered


async def test_after_a_part_of_an_answer_the_agent_continues_from_the_response_before_it() -> None:
    memory = memory_of("previous_response_id")
    await bus_with(RememberingAgent(), FakePlugin(), memory=memory).publish(message(message_id="m1"))
    broken = ScriptedAgent(AgentError(BUSY, partial="half"))
    await bus_with(broken, FakePlugin(), memory=memory).publish(message(message_id="m2"))
    for message_id in ("m2", "m3"):
        recollection = await memory.recall(session_id(message()), message_id)
        assert recollection.previous_response_id == "resp_1"


class NarrowAgent(RememberingAgent):
    """Refuses turns with more than some number of earlier exchanges."""

    def __init__(self, limit: int, failure: Failure = CONTEXT_LENGTH, partial: str = "") -> None:
        super().__init__()
        self.limit = limit
        self.failure = failure
        self.partial = partial
        self.histories: list[int] = []

    async def answer(self, turn: Turn) -> Answer:
        self.histories.append(len(turn.history))
        if len(turn.history) > self.limit:
            raise AgentError(self.failure, partial=self.partial)
        return await super().answer(turn)


async def say(bus: Bus, *numbers: int) -> None:
    for number in numbers:
        await bus.publish(message(str(number), message_id=str(number)))


@pytest.mark.parametrize(
    ("limit", "asked", "next_asked"), [(7, [7], [8, 4]), (4, [7, 3], [4]), (2, [7, 3, 0], [1]), (0, [7, 3, 0], [1, 0])]
)
@pytest.mark.parametrize("failure", [CONTEXT_LENGTH, for_status(400), for_status(413)], ids=lambda each: each.reason)
async def test_an_agent_that_refuses_the_history_is_asked_with_the_newer_half_and_then_without_any(
    limit: int, asked: list[int], next_asked: list[int], failure: Failure, caplog: pytest.LogCaptureFixture
) -> None:
    """What it did not accept is forgotten, so that the next message is not refused for it again."""
    plugin = FakePlugin()
    agent = NarrowAgent(100, failure)
    bus = bus_with(agent, plugin, memory=memory_of("messages"))
    await say(bus, *range(7))
    agent.histories.clear()
    agent.limit = limit
    await say(bus, 7)
    assert agent.histories == asked
    newest = [exchange.answer for exchange in agent.turns[-1].history]
    assert newest == [f"answer {number}" for number in range(8 - len(newest), 8)]
    agent.histories.clear()
    await say(bus, 8)
    assert agent.histories == next_asked
    assert [sent.content for sent in plugin.sent[7:]] == ["answer 8", "answer 9"]
    refused = [vars(each)["fields"]["reason"] for each in caplog.records if each.message == "agent refused history"]
    assert refused == [failure.reason] * (len(asked) + len(next_asked) - 2)


async def test_a_message_that_is_itself_too_long_costs_no_memory_and_the_person_is_told_of_new() -> None:
    plugin = FakePlugin()
    agent = NarrowAgent(100)
    bus = bus_with(agent, plugin, memory=memory_of("messages"))
    await say(bus, 0, 1)
    agent.limit = -1
    await say(bus, 2)
    agent.limit = 100
    await say(bus, 3)
    assert agent.histories == [0, 1, 2, 1, 0, 2]
    assert "/new" in plugin.sent[2].content


@pytest.mark.parametrize(("failure", "partial"), [(BUSY, ""), (CONTEXT_LENGTH, "half")])
async def test_other_failures_and_answers_that_began_are_not_asked_again(failure: Failure, partial: str) -> None:
    agent = NarrowAgent(1, failure, partial)
    await say(bus_with(agent, FakePlugin(), memory=memory_of("messages")), 0, 1, 2)
    assert agent.histories == [0, 1, 2]


@pytest.mark.parametrize("text", ["/new", " /NEW\n", "/新话题"])
async def test_new_starts_over_after_the_turns_before_it(text: str) -> None:
    agent = RememberingAgent()
    plugin = FakePlugin()
    bus = bus_with(agent, plugin, memory=memory_of("messages"))
    async with asyncio.timeout(10):
        await asyncio.gather(
            bus.publish(message("one", message_id="m1")),
            bus.publish(message(text, message_id="m2")),
            bus.publish(message("two", message_id="m3")),
        )
    assert [(turn.message.content, turn.history) for turn in agent.turns] == [("one", ()), ("two", ())]
    assert [sent.content for sent in plugin.sent if sent.reply_to == "m2"] == [CONVERSATION_NEW.en]


async def test_a_broken_memory_costs_no_answer_and_new_is_not_confirmed(caplog: pytest.LogCaptureFixture) -> None:
    plugin = FakePlugin()
    bus = bus_with(EchoAgent(), plugin, memory=Memory("messages", MemoryLimits(), BrokenStore()))
    await bus.publish(message("hello"))
    await bus.publish(message("/new"))
    assert [sent.content for sent in plugin.sent] == ["hello", FAULT.en]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert {record.message for record in warnings} == {"agent memory unavailable"}


async def test_the_agent_is_told_who_speaks_in_a_group_and_in_the_history() -> None:
    agent = RememberingAgent()
    bus = bus_with(agent, FakePlugin(), memory=memory_of("messages"), speaker_ids=True)
    for sender in ("ada", "bob"):
        incoming = msgspec.structs.replace(
            message(message_id=sender), sender_id=sender, transport_meta={"chat_type": "group"}
        )
        await bus.publish(incoming)
    assert [turn.speaker for turn in agent.turns] == ["ada", "bob"]
    assert [exchange.speaker for exchange in agent.turns[1].history] == ["ada"]


async def test_jobs_have_a_session_and_no_memory() -> None:
    agent = RememberingAgent()
    bus = bus_with(agent, FakePlugin(), memory=memory_of("messages"))
    for number in range(2):
        await bus.ask(message(channel="cron", message_id=str(number)))
    assert [(turn.history, turn.session_id) for turn in agent.turns] == [((), agent.turns[0].session_id)] * 2


async def test_chats_that_wait_get_turns_one_after_another() -> None:
    gate = asyncio.Event()
    agent = ScriptedAgent("ok", gate)
    bus = bus_with(agent, FakePlugin(), turns=1)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for chat in ("a", "a", "a", "b", "b", "c"):
            group.create_task(bus.publish(message(message_id=chat, chat_id=chat)))
        await agent.turns.acquire()
        gate.set()
    assert agent.asked == ["a", "a", "b", "c", "a", "b"]


async def test_a_cancelled_wait_for_a_turn_takes_none() -> None:
    gate = asyncio.Event()
    agent = ScriptedAgent("ok", gate)
    bus = bus_with(agent, FakePlugin(), turns=1)
    tasks = [asyncio.create_task(bus.ask(message(message_id=str(number)))) for number in range(3)]
    await agent.turns.acquire()
    tasks[1].cancel()
    # Cancelled in the loop iteration in which it could get its turn.
    gate.set()
    assert await tasks[0] == "ok"
    assert await tasks[2] == "ok"
    assert agent.asked == ["0", "2"]


async def test_a_message_of_an_unknown_channel_raises_an_error() -> None:
    with pytest.raises(LookupError):
        await bus_with(EchoAgent(), FakePlugin()).publish(message(channel="other"))


async def test_publishing_for_a_channel_without_a_sending_plugin_raises_an_error() -> None:
    class NoSender:
        @hookimpl
        def maven_outbound_send(self) -> None:
            return None

    with pytest.raises(LookupError, match="no plugin sends for channel fake"):
        await bus_with(EchoAgent(), NoSender()).publish(message())


async def test_a_hook_wrapper_sees_every_answer() -> None:
    plugin = FakePlugin()
    manager = manager_with(plugin)

    class Audit:
        seen: list[str] = []  # noqa: RUF012 -- one instance, for one test

        @hookimpl(wrapper=True)
        def maven_outbound_send(self, message: OutboundMessage) -> object:
            self.seen.append(message.content)
            return (yield)

    audit = Audit()
    manager.register(audit)
    bus = Bus(hook=manager.hook, metrics=CollectorRegistry(), agent=EchoAgent())
    plugin.started["fake"] = FakeChannel("fake", bus)
    bus.attach("fake", plugin.started["fake"])
    await bus.publish(message("hello"))
    assert audit.seen == ["hello"]
    assert len(plugin.sent) == 1


@pytest.mark.parametrize(
    ("agent", "outcome"),
    [
        pytest.param(EchoAgent(), "answered", id="answer"),
        pytest.param(ScriptedAgent(AgentError(BUSY)), "failed", id="failure"),
        pytest.param(ScriptedAgent(RuntimeError()), "failed", id="fault"),
    ],
)
async def test_agent_turns_are_counted_by_outcome(agent: Agent, outcome: str) -> None:
    """This counter alone shows that an agent fails: the user's apology counts as a delivered answer."""
    bus = bus_with(agent, FakePlugin())
    counts = {name: bus.metrics.get_sample_value("maven_agent_turns_total", {"outcome": name}) for name in TURNS}
    assert counts == dict.fromkeys(TURNS, 0)
    await bus.publish(message("hello"))
    counts = {name: bus.metrics.get_sample_value("maven_agent_turns_total", {"outcome": name}) for name in TURNS}
    assert counts == {**dict.fromkeys(TURNS, 0), outcome: 1}


class BlindAgent(ScriptedAgent):
    """Answers only after pictures and files have been left out."""

    async def answer(self, turn: Turn) -> Answer:
        refused: RefusedAttachments = "message" if attachment_kind(turn.message.content_blocks) else "history"
        return (await super().answer(turn))._replace(refused_attachments=refused)


@pytest.mark.parametrize(
    ("answer", "block", "language", "note"),
    [
        ("It is late.", PICTURE, "en", PICTURE_LEFT_OUT.en),
        ("It is late.", PICTURE, "zh", PICTURE_LEFT_OUT.zh),
        ("It is late.", FILE, "en", FILE_LEFT_OUT.en),
        (" ", PICTURE, "en", ""),
    ],
)
async def test_the_user_is_told_that_an_answer_is_without_the_picture_or_file(
    answer: str, block: ContentBlock, language: str, note: str
) -> None:
    """The note is not remembered as a part of the answer."""
    plugin = FakePlugin()
    memory = memory_of("messages")
    asked = msgspec.structs.replace(message(), content_blocks=(block,), transport_meta={"language": language})
    bus = bus_with(BlindAgent(answer), plugin, memory=memory)
    await bus.publish(asked)
    assert [sent.content for sent in plugin.sent] == [answer + note]
    recollection = await memory.recall(session_id(asked), "m2")
    assert all(exchange.answer == answer for exchange in recollection.history)


@pytest.mark.parametrize(("block", "note"), [(PICTURE, EARLIER_PICTURE_LEFT_OUT.en), (FILE, EARLIER_FILE_LEFT_OUT.en)])
async def test_the_user_is_told_that_an_answer_is_without_what_was_sent_earlier(block: ContentBlock, note: str) -> None:
    plugin = FakePlugin()
    memory = memory_of("messages")
    session = session_id(message())
    earlier = Turn(msgspec.structs.replace(message(), content_blocks=(block,)), session)
    await memory.remember(session, earlier, Answer("a cat"), await memory.recall(session, "m0"))
    await bus_with(BlindAgent("It is late."), plugin, memory=memory).publish(message("what is it?", message_id="m2"))
    assert [sent.content for sent in plugin.sent] == ["It is late." + note]
