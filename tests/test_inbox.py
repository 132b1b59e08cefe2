"""Tests for the inbox: order, limits, failures, draining and recovery of messages in progress."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, ClassVar

import pytest

from maven_channel_wecom.contract.messages import InboundMessage
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.inbox import FIRST_RETRY_SECONDS, LATE_SECONDS, LONGEST_RETRY_SECONDS, AdmittedCallback, Inbox
from maven_channel_wecom.media import MediaBudget
from maven_channel_wecom.policy.media_blocks import BLOCK_BYTES
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.protocol.callback import Callback
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.store import Admission, StoredCallback
from maven_channel_wecom.streams import Streams
from maven_channel_wecom.telemetry import events
from tests.fakes.clock import FakeClock
from tests.fakes.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maven_channel_wecom.media import MediaUse

WAIT_SECONDS = 5


def callback(message_id: str, chat_id: str = "chat", *, is_group: bool = True, type_: str = "text") -> Callback:
    return Callback(message_id=message_id, type=type_, is_group=is_group, chat_id=chat_id, sender_id="a")


class EndedStreams(Streams):
    """The streams of no message, which record what they are told of."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.released: list[str] = []

    def end(self, message_id: str) -> None:
        self.ended.append(message_id)

    def release(self, message_id: str) -> None:
        self.released.append(message_id)


class InboxHarness:
    """An inbox with a host whose speed and failures a test controls.

    The mappings and `empty` are keyed by message id: `media_gates` and `turn_gates` are set to let normalization or the
    agent's turn end, `normalize_failures` and `media_loaders` run during normalization, `publish_failures` is the
    number of times that the host fails, and `empty` messages normalize to None.
    """

    def __init__(self, *, limit: int = 10, state: MemoryStateStore | None = None) -> None:
        self.clock = FakeClock()
        self.recorder = Recorder()
        self.state = state or MemoryStateStore()
        self.published: list[str] = []
        self.finished_turns: list[str] = []
        self.media_gates: dict[str, asyncio.Event] = {}
        self.turn_gates: dict[str, asyncio.Event] = {}
        self.normalize_failures: dict[str, Callable[[], Awaitable[None]]] = {}
        self.publish_failures: dict[str, int] = {}
        self.media_loaders: dict[str, Callable[[MediaUse], Awaitable[None]]] = {}
        self.empty: set[str] = set()
        self.explained: list[str] = []
        self.apologized: list[str] = []
        self.streams = EndedStreams()
        self.reported: list[str] = []
        self.changed = asyncio.Condition()
        self.media_budget = MediaBudget(10 * BLOCK_BYTES)
        self.inbox = Inbox(
            limit=limit,
            normalize=self._normalize,
            publish=self._publish,
            explain=self._explain,
            apologize=self._apologize,
            streams=self.streams,
            report_event=self._report_event,
            media_budget=self.media_budget,
            state=self.state,
            emit=self.recorder,
            clock=self.clock,
        )

    async def admit(self, message_id: str) -> bool:
        """Return whether a message is new to the state."""
        now = self.clock.now()
        (new,) = await self.state.admit([Admission(stored(message_id, now), None)], now)
        return new

    async def put(
        self,
        message_id: str,
        chat_id: str = "chat",
        *,
        is_group: bool = True,
        type_: str = "text",
        held: bool = False,
    ) -> None:
        await self.admit(message_id)
        self.inbox.put(callback(message_id, chat_id, is_group=is_group, type_=type_), self.clock.now(), held=held)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS), self.changed:
            await self.changed.wait_for(condition)

    async def wait_for_tasks(self) -> None:
        """Wait until no message is in progress."""
        while tasks := list(self.inbox._tasks.values()):
            done, _ = await asyncio.wait(tasks, timeout=WAIT_SECONDS)
            assert done

    def ends(self) -> list[tuple[str, str, str]]:
        """Return the message id, outcome and reason of each message that ended."""
        return [(event.message_id, event.outcome, event.reason) for event in self.recorder.of(events.MessageEnded)]

    async def _normalize(self, admitted: AdmittedCallback) -> InboundMessage | None:
        message_id = admitted.callback.message_id
        if message_id in self.media_gates:
            await self.media_gates[message_id].wait()
        if message_id in self.media_loaders:
            await self.media_loaders[message_id](admitted.media_use)
        if message_id in self.normalize_failures:
            await self.normalize_failures[message_id]()
        if message_id in self.empty:
            return None
        return InboundMessage(
            channel="wecom",
            sender_id="a",
            chat_id=admitted.callback.chat_id,
            content="",
            timestamp=0,
            message_id=message_id,
        )

    async def _report_event(self, admitted: AdmittedCallback) -> None:
        self.reported.append(admitted.callback.message_id)

    async def _explain(self, callback: Callback) -> None:
        self.explained.append(callback.message_id)

    async def _apologize(self, callback: Callback) -> None:
        self.apologized.append(callback.message_id)

    async def _publish(self, message: InboundMessage) -> None:
        async with self.changed:
            self.published.append(message.message_id)
            self.changed.notify_all()
        if message.message_id in self.turn_gates:
            await self.turn_gates[message.message_id].wait()
        if self.publish_failures.get(message.message_id, 0):
            self.publish_failures[message.message_id] -= 1
            raise KeyError
        async with self.changed:
            self.finished_turns.append(message.message_id)
            self.changed.notify_all()


async def fail() -> None:
    message = "canary"
    raise RuntimeError(message)


async def test_a_message_is_published_and_finished() -> None:
    harness = InboxHarness()
    await harness.put("m1")
    await harness.wait_for_tasks()
    assert harness.published == ["m1"]
    assert harness.ends() == [("m1", "published", "")]


async def test_messages_of_one_chat_are_published_in_order_even_if_the_first_one_has_slow_media() -> None:
    harness = InboxHarness()
    harness.media_gates["m1"] = asyncio.Event()
    for message_id in ("m1", "m2", "m3"):
        await harness.put(message_id)
    await harness.put("other", chat_id="another")
    await harness.wait_until(lambda: harness.published == ["other"])
    harness.media_gates["m1"].set()
    await harness.wait_for_tasks()
    assert harness.published == ["other", "m1", "m2", "m3"]


async def test_turns_of_one_chat_run_concurrently() -> None:
    """In a group, one person does not wait for the answer to another."""
    harness = InboxHarness()
    harness.turn_gates["m1"] = asyncio.Event()
    await harness.put("m1")
    await harness.put("m2")
    await harness.wait_until(lambda: harness.finished_turns == ["m2"])
    harness.turn_gates["m1"].set()
    await harness.wait_for_tasks()
    assert harness.finished_turns == ["m2", "m1"]


async def test_a_failed_message_does_not_affect_the_next_one_and_is_still_recognized() -> None:
    """The text of the exception is not reported."""
    harness = InboxHarness()
    harness.normalize_failures["m1"] = fail
    await harness.put("m1")
    await harness.put("m2")
    await harness.wait_for_tasks()
    assert harness.published == ["m2"]
    assert ("m1", "failed", "RuntimeError") in harness.ends()
    assert not await harness.admit("m1")


async def test_a_failed_message_is_processed_again_after_a_delay() -> None:
    harness = InboxHarness()
    harness.publish_failures["m1"] = 1
    await harness.put("m1")
    await harness.wait_for_tasks()
    await harness.inbox.recover()
    assert len(harness.inbox) == 0
    harness.clock.time += FIRST_RETRY_SECONDS
    await harness.inbox.recover()
    await harness.wait_for_tasks()
    assert harness.ends() == [("m1", "failed", "KeyError"), ("m1", "published", "")]
    assert harness.recorder.of(events.MessageRecovered) == [events.MessageRecovered(message_id="m1", type="text")]
    harness.clock.time += LONGEST_RETRY_SECONDS
    await harness.inbox.recover()
    assert len(harness.inbox) == 0


async def test_a_message_that_always_fails_is_tried_with_growing_delays_until_its_window_ends() -> None:
    harness = InboxHarness()
    harness.publish_failures["m1"] = 1_000
    began = harness.clock.now()
    await harness.put("m1")
    attempts = []
    for _ in range(1_000):
        if len(harness.inbox):
            attempts.append(harness.clock.now() - began)
        await harness.wait_for_tasks()
        assert harness.inbox.is_full is False
        harness.clock.time += 5
        await harness.inbox.recover()
    assert attempts[:5] == [0, 5, 15, 35, 75]
    assert len(attempts) == 17
    assert 3_300 - LONGEST_RETRY_SECONDS < attempts[-1] < 3_600
    assert len(harness.ends()) == len(attempts)
    assert harness.recorder.of(events.MessageGivenUp) == [
        events.MessageGivenUp(message_id="m1", failures=len(attempts))
    ]
    assert (harness.apologized, harness.streams.ended) == (["m1"], ["m1"])
    assert await harness.state.take_over(harness.clock.now()) == []
    assert await harness.admit("m1")


async def test_the_end_of_a_message_is_told_once_it_was_processed_and_not_before() -> None:
    """A message that failed is processed again, and may still be answered through its stream."""
    harness = InboxHarness()
    harness.publish_failures["m1"] = 1
    harness.empty.add("m2")
    await harness.put("m1")
    await harness.put("m2")
    await harness.wait_for_tasks()
    assert harness.streams.ended == ["m2"]
    assert harness.streams.released == []
    harness.clock.time += FIRST_RETRY_SECONDS
    await harness.inbox.recover()
    await harness.wait_for_tasks()
    assert harness.streams.ended == ["m2", "m1"]
    assert harness.streams.released == ["m1"]
    assert harness.apologized == []


async def test_a_message_that_was_answered_before_its_failure_is_not_processed_again() -> None:
    harness = InboxHarness()
    harness.publish_failures["m1"] = 1
    window = ReplyWindow("m1", "group:chat", "a", "https://canary/", harness.clock.now(), harness.clock.now() + 3_600)
    await harness.state.admit([Admission(stored("m1", harness.clock.now()), window)], harness.clock.now())
    await harness.put("m1")
    await harness.wait_for_tasks()
    claimed = await harness.state.claim_window(["group:chat"], "m1", harness.clock.now())
    assert claimed
    harness.clock.time += FIRST_RETRY_SECONDS
    await harness.inbox.recover()
    assert len(harness.inbox) == 0
    await harness.state.spend_window(claimed, harness.clock.now())
    await harness.inbox.recover()
    assert len(harness.inbox) == 0
    harness.clock.time += 3_600
    await harness.inbox.recover()
    assert harness.recorder.of(events.MessageGivenUp) == []


async def test_a_message_whose_reply_never_ends_is_finished_when_its_window_ends() -> None:
    harness = InboxHarness()
    harness.publish_failures["m1"] = 1
    window = ReplyWindow("m1", "group:chat", "a", "https://canary/", harness.clock.now(), harness.clock.now() + 3_600)
    await harness.state.admit([Admission(stored("m1", harness.clock.now()), window)], harness.clock.now())
    await harness.put("m1")
    await harness.wait_for_tasks()
    assert await harness.state.claim_window(["group:chat"], "m1", harness.clock.now())
    for _ in range(2):
        harness.clock.time += 3_600
        await harness.inbox.recover()
    assert harness.recorder.of(events.MessageGivenUp) == [events.MessageGivenUp(message_id="m1", failures=1)]
    assert await harness.admit("m1")


async def test_a_message_that_normalizes_to_nothing_ends_as_unsupported() -> None:
    harness = InboxHarness()
    harness.empty.add("m1")
    await harness.put("m1")
    await harness.put("m2")
    await harness.wait_for_tasks()
    assert harness.published == ["m2"]
    assert ("m1", "unsupported", "") in harness.ends()
    assert harness.explained == ["m1"]


async def test_messages_in_progress_and_held_places_count_towards_the_limit() -> None:
    harness = InboxHarness(limit=2)
    harness.turn_gates["m1"] = asyncio.Event()
    await harness.put("m1")
    full = [harness.inbox.is_full]
    for change in (harness.inbox.hold_place, harness.inbox.release_place, harness.inbox.hold_place):
        change(callback("m2"))
        full.append(harness.inbox.is_full)
    harness.turn_gates["m1"].set()
    await harness.wait_for_tasks()
    full.append(harness.inbox.is_full)
    assert full == [False, True, False, True, False]


async def test_a_message_takes_the_place_that_was_held_for_it() -> None:
    harness = InboxHarness(limit=2)
    harness.turn_gates["m1"] = asyncio.Event()
    assert harness.inbox.hold_place(callback("m1"))
    await harness.put("m1", held=True)
    assert harness.inbox.hold_place(callback("m2"))
    assert harness.inbox.is_full
    harness.inbox.release_place(callback("m2"))
    harness.turn_gates["m1"].set()
    await harness.wait_for_tasks()
    assert await harness.inbox.drain(0) == 0


async def test_a_chat_may_use_as_many_places_as_are_free() -> None:
    harness = InboxHarness(limit=8)
    held = [harness.inbox.hold_place(callback(f"m{number}", "busy")) for number in range(8)]
    assert held == [True] * 5 + [False] * 3
    assert harness.inbox.hold_place(callback("other", "quiet"))
    harness.inbox.release_place(callback("m0", "busy"))
    assert not harness.inbox.is_full


async def test_the_age_is_that_of_the_oldest_message_and_zero_if_there_is_none() -> None:
    harness = InboxHarness()
    assert harness.inbox.oldest_seconds() == 0
    harness.turn_gates["m1"] = asyncio.Event()
    await harness.put("m1")
    harness.clock.time += 5
    await harness.put("m2")
    await harness.wait_until(lambda: "m2" in harness.finished_turns)
    harness.clock.time += 1
    assert harness.inbox.oldest_seconds() == 6
    harness.turn_gates["m1"].set()
    await harness.wait_for_tasks()
    assert harness.inbox.oldest_seconds() == 0


async def test_a_recovered_message_can_be_older_than_one_put_in_before_it() -> None:
    harness = InboxHarness()
    harness.turn_gates["m1"] = harness.turn_gates["m2"] = asyncio.Event()
    await harness.put("m1")
    harness.clock.time -= 100
    await harness.put("m2")
    harness.clock.time += 100
    assert harness.inbox.oldest_seconds() == 100
    harness.turn_gates["m1"].set()
    await harness.wait_for_tasks()


async def test_draining_waits_for_messages_and_cancels_the_rest_after_its_timeout() -> None:
    """A cancelled message is not finished: it stays in the state to be recovered."""
    harness = InboxHarness()
    harness.turn_gates["m1"] = asyncio.Event()
    harness.turn_gates["m2"] = asyncio.Event()
    await harness.put("m1")
    await harness.put("m2")
    await harness.wait_until(lambda: len(harness.published) == 2)
    harness.turn_gates["m1"].set()
    assert await harness.inbox.drain(0.05) == 1
    assert harness.finished_turns == ["m1"]
    assert len(harness.inbox) == 0
    assert not await harness.admit("m2")


async def test_draining_an_empty_inbox_returns_immediately() -> None:
    assert await InboxHarness().inbox.drain(1000) == 0


async def test_an_end_that_the_state_cannot_record_is_reported() -> None:
    class FailingState(MemoryStateStore):
        async def finish(self, message_id: str, now: float) -> None:
            raise StateUnavailable(reason="state")

    harness = InboxHarness(state=FailingState())
    began = harness.clock.now()
    await harness.put("m1")
    await harness.wait_for_tasks()
    assert harness.published == ["m1"]
    assert harness.clock.now() == began + 3_600
    assert harness.recorder.of(events.MessageNotRecorded) == [
        events.MessageNotRecorded(message_id="m1", reason="state")
    ]


async def test_messages_behind_a_failed_one_still_wait_for_those_before_it() -> None:
    harness = InboxHarness()
    harness.media_gates["m1"] = asyncio.Event()
    harness.normalize_failures["m2"] = fail
    for message_id in ("m1", "m2", "m3"):
        await harness.put(message_id)
    for _ in range(20):
        await asyncio.sleep(0)
    assert harness.published == []
    harness.media_gates["m1"].set()
    await harness.wait_for_tasks()
    assert harness.published == ["m1", "m3"]


async def test_a_message_that_is_processed_again_delays_no_other_of_its_chat() -> None:
    """A plugin that hangs on it would otherwise block the chat again and again."""
    harness = InboxHarness()
    harness.normalize_failures["m1"] = fail
    await harness.put("m1")
    await harness.wait_for_tasks()
    harness.media_gates["m1"] = asyncio.Event()
    harness.clock.time += FIRST_RETRY_SECONDS
    await harness.inbox.recover()
    await harness.put("m2")
    await harness.wait_until(lambda: harness.finished_turns == ["m2"])
    del harness.normalize_failures["m1"]
    harness.media_gates["m1"].set()
    await harness.wait_for_tasks()
    assert harness.published == ["m2", "m1"]


async def test_a_cancelled_error_raised_by_the_host_is_a_failure_of_the_message() -> None:
    """The task of the message was not cancelled, so the message has ended and is processed again later."""

    async def raise_cancelled() -> None:
        raise asyncio.CancelledError

    harness = InboxHarness()
    harness.normalize_failures["m1"] = raise_cancelled
    await harness.put("m1")
    await harness.wait_for_tasks()
    assert harness.ends() == [("m1", "failed", "CancelledError")]
    del harness.normalize_failures["m1"]
    harness.clock.time += FIRST_RETRY_SECONDS
    await harness.inbox.recover()
    await harness.wait_for_tasks()
    assert harness.published == ["m1"]


async def test_draining_waits_for_a_message_that_is_being_admitted() -> None:
    """The message may already be in the state and will then be acknowledged."""
    harness = InboxHarness()
    assert harness.inbox.hold_place(callback("m1"))
    draining = asyncio.create_task(harness.inbox.drain(WAIT_SECONDS))
    await asyncio.sleep(0)
    await harness.put("m1", held=True)
    assert await draining == 0
    assert harness.finished_turns == ["m1"]


async def test_a_message_that_is_admitted_after_a_drain_is_not_processed() -> None:
    """It stays in the state to be recovered."""
    harness = InboxHarness()
    assert harness.inbox.hold_place(callback("m1"))
    assert await harness.inbox.drain(0) == 0
    await harness.put("m1", held=True)
    await harness.wait_for_tasks()
    assert harness.published == []


@pytest.mark.parametrize("end", ["finished", "failed", "empty", "cancelled"])
async def test_a_message_releases_its_media_bytes_however_it_ends(end: str) -> None:
    harness = InboxHarness()
    loaded, resume = asyncio.Event(), asyncio.Event()

    async def load_media(use: MediaUse) -> None:
        await harness.media_budget.reserve(use)
        harness.media_budget.charge(use, 1_000)
        loaded.set()
        await resume.wait()
        if end == "failed":
            await fail()

    harness.media_loaders["m1"] = load_media
    if end == "empty":
        harness.empty.add("m1")
    await harness.put("m1")
    await loaded.wait()
    assert harness.media_budget.used_bytes == 1_000
    if end == "cancelled":
        assert await harness.inbox.drain(0) == 1
    resume.set()
    await harness.wait_for_tasks()
    assert harness.media_budget.used_bytes == 0


async def test_media_stay_charged_until_the_host_has_dealt_with_their_message() -> None:
    harness = InboxHarness()

    async def load_media(use: MediaUse) -> None:
        await harness.media_budget.reserve(use)
        harness.media_budget.charge(use, 1_000)

    harness.media_loaders["m1"] = load_media
    harness.turn_gates["m1"] = asyncio.Event()
    await harness.put("m1")
    await harness.wait_until(lambda: harness.published == ["m1"])
    assert harness.media_budget.used_bytes == 1_000
    harness.turn_gates["m1"].set()
    await harness.wait_for_tasks()
    assert harness.media_budget.used_bytes == 0


async def test_only_the_oldest_late_message_is_reported_and_only_once() -> None:
    """Of equally old messages the first counts as the oldest. When it has ended, the next one is reported."""
    harness = InboxHarness()
    harness.turn_gates = {f"m{number}": asyncio.Event() for number in range(1, 9)}
    for message_id in harness.turn_gates:
        await harness.put(message_id, chat_id=message_id)

    def reported() -> list[str]:
        harness.inbox.report_late()
        return [event.message_id for event in harness.recorder.of(events.MessageLate)]

    assert reported() == []
    harness.clock.time += LATE_SECONDS
    assert reported() == reported() == ["m1"]
    harness.turn_gates["m1"].set()
    await harness.wait_until(lambda: len(harness.inbox) == len(harness.turn_gates) - 1)
    assert reported() == ["m1", "m2"]
    for turn in harness.turn_gates.values():
        turn.set()
    await harness.wait_for_tasks()


async def test_a_group_with_the_same_id_as_a_person_is_another_chat() -> None:
    harness = InboxHarness()
    harness.media_gates["m1"] = asyncio.Event()
    await harness.put("m1", chat_id="alice", is_group=True)
    await harness.put("m2", chat_id="alice", is_group=False)
    await harness.wait_until(lambda: harness.published == ["m2"])
    harness.media_gates["m1"].set()
    await harness.wait_for_tasks()


async def test_an_event_between_two_messages_does_not_change_their_order() -> None:
    harness = InboxHarness()
    harness.media_gates["m1"] = asyncio.Event()
    await harness.put("m1")
    await harness.put("e1", type_="event")
    await harness.put("m2")
    for _ in range(20):
        await asyncio.sleep(0)
    assert harness.published == []
    harness.media_gates["m1"].set()
    await harness.wait_for_tasks()
    assert harness.published == ["m1", "m2"]


async def test_a_failed_message_is_released_once_the_state_is_available() -> None:
    class UnavailableState(MemoryStateStore):
        unavailable = True

        async def release(self, message_id: str, now: float) -> bool:
            if self.unavailable:
                raise StateUnavailable
            return await super().release(message_id, now)

    state = UnavailableState()
    harness = InboxHarness(state=state)
    harness.publish_failures["m1"] = 1
    await harness.put("m1")
    await harness.wait_for_tasks()
    harness.clock.time += FIRST_RETRY_SECONDS
    with pytest.raises(StateUnavailable):
        await harness.inbox.recover()
    state.unavailable = False
    await harness.inbox.recover()
    await harness.wait_for_tasks()
    assert harness.published == ["m1", "m1"]


async def test_an_end_that_could_not_be_recorded_is_recorded_by_a_later_recovery() -> None:
    class UnavailableState(MemoryStateStore):
        unavailable = True
        finished: ClassVar[list[str]] = []

        async def finish(self, message_id: str, now: float) -> None:
            if self.unavailable:
                raise StateUnavailable
            self.finished.append(message_id)

    state = UnavailableState()
    harness = InboxHarness(state=state)
    await harness.put("m1")
    await harness.wait_for_tasks()
    assert harness.recorder.of(events.MessageNotRecorded) == [
        events.MessageNotRecorded(message_id="m1", reason="state")
    ]
    with pytest.raises(StateUnavailable):
        await harness.inbox.recover()
    state.unavailable = False
    await harness.inbox.recover()
    await harness.inbox.recover()
    assert state.finished == ["m1"]


def stored(message_id: str, received_at: float, type_: str = "text") -> StoredCallback:
    payload = {"eventtype": "enter_chat"} if type_ == "event" else {"content": "canary"}
    message = {"msgid": message_id, "chattype": "single", "from": {"userid": "a"}, "msgtype": type_, type_: payload}
    return StoredCallback(message_id, received_at, json.dumps(message).encode())


class StateWithLeftovers(MemoryStateStore):
    """A state with unfinished callbacks of a process that died. It cannot finish the message `unfinishable`."""

    def __init__(self, *left: StoredCallback, unfinishable: str = "") -> None:
        super().__init__()
        self.left = list(left)
        self.finished: list[str] = []
        self._unfinishable = unfinishable

    async def take_over(self, now: float, *, limit: int = 1_000) -> list[StoredCallback]:
        taken, self.left = self.left[:limit], self.left[limit:]
        return taken

    async def finish(self, message_id: str, now: float) -> None:
        if message_id == self._unfinishable:
            raise StateUnavailable
        self.finished.append(message_id)


async def test_recovery_publishes_messages_and_finishes_the_other_callbacks() -> None:
    """The others are an event, a callback that cannot be read, and a message too old to be answered."""
    state = StateWithLeftovers(
        stored("m1", 1_699_999_000.0),
        stored("e1", 1_699_999_001.0, "event"),
        StoredCallback("x1", 1_699_999_002.0, b"from another version"),
        stored("o1", 1_699_990_000.0),
    )
    harness = InboxHarness(state=state)
    await harness.inbox.recover()
    await harness.wait_for_tasks()
    assert harness.published == ["m1"]
    assert sorted(state.finished) == ["e1", "m1", "o1", "x1"]
    assert harness.recorder.of(events.MessageRecovered) == [events.MessageRecovered(message_id="m1", type="text")]
    assert harness.recorder.of(events.MessagesRecovered) == [events.MessagesRecovered(messages=1, skipped=3)]


async def test_recovered_messages_leave_half_of_the_places_to_new_ones() -> None:
    state = StateWithLeftovers(*(stored(f"m{number}", 1_699_999_000.0) for number in range(12)))
    harness = InboxHarness(state=state)
    await harness.inbox.recover()
    assert len(harness.inbox) == 5
    await harness.put("new")
    await harness.wait_for_tasks()
    while state.left:
        await harness.inbox.recover()
        await harness.wait_for_tasks()
    assert len(harness.published) == 13


async def test_a_callback_that_cannot_be_finished_does_not_block_those_recovered_with_it() -> None:
    """They were taken over together, so no other replica would process them."""
    state = StateWithLeftovers(
        StoredCallback("x1", 1_699_999_000.0, b"from another version"),
        stored("m1", 1_699_999_001.0),
        unfinishable="x1",
    )
    harness = InboxHarness(state=state)
    with pytest.raises(StateUnavailable):
        await harness.inbox.recover()
    await harness.wait_for_tasks()
    assert harness.published == ["m1"]


async def test_an_event_is_reported_and_not_published() -> None:
    harness = InboxHarness()
    await harness.put("e1", type_="event")
    await harness.put("m1")
    await harness.wait_for_tasks()
    assert (harness.reported, harness.published) == (["e1"], ["m1"])
