"""A reply's way out: which window, how many attempts, what the receipt says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.contract.messages import OutboundMessage, Receipt
from maven_channel_wecom.errors import AnswerLost, RequestNotSent, StateUnavailable
from maven_channel_wecom.outbound import Outbound
from maven_channel_wecom.policy.rendering import CONTINUED_NOTICE, CUT_NOTICE
from maven_channel_wecom.policy.reply_window import ReplyWindow, chat_key
from maven_channel_wecom.protocol.limits import MARKDOWN_BYTES
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.store import Admission, StoredCallback
from maven_channel_wecom.telemetry import events
from tests.fakes.clock import FakeClock
from tests.fakes.recorder import Recorder
from tests.fakes.replies import ScriptedEgress, Step
from tests.state.backends import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maven_channel_wecom.config import Overflow
    from maven_channel_wecom.egress.egress import SendProgress
    from maven_channel_wecom.state.store import StateStore

LONG = "x" * (MARKDOWN_BYTES + 1)


class Office:
    """An outbound with a scripted WeCom behind it."""

    def __init__(
        self,
        steps: Sequence[Step] = (0,),
        *,
        overflow: Overflow = "truncate",
        state: StateStore | None = None,
        clock: FakeClock | None = None,
        poster: ScriptedEgress | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.recorder = Recorder()
        self.state: StateStore = state or MemoryStateStore()
        self.poster = poster or ScriptedEgress(steps)
        self.outbound = Outbound(
            poster=self.poster,
            state=self.state,
            emit=self.recorder,
            clock=self.clock,
            random=lambda: 1.0,
            overflow=overflow,
        )

    async def receive(
        self,
        message_id: str,
        *,
        chat_id: str = "chat",
        is_group: bool = True,
        sender_id: str = "alice",
        finished: bool = False,
        repeated: bool = False,
    ) -> None:
        now = self.clock.now()
        window = ReplyWindow(
            message_id,
            chat_key(chat_id, is_group=is_group),
            sender_id,
            f"https://canary/{message_id}",
            now,
            now + 3590,
            repeated=repeated,
        )
        await self.state.admit([Admission(StoredCallback(message_id, now, b""), window)], now)
        if finished:
            await self.state.finish(message_id, now)

    async def answer(
        self, content: str = "hello", reply_to: str | None = "m1", *, chat_id: str = "chat", **metadata: str
    ) -> Receipt:
        return await self.outbound.send(
            OutboundMessage(channel="wecom", chat_id=chat_id, content=content, reply_to=reply_to, metadata=metadata)
        )

    def ends(self) -> list[events.ReplyEnded]:
        return self.recorder.of(events.ReplyEnded)


async def test_an_answer_goes_through_the_window_of_its_message() -> None:
    """Two people ask; the later one is answered first, and each gets their own."""
    office = Office()
    await office.receive("m1")
    await office.receive("m2", sender_id="bob")
    office.clock.time += 30
    assert await office.answer("for bob", "m2") == Receipt(outcome="delivered", attempts=1)
    assert await office.answer("for alice", "m1") == Receipt(outcome="delivered", attempts=1)
    assert office.poster.posts == [("https://canary/m2", "for bob"), ("https://canary/m1", "for alice")]
    assert [(end.message_id, end.outcome, end.seconds) for end in office.ends()] == [
        ("m2", "delivered", 30),
        ("m1", "delivered", 30),
    ]


async def test_a_window_is_good_for_one_answer() -> None:
    """The second one has nowhere to go, and nothing is sent."""
    office = Office()
    await office.receive("m1")
    await office.answer()
    assert await office.answer() == Receipt(outcome="undeliverable", reason="no_reply_window")
    assert len(office.poster.posts) == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("chat_id", "reply_to"),
    [("\ud800", "m1"), ("\ud800", None), ("chat", "m1\udfff"), ("", None), ("", "m1"), ("chat", "")],
    ids=["chat", "chat-alone", "message", "no-chat", "no-chat-of-a-message", "no-message"],
)
async def test_an_id_that_is_none_has_no_window(
    chat_id: str, reply_to: str | None, backend: str, tmp_path: Path
) -> None:
    """Only a host has such ids; each backend would take them in its own way."""
    async with BACKENDS[backend](tmp_path) as place:
        state = await place.open()
        office = Office(state=state)
        await office.receive("m1")
        receipt = await office.answer(chat_id=chat_id, reply_to=reply_to)
        assert receipt == Receipt(outcome="undeliverable", reason="no_reply_window")
        assert office.clock.slept == []
        assert (await office.answer()).outcome == "delivered"
        await state.close()


async def test_a_blank_answer_is_never_sent_and_costs_no_window() -> None:
    """A later answer still finds it."""
    office = Office()
    await office.receive("m1")
    assert await office.answer(" \n") == Receipt(outcome="undeliverable", reason="empty")
    assert office.poster.posts == []
    assert (await office.answer()).outcome == "delivered"


async def test_what_surely_was_not_sent_is_tried_three_times_with_growing_pauses() -> None:
    """And each repeat is reported with its reason."""
    office = Office([-1, RequestNotSent(reason="connect"), 0])
    await office.receive("m1")
    assert await office.answer() == Receipt(outcome="delivered", attempts=3)
    assert office.clock.slept == [0.5, 2.0]
    assert [event.attempt for event in office.recorder.of(events.AttemptStarted)] == [1, 2, 3]
    assert [event.reason for event in office.recorder.of(events.AttemptRetried)] == ["busy", "connect"]


async def test_after_three_failures_the_window_goes_back() -> None:
    """The host may try again later."""
    office = Office([-1, -1, (503, b""), 0])
    await office.receive("m1")
    assert await office.answer() == Receipt(outcome="undeliverable", reason="http_5xx", attempts=3)
    assert await office.answer() == Receipt(outcome="delivered", attempts=1)


@pytest.mark.parametrize(
    ("step", "outcome", "reason"),
    [
        pytest.param(44004, "refused", "empty", id="refused"),
        pytest.param((404, b""), "refused", "http_4xx", id="not-found"),
        pytest.param((200, b"<html>"), "unknown", "unreadable_answer", id="html"),
        pytest.param(AnswerLost(reason="timeout"), "unknown", "timeout", id="lost"),
    ],
)
async def test_refused_and_unknown_are_not_repeated_and_spend_the_window(step: Step, outcome: str, reason: str) -> None:
    """WeCom said no, or the answer may already be there."""
    office = Office([step])
    await office.receive("m1")
    receipt = await office.answer()
    assert (receipt.outcome, receipt.reason, receipt.attempts) == (outcome, reason, 1)
    assert (await office.answer()).reason == "no_reply_window"
    assert (office.ends()[0].outcome, office.ends()[0].reason) == (outcome, reason)


async def test_a_forbidden_address_is_not_tried_again() -> None:
    """It would be forbidden again."""
    office = Office([RequestNotSent(reason="forbidden_address")])
    await office.receive("m1")
    assert await office.answer() == Receipt(outcome="undeliverable", reason="forbidden_address", attempts=1)


async def test_there_is_no_attempt_after_the_windows_end() -> None:
    """And the last one may not take longer than what is left."""
    office = Office([-1])
    await office.receive("m1")
    office.clock.time += 3590 - 0.6
    assert await office.answer() == Receipt(outcome="undeliverable", reason="busy", attempts=2)
    assert office.poster.timeouts == pytest.approx([0.6, 0.1])


async def test_a_long_answer_is_cut_and_counted() -> None:
    """The receipt tells how much was lost."""
    office = Office()
    await office.receive("m1")
    receipt = await office.answer(LONG)
    content = office.poster.posts[0][1]
    assert content.endswith(CUT_NOTICE)
    assert len(content.encode()) <= MARKDOWN_BYTES
    assert receipt.truncated_bytes == len(LONG) - len(content.removesuffix(CUT_NOTICE))
    assert office.ends()[0].truncated_bytes == receipt.truncated_bytes


async def test_with_overflow_continue_a_long_answer_goes_on_through_spare_windows() -> None:
    """Of the same person, and only where no answer is due."""
    office = Office(overflow="continue")
    await office.receive("old", finished=True)
    await office.receive("m1")
    await office.receive("due")
    await office.receive("theirs", sender_id="bob", finished=True)
    assert await office.answer(LONG) == Receipt(outcome="delivered", attempts=2)
    urls, contents = zip(*office.poster.posts, strict=True)
    assert urls == ("https://canary/m1", "https://canary/old")
    assert "".join(contents).replace(CONTINUED_NOTICE, "") == LONG


async def test_without_spare_windows_a_long_answer_is_cut_all_the_same() -> None:
    """And says so."""
    office = Office(overflow="continue")
    await office.receive("m1")
    receipt = await office.answer(LONG)
    assert receipt.outcome == "delivered"
    assert receipt.truncated_bytes > 0


async def test_a_failing_part_stops_the_rest_and_gives_its_windows_back() -> None:
    """A reader is not shown the end of a text without its middle; what was not shown counts as cut off."""
    office = Office([0, 40008, 0], overflow="continue")
    for message_id in ("spare1", "spare2"):
        await office.receive(message_id, finished=True)
    await office.receive("m1")
    text = "x" * (2 * MARKDOWN_BYTES + 1)
    receipt = await office.answer(text)
    shown = office.poster.posts[0][1].removesuffix(CONTINUED_NOTICE)
    assert (receipt.outcome, receipt.attempts) == ("delivered", 2)
    assert receipt.truncated_bytes >= len(text) - len(shown)
    assert office.state.open_windows == 1


async def test_a_first_part_that_fails_is_the_whole_answer() -> None:
    """Nothing was shown, so the receipt says what became of it, and every other window is open again."""
    office = Office([40008], overflow="continue")
    await office.receive("spare", finished=True)
    await office.receive("m1")
    assert await office.answer(LONG) == Receipt(outcome="refused", reason="invalid_type", attempts=1)
    assert office.state.open_windows == 1


async def test_a_long_answer_whose_rest_is_blank_needs_no_second_window() -> None:
    """The spare window taken for it goes back."""
    office = Office(overflow="continue")
    await office.receive("spare", finished=True)
    await office.receive("m1")
    receipt = await office.answer("a" * 20_300 + "\n" * 1_000)
    assert receipt.outcome == "delivered"
    assert len(office.poster.posts) == 1
    assert office.state.open_windows == 1


async def test_a_state_that_is_away_costs_the_spare_windows_and_not_the_answer() -> None:
    """It goes out cut, through its own window."""

    class WithoutSpares(MemoryStateStore):
        async def claim_window(
            self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
        ) -> ReplyWindow | None:
            if spare_of is not None:
                raise StateUnavailable
            return await super().claim_window(chats, reply_to, now)

    office = Office(overflow="continue", state=WithoutSpares())
    await office.receive("m1")
    receipt = await office.answer(LONG)
    assert receipt.outcome == "delivered"
    assert receipt.truncated_bytes > 0


async def assert_canceled_with_three_windows(office: Office) -> None:
    """Answer at the length of three windows, be canceled on the way, and find all three open."""
    for message_id in ("spare1", "spare2"):
        await office.receive(message_id, finished=True)
    await office.receive("m1")
    with pytest.raises(asyncio.CancelledError):
        await office.answer("x" * (2 * MARKDOWN_BYTES + 1))
    assert office.state.open_windows == 3


async def test_a_stop_between_parts_opens_every_window_that_showed_nothing() -> None:
    """The next start may still use them."""

    class Stopped(FakeClock):
        async def sleep(self, seconds: float) -> None:
            raise asyncio.CancelledError

    office = Office([-1], overflow="continue", clock=Stopped())
    await assert_canceled_with_three_windows(office)


async def test_a_window_that_closed_meanwhile_counts_no_attempt() -> None:
    """Nothing was sent."""

    class Slow(MemoryStateStore):
        async def claim_window(
            self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
        ) -> ReplyWindow | None:
            window = await super().claim_window(chats, reply_to, now)
            office.clock.time += 4000
            return window

    office = Office(state=Slow())
    await office.receive("m1")
    assert await office.answer() == Receipt(outcome="undeliverable", reason="no_reply_window", attempts=0)
    assert office.recorder.of(events.AttemptStarted) == []


async def test_an_answer_without_a_message_takes_the_newest_window() -> None:
    """The host lost track of what it answers."""
    office = Office()
    await office.receive("m1")
    office.clock.time += 1
    await office.receive("m2")
    await office.answer(reply_to=None)
    assert office.poster.posts[0][0].endswith("m2")


async def test_a_repeat_after_a_crash_is_counted_and_read_for_what_it_means() -> None:
    """WeCom calls the window spent: the first reply arrived."""
    office = Office([60140])
    await office.receive("m1", repeated=True)
    assert await office.answer() == Receipt(outcome="unknown", reason="repeated", attempts=1)
    assert office.recorder.of(events.AttemptStarted) == [
        events.AttemptStarted(message_id="m1", attempt=1, repeated=True)
    ]


async def test_a_stop_between_two_attempts_opens_the_window_again() -> None:
    """Nothing arrived, so whoever takes the message up may answer it."""

    class Stopped(FakeClock):
        async def sleep(self, seconds: float) -> None:
            raise asyncio.CancelledError

    office = Office([-1], clock=Stopped())
    await office.receive("m1")
    with pytest.raises(asyncio.CancelledError):
        await office.answer()
    assert office.state.open_windows == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("left", [False, True], ids=["connecting", "sent"])
async def test_a_host_that_gives_an_answer_up_may_answer_again_unless_it_may_have_arrived(
    *, left: bool, backend: str, tmp_path: Path
) -> None:
    """What was sent may be with the user already, so it has no second try."""

    class Hanging(ScriptedEgress):
        posting = asyncio.Event()

        async def post(
            self, url: str, body: bytes, *, timeout_seconds: float, progress: SendProgress | None = None
        ) -> tuple[int, bytes]:
            if self.posting.is_set():
                return await super().post(url, body, timeout_seconds=timeout_seconds, progress=progress)
            assert progress is not None
            progress.left = left
            self.posting.set()
            return await asyncio.Event().wait(), b""

    async with BACKENDS[backend](tmp_path) as place:
        state = await place.open()
        hanging = Hanging()
        office = Office(state=state, poster=hanging)
        await office.receive("m1")
        answering = asyncio.create_task(office.answer())
        await hanging.posting.wait()
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        assert answering.cancelled()
        assert (await office.answer()).outcome == ("undeliverable" if left else "delivered")
        await state.close()


async def test_an_answer_given_up_while_it_looks_for_spare_windows_keeps_none() -> None:
    """Nothing was sent through any of them."""

    class SlowAfterTheFirst(MemoryStateStore):
        async def claim_window(
            self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
        ) -> ReplyWindow | None:
            if spare_of is not None and self.open_windows == 1:
                raise asyncio.CancelledError
            return await super().claim_window(chats, reply_to, now, spare_of=spare_of)

    office = Office(overflow="continue", state=SlowAfterTheFirst())
    await assert_canceled_with_three_windows(office)


class Away(MemoryStateStore):
    """A state that is away for a number of calls."""

    failures = 0

    async def claim_window(
        self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        self._fail()
        return await super().claim_window(chats, reply_to, now, spare_of=spare_of)

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        self._fail()
        await super().spend_window(window, now)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StateUnavailable


async def test_an_answer_outlasts_a_state_that_is_away() -> None:
    """Its database is being restarted; the user notices a delay."""
    state = Away()
    office = Office(state=state)
    await office.receive("m1")
    state.failures = 20
    assert (await office.answer()).outcome == "delivered"
    assert len(office.poster.posts) == 1


async def test_a_state_that_stays_away_is_told_in_the_receipt() -> None:
    """Never raised at the host, and without a POST nobody could account for."""
    state = Away()
    office = Office(state=state)
    await office.receive("m1")
    state.failures = 1_000_000
    assert await office.answer() == Receipt(outcome="undeliverable", reason="state")
    assert office.poster.posts == []
    assert office.ends()[0].reason == "state"


async def test_a_delivered_reply_stays_delivered_when_it_cannot_be_recorded() -> None:
    """The receipt tells the truth; after a restart WeCom would refuse a repeat."""

    class Forgetful(Away):
        async def spend_window(self, window: ReplyWindow, now: float) -> None:
            raise StateUnavailable

    office = Office(state=Forgetful())
    await office.receive("m1")
    assert await office.answer() == Receipt(outcome="delivered", attempts=1)


async def test_no_event_holds_the_url_or_the_text() -> None:
    for step in (0, -1, 44004, AnswerLost(), RequestNotSent()):
        office = Office([step])
        await office.receive("m1")
        await office.answer("canary text")
        assert office.recorder.events
        assert "canary" not in repr(office.recorder.events)


@pytest.mark.parametrize("is_group", [True, False], ids=["group", "single"])
async def test_a_host_that_says_the_kind_of_chat_gets_no_window_of_the_other(*, is_group: bool) -> None:
    """A group may be called like a person."""
    office = Office()
    await office.receive("m1", chat_id="alice", is_group=is_group)
    kinds = ("group", "single") if is_group else ("single", "group")
    wrong = await office.answer(reply_to=None, chat_id="alice", chat_type=kinds[1])
    assert wrong == Receipt(outcome="undeliverable", reason="no_reply_window")
    right = await office.answer(reply_to=None, chat_id="alice", chat_type=kinds[0])
    assert right.outcome == "delivered"


@pytest.mark.parametrize("is_group", [True, False], ids=["group", "single"])
async def test_a_host_that_does_not_say_the_kind_of_chat_finds_its_window(*, is_group: bool) -> None:
    office = Office()
    await office.receive("m1", chat_id="alice", is_group=is_group)
    assert (await office.answer(chat_id="alice")).outcome == "delivered"
