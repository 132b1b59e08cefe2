"""Messages in progress: order, bounds, failures, draining, recovering."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, ClassVar

import pytest

from maven_channel_wecom.contract.messages import InboundMessage
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.inbox import LATE_SECONDS, AdmittedCallback, Inbox
from maven_channel_wecom.media import MediaBudget
from maven_channel_wecom.policy.media_blocks import BLOCK_BYTES
from maven_channel_wecom.protocol.callback import Callback
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.store import Admission, StoredCallback
from maven_channel_wecom.telemetry import events
from tests.fakes.clock import FakeClock
from tests.fakes.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maven_channel_wecom.media import MediaUse

WAIT_SECONDS = 5


class Desk:
    """An inbox with a host behind it whose pace the test sets."""

    def __init__(self, *, limit: int = 10, state: MemoryStateStore | None = None) -> None:
        self.clock = FakeClock()
        self.recorder = Recorder()
        self.state = state or MemoryStateStore()
        self.published: list[str] = []
        self.finished_turns: list[str] = []
        self.fetching: dict[str, asyncio.Event] = {}
        self.turns: dict[str, asyncio.Event] = {}
        self.failing: dict[str, Callable[[], Awaitable[None]]] = {}
        self.bringing: dict[str, Callable[[MediaUse], Awaitable[None]]] = {}
        self.silent: set[str] = set()
        self.changed = asyncio.Condition()
        self.media_budget = MediaBudget(10 * BLOCK_BYTES)
        self.inbox = Inbox(
            limit=limit,
            normalize=self._normalize,
            publish=self._publish,
            media_budget=self.media_budget,
            state=self.state,
            emit=self.recorder,
            clock=self.clock,
        )

    async def admit(self, message_id: str) -> bool:
        """Return whether a message is new to the state."""
        now = self.clock.now()
        (new,) = await self.state.admit([Admission(StoredCallback(message_id, now, b""), None)], now)
        return new

    async def put(self, message_id: str, chat_id: str = "chat", *, is_group: bool = True, type_: str = "text") -> None:
        await self.admit(message_id)
        callback = Callback(message_id=message_id, type=type_, is_group=is_group, chat_id=chat_id, sender_id="a")
        self.inbox.put(AdmittedCallback(callback, self.clock.now()))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS), self.changed:
            await self.changed.wait_for(holds)

    async def settle(self) -> None:
        """Wait until everything that can be done is done."""
        while tasks := list(self.inbox._tasks.values()):
            done, _ = await asyncio.wait(tasks, timeout=WAIT_SECONDS)
            assert done

    def ends(self) -> list[tuple[str, str, str]]:
        """Return message, outcome and reason of every end."""
        return [(event.message_id, event.outcome, event.reason) for event in self.recorder.of(events.MessageEnded)]

    async def _normalize(self, admitted: AdmittedCallback) -> InboundMessage | None:
        message_id = admitted.callback.message_id
        if message_id in self.fetching:
            await self.fetching[message_id].wait()
        if message_id in self.bringing:
            await self.bringing[message_id](admitted.media_use)
        if message_id in self.failing:
            await self.failing[message_id]()
        if message_id in self.silent:
            return None
        return InboundMessage(
            channel="wecom",
            sender_id="a",
            chat_id=admitted.callback.chat_id,
            content="",
            timestamp=0,
            message_id=message_id,
        )

    async def _publish(self, message: InboundMessage) -> None:
        async with self.changed:
            self.published.append(message.message_id)
            self.changed.notify_all()
        if message.message_id in self.turns:
            await self.turns[message.message_id].wait()
        async with self.changed:
            self.finished_turns.append(message.message_id)
            self.changed.notify_all()


async def failure() -> None:
    message = "canary"
    raise RuntimeError(message)


async def test_a_message_is_published_and_finished() -> None:
    """Afterwards it is in nobody's hand, and counted."""
    desk = Desk()
    await desk.put("m1")
    await desk.settle()
    assert desk.published == ["m1"]
    assert desk.ends() == [("m1", "published", "")]


async def test_messages_of_one_chat_are_published_in_the_order_they_came() -> None:
    """However long the media of the first one take."""
    desk = Desk()
    desk.fetching["m1"] = asyncio.Event()
    for message_id in ("m1", "m2", "m3"):
        await desk.put(message_id)
    await desk.put("other", chat_id="another")
    await desk.until(lambda: desk.published == ["other"])
    desk.fetching["m1"].set()
    await desk.settle()
    assert desk.published == ["other", "m1", "m2", "m3"]


async def test_turns_of_one_chat_run_side_by_side() -> None:
    """The second person in a group does not wait for the first one's answer."""
    desk = Desk()
    desk.turns["m1"] = asyncio.Event()
    await desk.put("m1")
    await desk.put("m2")
    await desk.until(lambda: desk.finished_turns == ["m2"])
    desk.turns["m1"].set()
    await desk.settle()
    assert desk.finished_turns == ["m2", "m1"]


async def test_a_failing_message_costs_nobody_else_and_is_released() -> None:
    """A repeat of it is new again; what the failure said is not reported."""
    desk = Desk()
    desk.failing["m1"] = failure
    await desk.put("m1")
    await desk.put("m2")
    await desk.settle()
    assert desk.published == ["m2"]
    assert ("m1", "failed", "RuntimeError") in desk.ends()
    assert await desk.admit("m1")
    assert not await desk.admit("m2")


async def test_a_message_with_nothing_to_say_is_finished_without_the_host() -> None:
    """It is counted as unsupported, and the next one goes on."""
    desk = Desk()
    desk.silent.add("m1")
    await desk.put("m1")
    await desk.put("m2")
    await desk.settle()
    assert desk.published == ["m2"]
    assert ("m1", "unsupported", "") in desk.ends()


async def test_places_are_limited_and_come_back() -> None:
    """Reserved ones and those in hand count together."""
    desk = Desk(limit=2)
    desk.turns["m1"] = asyncio.Event()
    await desk.put("m1")
    full = [desk.inbox.is_full]
    for step in (desk.inbox.hold_place, desk.inbox.release_place, desk.inbox.hold_place):
        step()
        full.append(desk.inbox.is_full)
    desk.turns["m1"].set()
    await desk.settle()
    full.append(desk.inbox.is_full)
    assert full == [False, True, False, True, False]


async def test_the_age_is_that_of_the_oldest_message() -> None:
    """Zero when there is none."""
    desk = Desk()
    assert desk.inbox.oldest_seconds() == 0
    desk.turns["m1"] = asyncio.Event()
    await desk.put("m1")
    desk.clock.time += 5
    await desk.put("m2")
    await desk.until(lambda: "m2" in desk.finished_turns)
    desk.clock.time += 1
    assert desk.inbox.oldest_seconds() == 6
    desk.turns["m1"].set()
    await desk.settle()
    assert desk.inbox.oldest_seconds() == 0


async def test_a_message_taken_over_late_may_be_the_oldest() -> None:
    """It was received by a process that is gone, before those that are in hand here."""
    desk = Desk()
    desk.turns["m1"] = desk.turns["m2"] = asyncio.Event()
    await desk.put("m1")
    desk.clock.time -= 100
    await desk.put("m2")
    desk.clock.time += 100
    assert desk.inbox.oldest_seconds() == 100
    desk.turns["m1"].set()
    await desk.settle()


async def test_draining_waits_for_work_and_ends_the_rest() -> None:
    """What is ended is not finished: it stays in the state for the next start."""
    desk = Desk()
    desk.turns["m1"] = asyncio.Event()
    desk.turns["m2"] = asyncio.Event()
    await desk.put("m1")
    await desk.put("m2")
    await desk.until(lambda: len(desk.published) == 2)
    desk.turns["m1"].set()
    assert await desk.inbox.drain(0.05) == 1
    assert desk.finished_turns == ["m1"]
    assert len(desk.inbox) == 0
    assert not await desk.admit("m2")


async def test_draining_an_empty_inbox_returns_at_once() -> None:
    """There is nothing to wait for."""
    assert await Desk().inbox.drain(1000) == 0


async def test_a_state_that_fails_at_the_end_costs_no_task() -> None:
    """The message was dealt with; that it could not be recorded is reported."""

    class Failing(MemoryStateStore):
        async def finish(self, message_id: str, now: float) -> None:
            raise StateUnavailable(reason="state")

        async def release(self, message_id: str, now: float) -> None:
            raise StateUnavailable(reason="state")

    desk = Desk(state=Failing())
    desk.failing["m2"] = failure
    await desk.put("m1")
    await desk.put("m2")
    await desk.settle()
    assert desk.published == ["m1"]
    assert ("m2", "failed", "RuntimeError") in desk.ends()
    assert {event.message_id for event in desk.recorder.of(events.MessageNotRecorded)} == {"m1", "m2"}


async def test_a_failing_message_does_not_let_others_overtake() -> None:
    """Those behind it still wait for the ones before it."""
    desk = Desk()
    desk.fetching["m1"] = asyncio.Event()
    desk.failing["m2"] = failure
    for message_id in ("m1", "m2", "m3"):
        await desk.put(message_id)
    for _ in range(20):
        await asyncio.sleep(0)
    assert desk.published == []
    desk.fetching["m1"].set()
    await desk.settle()
    assert desk.published == ["m1", "m3"]


async def test_a_cancellation_that_comes_out_of_a_host_is_a_failure_like_any_other() -> None:
    """Nobody cancelled the message itself: it is counted and released."""

    async def cancelled() -> None:
        raise asyncio.CancelledError

    desk = Desk()
    desk.failing["m1"] = cancelled
    await desk.put("m1")
    await desk.settle()
    assert desk.ends() == [("m1", "failed", "CancelledError")]
    assert await desk.admit("m1")


async def test_draining_waits_for_a_message_that_is_just_being_admitted() -> None:
    """It may be in the state already, and then it was acknowledged."""
    desk = Desk()
    desk.inbox.hold_place()
    draining = asyncio.create_task(desk.inbox.drain(WAIT_SECONDS))
    await asyncio.sleep(0)
    await desk.put("m1")
    desk.inbox.release_place()
    assert await draining == 0
    assert desk.finished_turns == ["m1"]


async def test_a_message_that_is_admitted_after_a_drain_is_not_begun() -> None:
    """The state was too slow; it has the message, and keeps it for the next start."""
    desk = Desk()
    desk.inbox.hold_place()
    assert await desk.inbox.drain(0) == 0
    desk.inbox.release_place()
    await desk.put("m1")
    await desk.settle()
    assert desk.published == []


@pytest.mark.parametrize("end", ["finished", "failed", "silent", "ended"])
async def test_a_message_releases_what_its_media_use(end: str) -> None:
    """Once the host has dealt with it, or there is nothing to deal with any more."""
    desk = Desk()
    arrived, turn = asyncio.Event(), asyncio.Event()

    async def bring_media(use: MediaUse) -> None:
        await desk.media_budget.reserve(use)
        desk.media_budget.charge(use, 1_000)
        arrived.set()
        await turn.wait()
        if end == "failed":
            await failure()

    desk.bringing["m1"] = bring_media
    if end == "silent":
        desk.silent.add("m1")
    await desk.put("m1")
    await arrived.wait()
    assert desk.media_budget.used_bytes == 1_000
    if end == "ended":
        assert await desk.inbox.drain(0) == 1
    turn.set()
    await desk.settle()
    assert desk.media_budget.used_bytes == 0


async def test_media_stay_charged_until_the_host_has_dealt_with_their_message() -> None:
    """An agent that hangs keeps them in memory."""
    desk = Desk()

    async def bring_media(use: MediaUse) -> None:
        await desk.media_budget.reserve(use)
        desk.media_budget.charge(use, 1_000)

    desk.bringing["m1"] = bring_media
    desk.turns["m1"] = asyncio.Event()
    await desk.put("m1")
    await desk.until(lambda: desk.published == ["m1"])
    assert desk.media_budget.used_bytes == 1_000
    desk.turns["m1"].set()
    await desk.settle()
    assert desk.media_budget.used_bytes == 0


async def test_a_late_message_is_reported_once() -> None:
    """The oldest one alone, of those that came at once the first; the next when that is gone, if it is late too."""
    desk = Desk()
    desk.turns = {f"m{number}": asyncio.Event() for number in range(1, 9)}
    for message_id in desk.turns:
        await desk.put(message_id, chat_id=message_id)

    def reported() -> list[str]:
        desk.inbox.report_late()
        return [event.message_id for event in desk.recorder.of(events.MessageLate)]

    assert reported() == []
    desk.clock.time += LATE_SECONDS
    assert reported() == reported() == ["m1"]
    desk.turns["m1"].set()
    await desk.until(lambda: len(desk.inbox) == len(desk.turns) - 1)
    assert reported() == ["m1", "m2"]
    for turn in desk.turns.values():
        turn.set()
    await desk.settle()


async def test_a_group_that_is_called_like_a_person_has_an_order_of_its_own() -> None:
    desk = Desk()
    desk.fetching["m1"] = asyncio.Event()
    await desk.put("m1", chat_id="alice", is_group=True)
    await desk.put("m2", chat_id="alice", is_group=False)
    await desk.until(lambda: desk.published == ["m2"])
    desk.fetching["m1"].set()
    await desk.settle()


async def test_an_event_between_two_messages_does_not_change_their_order() -> None:
    desk = Desk()
    desk.fetching["m1"] = asyncio.Event()
    await desk.put("m1")
    await desk.put("e1", type_="event")
    await desk.put("m2")
    for _ in range(20):
        await asyncio.sleep(0)
    assert desk.published == []
    desk.fetching["m1"].set()
    await desk.settle()
    assert desk.published == ["m1", "m2"]


async def test_a_failed_message_that_cannot_be_released_yet_does_not_hold_up_its_chat() -> None:
    class Away(MemoryStateStore):
        back = asyncio.Event()

        async def release(self, message_id: str, now: float) -> None:
            await self.back.wait()
            await super().release(message_id, now)

    state = Away()
    desk = Desk(state=state)
    desk.failing["m1"] = failure
    await desk.put("m1")
    await desk.put("m2")
    await desk.until(lambda: desk.published == ["m2"])
    state.back.set()
    await desk.settle()


async def test_an_end_that_could_not_be_recorded_is_recorded_at_a_later_look() -> None:
    class Away(MemoryStateStore):
        away = True
        finished: ClassVar[list[str]] = []

        async def finish(self, message_id: str, now: float) -> None:
            if self.away:
                raise StateUnavailable
            self.finished.append(message_id)

    state = Away()
    desk = Desk(state=state)
    await desk.put("m1")
    await desk.settle()
    assert desk.recorder.of(events.MessageNotRecorded) == [events.MessageNotRecorded(message_id="m1", reason="state")]
    with pytest.raises(StateUnavailable):
        await desk.inbox.recover()
    state.away = False
    await desk.inbox.recover()
    await desk.inbox.recover()
    assert state.finished == ["m1"]


def stored(message_id: str, received_at: float, type_: str = "text") -> StoredCallback:
    payload = {"eventtype": "enter_chat"} if type_ == "event" else {"content": "canary"}
    message = {"msgid": message_id, "chattype": "single", "from": {"userid": "a"}, "msgtype": type_, type_: payload}
    return StoredCallback(message_id, received_at, json.dumps(message).encode())


class LeftBehind(MemoryStateStore):
    """A state in which a process that died left callbacks."""

    def __init__(self, *left: StoredCallback, unfinishable: str = "") -> None:
        super().__init__()
        self.left = list(left)
        self.finished: list[str] = []
        self._unfinishable = unfinishable

    async def take_over(self, now: float, *, most: int = 1_000) -> list[StoredCallback]:
        taken, self.left = self.left[:most], self.left[most:]
        return taken

    async def finish(self, message_id: str, now: float) -> None:
        if message_id == self._unfinishable:
            raise StateUnavailable
        self.finished.append(message_id)


async def test_what_a_dead_process_left_is_recovered() -> None:
    """Messages go to the host; events, what cannot be read and what cannot be answered any more are over."""
    state = LeftBehind(
        stored("m1", 1_699_999_000.0),
        stored("e1", 1_699_999_001.0, "event"),
        StoredCallback("x1", 1_699_999_002.0, b"from another version"),
        stored("o1", 1_699_990_000.0),
    )
    desk = Desk(state=state)
    await desk.inbox.recover()
    await desk.settle()
    assert desk.published == ["m1"]
    assert sorted(state.finished) == ["e1", "m1", "o1", "x1"]
    assert desk.recorder.of(events.MessageRecovered) == [events.MessageRecovered(message_id="m1", type="text")]
    assert desk.recorder.of(events.MessagesRecovered) == [events.MessagesRecovered(messages=1, over=3)]


async def test_recovered_messages_leave_half_of_the_places_to_new_ones() -> None:
    """A backlog is worked off bit by bit, and nobody new is turned away for it."""
    state = LeftBehind(*(stored(f"m{number}", 1_699_999_000.0) for number in range(12)))
    desk = Desk(state=state)
    await desk.inbox.recover()
    assert len(desk.inbox) == 5
    await desk.put("new")
    await desk.settle()
    while state.left:
        await desk.inbox.recover()
        await desk.settle()
    assert len(desk.published) == 13


async def test_one_that_cannot_be_finished_does_not_hold_up_the_others() -> None:
    """They were taken over together, so nobody else would come for them."""
    state = LeftBehind(
        StoredCallback("x1", 1_699_999_000.0, b"from another version"),
        stored("m1", 1_699_999_001.0),
        unfinishable="x1",
    )
    desk = Desk(state=state)
    with pytest.raises(StateUnavailable):
        await desk.inbox.recover()
    await desk.settle()
    assert desk.published == ["m1"]
