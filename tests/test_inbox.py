"""Messages in hand: order, bounds, failures, draining."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from maven_channel_wecom.contract.messages import InboundMessage
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.inbox import LATE_SECONDS, AdmittedCallback, Inbox
from maven_channel_wecom.later import settled
from maven_channel_wecom.media_room import MediaRoom
from maven_channel_wecom.policy.media_blocks import BLOCK_BYTES
from maven_channel_wecom.protocol.callback import Callback
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.port import KeptCallback
from maven_channel_wecom.trail import trail_id
from tests.fakes.clock import FakeClock
from tests.fakes.host import channel_metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maven_channel_wecom.media_room import MediaShare

WAIT_SECONDS = 5


class Desk:
    """An inbox with a host behind it whose pace the test sets."""

    def __init__(self, *, limit: int = 10, state: MemoryStateStore | None = None) -> None:
        self.clock = FakeClock()
        self.registry = CollectorRegistry()
        self.state = state or MemoryStateStore()
        self.published: list[str] = []
        self.finished_turns: list[str] = []
        self.fetching: dict[str, asyncio.Event] = {}
        self.turns: dict[str, asyncio.Event] = {}
        self.failing: dict[str, Callable[[], Awaitable[None]]] = {}
        self.bringing: dict[str, Callable[[MediaShare], Awaitable[None]]] = {}
        self.silent: set[str] = set()
        self.changed = asyncio.Condition()
        self.media_room = MediaRoom(10 * BLOCK_BYTES)
        self.inbox = Inbox(
            "wecom",
            limit=limit,
            normalize=self._normalize,
            publish=self._publish,
            media_room=self.media_room,
            state=self.state,
            metrics=channel_metrics(self.registry),
            clock=self.clock,
        )

    async def take(self, message_id: str, chat_id: str = "chat") -> None:
        await settled(
            self.state.admit(KeptCallback(message_id, chat_id, self.clock.now(), b""), None, self.clock.now())
        )
        callback = Callback(message_id=message_id, type="text", is_group=True, chat_id=chat_id, sender_id="a")
        self.inbox.put(AdmittedCallback(callback, self.clock.now()))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS), self.changed:
            await self.changed.wait_for(holds)

    async def settle(self) -> None:
        """Wait until everything that can be done is done."""
        while tasks := list(self.inbox._work.values()):
            done, _ = await asyncio.wait(tasks, timeout=WAIT_SECONDS)
            assert done

    def count(self, outcome: str) -> float | None:
        return self.registry.get_sample_value(
            "maven_wecom_inbound_messages_total", {"channel": "wecom", "type": "text", "outcome": outcome}
        )

    async def _normalize(self, admitted: AdmittedCallback) -> InboundMessage | None:
        message_id = admitted.callback.message_id
        if message_id in self.fetching:
            await self.fetching[message_id].wait()
        if message_id in self.bringing:
            await self.bringing[message_id](admitted.media_share)
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
    await desk.take("m1")
    await desk.settle()
    assert desk.published == ["m1"]
    assert desk.count("published") == 1


async def test_messages_of_one_chat_are_published_in_the_order_they_came() -> None:
    """However long the media of the first one take."""
    desk = Desk()
    desk.fetching["m1"] = asyncio.Event()
    for message_id in ("m1", "m2", "m3"):
        await desk.take(message_id)
    await desk.take("other", chat_id="another")
    await desk.until(lambda: desk.published == ["other"])
    desk.fetching["m1"].set()
    await desk.settle()
    assert desk.published == ["other", "m1", "m2", "m3"]


async def test_turns_of_one_chat_run_side_by_side() -> None:
    """The second person in a group does not wait for the first one's answer."""
    desk = Desk()
    desk.turns["m1"] = asyncio.Event()
    await desk.take("m1")
    await desk.take("m2")
    await desk.until(lambda: desk.finished_turns == ["m2"])
    desk.turns["m1"].set()
    await desk.settle()
    assert desk.finished_turns == ["m2", "m1"]


def reasons_told(caplog: pytest.LogCaptureFixture) -> list[str]:
    failures = (record for record in caplog.records if record.message == "wecom message failed")
    return [record.__dict__["fields"]["reason"] for record in failures]


async def test_a_failing_message_costs_nobody_else_and_is_released(caplog: pytest.LogCaptureFixture) -> None:
    """A repeat of it is new again; what the failure said is in no log."""
    desk = Desk()
    desk.failing["m1"] = failure
    await desk.take("m1")
    await desk.take("m2")
    await desk.settle()
    assert desk.published == ["m2"]
    assert desk.count("failed") == 1
    assert await settled(desk.state.admit(KeptCallback("m1", "chat", 0, b""), None, desk.clock.now()))
    assert not await settled(desk.state.admit(KeptCallback("m2", "chat", 0, b""), None, desk.clock.now()))
    assert "canary" not in caplog.text
    assert reasons_told(caplog) == ["RuntimeError"]


async def test_a_message_with_nothing_to_say_is_finished_without_the_host() -> None:
    """It is counted as unsupported, and the next one goes on."""
    desk = Desk()
    desk.silent.add("m1")
    await desk.take("m1")
    await desk.take("m2")
    await desk.settle()
    assert desk.published == ["m2"]
    assert desk.count("unsupported") == 1


async def test_places_are_limited_and_come_back() -> None:
    """Reserved ones and those in hand count together."""
    desk = Desk(limit=2)
    desk.turns["m1"] = asyncio.Event()
    await desk.take("m1")
    full = [desk.inbox.is_full]
    for step in (desk.inbox.reserve, desk.inbox.give_back, desk.inbox.reserve):
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
    await desk.take("m1")
    desk.clock.time += 5
    await desk.take("m2")
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
    await desk.take("m1")
    desk.clock.time -= 100
    await desk.take("m2")
    desk.clock.time += 100
    assert desk.inbox.oldest_seconds() == 100
    desk.turns["m1"].set()
    await desk.settle()


async def test_draining_waits_for_work_and_ends_the_rest() -> None:
    """What is ended is not finished: it stays in the state for the next start."""
    desk = Desk()
    desk.turns["m1"] = asyncio.Event()
    desk.turns["m2"] = asyncio.Event()
    await desk.take("m1")
    await desk.take("m2")
    await desk.until(lambda: len(desk.published) == 2)
    desk.turns["m1"].set()
    assert await desk.inbox.drain(0.05) == 1
    assert desk.finished_turns == ["m1"]
    assert len(desk.inbox) == 0
    assert not await settled(desk.state.admit(KeptCallback("m2", "chat", 0, b""), None, desk.clock.now()))


async def test_draining_an_empty_inbox_returns_at_once() -> None:
    """There is nothing to wait for."""
    assert await Desk().inbox.drain(1000) == 0


async def test_a_state_that_fails_at_the_end_costs_no_task(caplog: pytest.LogCaptureFixture) -> None:
    """The message was dealt with; that it could not be recorded is logged."""

    class Failing(MemoryStateStore):
        async def finish(self, message_id: str, now: float) -> None:
            raise StateUnavailable(reason="state")

        async def release(self, message_id: str, now: float) -> None:
            raise StateUnavailable(reason="state")

    desk = Desk(state=Failing())
    desk.failing["m2"] = failure
    await desk.take("m1")
    await desk.take("m2")
    await desk.settle()
    assert desk.published == ["m1"]
    assert sorted(reasons_told(caplog)) == ["RuntimeError", "state", "state"]


async def test_a_failing_message_does_not_let_others_overtake() -> None:
    """Those behind it still wait for the ones before it."""
    desk = Desk()
    desk.fetching["m1"] = asyncio.Event()
    desk.failing["m2"] = failure
    for message_id in ("m1", "m2", "m3"):
        await desk.take(message_id)
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
    await desk.take("m1")
    await desk.settle()
    assert desk.count("failed") == 1
    assert await settled(desk.state.admit(KeptCallback("m1", "chat", 0, b""), None, desk.clock.now()))


async def test_draining_waits_for_a_message_that_is_just_being_admitted() -> None:
    """It may be in the state already, and then it was acknowledged."""
    desk = Desk()
    desk.inbox.reserve()
    draining = asyncio.create_task(desk.inbox.drain(WAIT_SECONDS))
    await asyncio.sleep(0)
    await desk.take("m1")
    desk.inbox.give_back()
    assert await draining == 0
    assert desk.finished_turns == ["m1"]


async def test_a_message_that_is_admitted_after_a_drain_is_not_begun() -> None:
    """The state was too slow; it has the message, and keeps it for the next start."""
    desk = Desk()
    desk.inbox.reserve()
    assert await desk.inbox.drain(0) == 0
    desk.inbox.give_back()
    await desk.take("m1")
    await desk.settle()
    assert desk.published == []


@pytest.mark.parametrize("end", ["finished", "failed", "silent", "ended"])
async def test_a_message_gives_back_the_room_of_its_media(end: str) -> None:
    """Once the host has dealt with it, or there is nothing to deal with any more."""
    desk = Desk()
    arrived, turn = asyncio.Event(), asyncio.Event()

    async def bring_media(share: MediaShare) -> None:
        await desk.media_room.take(share)
        desk.media_room.settle(share, 1_000)
        arrived.set()
        await turn.wait()
        if end == "failed":
            await failure()

    desk.bringing["m1"] = bring_media
    if end == "silent":
        desk.silent.add("m1")
    await desk.take("m1")
    await arrived.wait()
    assert desk.media_room.taken_bytes == 1_000
    if end == "ended":
        assert await desk.inbox.drain(0) == 1
    turn.set()
    await desk.settle()
    assert desk.media_room.taken_bytes == 0


async def test_media_are_in_hand_until_the_host_has_dealt_with_their_message() -> None:
    """An agent that hangs keeps them in memory."""
    desk = Desk()

    async def bring_media(share: MediaShare) -> None:
        await desk.media_room.take(share)
        desk.media_room.settle(share, 1_000)

    desk.bringing["m1"] = bring_media
    desk.turns["m1"] = asyncio.Event()
    await desk.take("m1")
    await desk.until(lambda: desk.published == ["m1"])
    assert desk.media_room.taken_bytes == 1_000
    desk.turns["m1"].set()
    await desk.settle()
    assert desk.media_room.taken_bytes == 0


async def test_a_message_that_is_late_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The oldest one alone, of those that came at once the first; the next when that is gone, if it is late too."""
    desk = Desk()
    desk.turns = {f"m{number}": asyncio.Event() for number in range(1, 9)}
    for message_id in desk.turns:
        await desk.take(message_id, chat_id=message_id)

    def told() -> list[str]:
        desk.inbox.tell_late()
        late = (record for record in caplog.records if record.message == "wecom message late")
        return [record.__dict__["fields"]["trail"] for record in late]

    assert told() == []
    desk.clock.time += LATE_SECONDS
    assert told() == told() == [trail_id("wecom", "m1")]
    desk.turns["m1"].set()
    await desk.until(lambda: len(desk.inbox) == len(desk.turns) - 1)
    assert told() == [trail_id("wecom", "m1"), trail_id("wecom", "m2")]
    for turn in desk.turns.values():
        turn.set()
    await desk.settle()
