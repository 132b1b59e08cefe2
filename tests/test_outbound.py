"""Tests for the delivery of replies: reply windows, attempts, long answers, cancellation and receipts."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.contract.messages import OutboundMessage, Receipt
from maven_channel_wecom.errors import AnswerLost, RequestNotSent, StateUnavailable
from maven_channel_wecom.outbound import CONCURRENT_POSTS, Outbound
from maven_channel_wecom.policy.language import Languages
from maven_channel_wecom.policy.reply_window import ReplyWindow, chat_key
from maven_channel_wecom.protocol.callback import Callback, TextItem
from maven_channel_wecom.protocol.limits import MARKDOWN_BYTES
from maven_channel_wecom.sentences import ANSWER_CONTINUED, ANSWER_CUT, ANSWER_EMPTY
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.store import Admission, StoredCallback
from maven_channel_wecom.telemetry import events
from tests.fakes.clock import FakeClock, SuspendingClock
from tests.fakes.recorder import Recorder
from tests.fakes.replies import ScriptedEgress, Step
from tests.fakes.streams import make_streams
from tests.state.backends import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from maven_channel_wecom.config import Overflow
    from maven_channel_wecom.egress.egress import SendProgress
    from maven_channel_wecom.policy.stream import ProgressMode
    from maven_channel_wecom.state.store import StateStore

CUT_NOTICE = ANSWER_CUT.zh
CONTINUED_NOTICE = ANSWER_CONTINUED.zh
LONG = "x" * (MARKDOWN_BYTES + 1)


class OutboundHarness:
    """An Outbound with a state and scripted answers of WeCom."""

    def __init__(
        self,
        steps: Sequence[Step] = (0,),
        *,
        overflow: Overflow = "truncate",
        state: StateStore | None = None,
        clock: FakeClock | None = None,
        poster: ScriptedEgress | None = None,
        feedback_id: Callable[[str], str] | None = None,
        progress: ProgressMode = "off",
    ) -> None:
        self.clock = clock or FakeClock()
        self.recorder = Recorder()
        self.state: StateStore = state or MemoryStateStore()
        self.poster = poster or ScriptedEgress(steps)
        self.languages = Languages(None, ())
        self.streams = make_streams(
            progress, state=self.state, emit=self.recorder, clock=self.clock, languages=self.languages
        )
        self.outbound = Outbound(
            poster=self.poster,
            streams=self.streams,
            state=self.state,
            emit=self.recorder,
            clock=self.clock,
            random=lambda: 1.0,
            overflow=overflow,
            languages=self.languages,
            feedback_id=feedback_id,
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


async def test_an_answer_goes_through_the_window_of_the_message_it_answers() -> None:
    harness = OutboundHarness()
    await harness.receive("m1")
    await harness.receive("m2", sender_id="bob")
    harness.clock.time += 30
    assert await harness.answer("for bob", "m2") == Receipt(outcome="delivered", attempts=1)
    assert await harness.answer("for alice", "m1") == Receipt(outcome="delivered", attempts=1)
    assert harness.poster.posts == [("https://canary/m2", "for bob"), ("https://canary/m1", "for alice")]
    assert [(end.message_id, end.outcome, end.seconds) for end in harness.ends()] == [
        ("m2", "delivered", 30),
        ("m1", "delivered", 30),
    ]


async def test_a_second_answer_to_a_message_is_undeliverable_and_not_sent() -> None:
    harness = OutboundHarness()
    await harness.receive("m1")
    await harness.answer()
    assert await harness.answer() == Receipt(outcome="undeliverable", reason="no_reply_window")
    assert len(harness.poster.posts) == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("chat_id", "reply_to"),
    [("\ud800", "m1"), ("\ud800", None), ("chat", "m1\udfff"), ("", None), ("", "m1"), ("chat", "")],
    ids=[
        "invalid chat id",
        "invalid chat id alone",
        "invalid message id",
        "empty chat id alone",
        "empty chat id",
        "empty message id",
    ],
)
async def test_an_answer_with_an_invalid_id_has_no_window(
    chat_id: str, reply_to: str | None, backend: str, tmp_path: Path
) -> None:
    """Only a host can use such ids. The backends would handle them differently."""
    async with BACKENDS[backend](tmp_path) as opened_backend:
        state = await opened_backend.open()
        harness = OutboundHarness(state=state)
        await harness.receive("m1")
        receipt = await harness.answer(chat_id=chat_id, reply_to=reply_to)
        assert receipt == Receipt(outcome="undeliverable", reason="no_reply_window")
        assert harness.clock.slept == []
        assert (await harness.answer()).outcome == "delivered"
        await state.close()


@pytest.mark.parametrize("content", ["", " \n", "\u200b", "\x1b[31m", "<think>hm</think>\n"])
async def test_in_place_of_an_answer_with_nothing_to_see_a_sentence_is_sent(content: str) -> None:
    harness = OutboundHarness()
    await harness.receive("m1")
    assert await harness.answer(content, language="en") == Receipt(outcome="delivered", attempts=1)
    assert harness.poster.posts == [("https://canary/m1", ANSWER_EMPTY.en)]
    explained = events.PersonExplained(message_id="m1", reason="empty_answer")
    assert harness.recorder.of(events.PersonExplained) == [explained]


async def test_an_empty_answer_without_a_window_is_not_explained() -> None:
    harness = OutboundHarness()
    assert await harness.answer("") == Receipt(outcome="undeliverable", reason="no_reply_window")
    assert harness.recorder.of(events.PersonExplained) == []


@pytest.mark.parametrize("content", ["", "not for the chat"])
async def test_a_silent_answer_is_not_sent_and_leaves_the_window_open(content: str) -> None:
    harness = OutboundHarness()
    await harness.receive("m1")
    assert await harness.answer(content, silent="true") == Receipt(outcome="undeliverable", reason="silent")
    assert harness.poster.posts == []
    assert (await harness.answer(silent="no")).outcome == "delivered"


@pytest.mark.parametrize(
    ("metadata", "notice"),
    [({"language": "en"}, ANSWER_CUT.en), ({"language": "zh"}, ANSWER_CUT.zh), ({}, ANSWER_CUT.en)],
    ids=["en", "zh", "the language they wrote in"],
)
async def test_notices_are_in_the_language_of_the_message_or_of_its_sender(
    metadata: dict[str, str], notice: str
) -> None:
    harness = OutboundHarness()
    await harness.receive("m1", sender_id="alice")
    written = Callback(message_id="m1", type="text", sender_id="alice", items=(TextItem("hello"),))
    harness.languages.of_callback(written)
    await harness.answer(LONG, **metadata)
    assert harness.poster.posts[0][1].endswith(notice)


async def test_a_reply_that_was_not_sent_is_attempted_three_times_with_growing_delays() -> None:
    harness = OutboundHarness([-1, RequestNotSent(reason="connect"), 0])
    await harness.receive("m1")
    assert await harness.answer() == Receipt(outcome="delivered", attempts=3)
    assert harness.clock.slept == [0.5, 2.0]
    assert [event.attempt for event in harness.recorder.of(events.AttemptStarted)] == [1, 2, 3]
    assert [event.reason for event in harness.recorder.of(events.AttemptRetried)] == ["busy", "connect"]


async def test_after_three_failed_attempts_the_window_is_restored() -> None:
    harness = OutboundHarness([-1, -1, (503, b""), 0])
    await harness.receive("m1")
    assert await harness.answer() == Receipt(outcome="undeliverable", reason="http_5xx", attempts=3)
    assert await harness.answer() == Receipt(outcome="delivered", attempts=1)


GATEWAY_TIMEOUT: Step = (504, b"<html>")


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([GATEWAY_TIMEOUT, 60140], id="504"),
        pytest.param([(502, b""), 60140], id="502"),
        pytest.param([(500, b""), 60140], id="500"),
        pytest.param([-1, 60140], id="busy"),
        pytest.param([6000, 60140], id="conflict"),
        pytest.param([GATEWAY_TIMEOUT, -1, 60140], id="504-busy"),
        pytest.param([GATEWAY_TIMEOUT, RequestNotSent(reason="connect"), 60140], id="504-connect"),
    ],
)
async def test_a_window_found_spent_after_an_attempt_that_may_have_arrived_is_an_unknown_outcome(
    steps: list[Step],
) -> None:
    harness = OutboundHarness(steps)
    await harness.receive("m1")
    assert await harness.answer() == Receipt(outcome="unknown", reason="repeated", attempts=len(steps))
    assert [event.outcome for event in harness.recorder.of(events.AttemptEnded)][-1] == "unknown"
    assert (await harness.answer()).reason == "no_reply_window"


async def test_a_window_found_spent_after_attempts_that_were_not_sent_is_refused() -> None:
    harness = OutboundHarness([RequestNotSent(reason="connect"), RequestNotSent(reason="tls"), 60140])
    await harness.receive("m1")
    assert await harness.answer() == Receipt(outcome="refused", reason="window_spent", attempts=3)


async def test_a_later_reply_that_finds_the_window_of_failed_attempts_spent_is_an_unknown_outcome() -> None:
    """Three errors of a gateway leave it open whether the first reply arrived; the window is tried once more."""
    harness = OutboundHarness([GATEWAY_TIMEOUT, GATEWAY_TIMEOUT, RequestNotSent(reason="connect"), 60140])
    await harness.receive("m1")
    assert await harness.answer() == Receipt(outcome="undeliverable", reason="connect", attempts=3)
    assert await harness.answer() == Receipt(outcome="unknown", reason="repeated", attempts=1)


@pytest.mark.parametrize(
    ("step", "outcome", "reason"),
    [
        pytest.param(44004, "refused", "empty", id="refused"),
        pytest.param((404, b""), "refused", "http_4xx", id="not-found"),
        pytest.param((200, b"<html>"), "unknown", "unreadable_answer", id="html"),
        pytest.param(AnswerLost(reason="timeout"), "unknown", "timeout", id="lost"),
    ],
)
async def test_a_refused_or_unknown_outcome_is_not_retried_and_spends_the_window(
    step: Step, outcome: str, reason: str
) -> None:
    harness = OutboundHarness([step])
    await harness.receive("m1")
    receipt = await harness.answer()
    assert (receipt.outcome, receipt.reason, receipt.attempts) == (outcome, reason, 1)
    assert (await harness.answer()).reason == "no_reply_window"
    assert (harness.ends()[0].outcome, harness.ends()[0].reason) == (outcome, reason)


async def test_a_forbidden_address_is_not_retried() -> None:
    harness = OutboundHarness([RequestNotSent(reason="forbidden_address")])
    await harness.receive("m1")
    assert await harness.answer() == Receipt(outcome="undeliverable", reason="forbidden_address", attempts=1)


async def test_attempts_end_when_the_window_expires() -> None:
    """The timeout of the last attempt is the time left."""
    harness = OutboundHarness([-1])
    await harness.receive("m1")
    harness.clock.time += 3590 - 0.6
    assert await harness.answer() == Receipt(outcome="undeliverable", reason="busy", attempts=2)
    assert harness.poster.timeouts == pytest.approx([0.6, 0.1])


async def test_a_long_answer_is_truncated_and_the_receipt_counts_the_lost_bytes() -> None:
    harness = OutboundHarness()
    await harness.receive("m1")
    receipt = await harness.answer(LONG)
    content = harness.poster.posts[0][1]
    assert content.endswith(CUT_NOTICE)
    assert len(content.encode()) <= MARKDOWN_BYTES
    assert receipt.truncated_bytes == len(LONG) - len(content.removesuffix(CUT_NOTICE))
    assert harness.ends()[0].truncated_bytes == receipt.truncated_bytes


async def test_with_overflow_continue_a_long_answer_uses_spare_windows() -> None:
    """A spare window belongs to a finished message of the same person."""
    harness = OutboundHarness(overflow="continue")
    await harness.receive("old", finished=True)
    await harness.receive("m1")
    await harness.receive("due")
    await harness.receive("theirs", sender_id="bob", finished=True)
    assert await harness.answer(LONG) == Receipt(outcome="delivered", attempts=2)
    urls, contents = zip(*harness.poster.posts, strict=True)
    assert urls == ("https://canary/m1", "https://canary/old")
    assert "".join(contents).replace(CONTINUED_NOTICE, "") == LONG


async def test_with_overflow_continue_a_long_answer_is_truncated_if_there_is_no_spare_window() -> None:
    harness = OutboundHarness(overflow="continue")
    await harness.receive("m1")
    receipt = await harness.answer(LONG)
    assert receipt.outcome == "delivered"
    assert receipt.truncated_bytes > 0


async def test_after_a_failed_part_the_rest_is_not_sent_and_counts_as_truncated() -> None:
    """The windows of the parts that were not sent are restored."""
    harness = OutboundHarness([0, 40008, 0], overflow="continue")
    for message_id in ("spare1", "spare2"):
        await harness.receive(message_id, finished=True)
    await harness.receive("m1")
    text = "x" * (2 * MARKDOWN_BYTES + 1)
    receipt = await harness.answer(text)
    delivered = harness.poster.posts[0][1].removesuffix(CONTINUED_NOTICE)
    assert (receipt.outcome, receipt.attempts) == ("delivered", 2)
    assert receipt.truncated_bytes >= len(text) - len(delivered)
    assert harness.state.open_windows == 1


async def test_if_the_first_part_fails_its_outcome_is_that_of_the_answer() -> None:
    """The windows of the other parts are restored."""
    harness = OutboundHarness([40008], overflow="continue")
    await harness.receive("spare", finished=True)
    await harness.receive("m1")
    assert await harness.answer(LONG) == Receipt(outcome="refused", reason="invalid_type", attempts=1)
    assert harness.state.open_windows == 1


async def test_splitting_a_very_long_answer_does_not_block_the_event_loop() -> None:
    """A loop iteration splits off one part. The state in memory answers without waiting."""
    harness = OutboundHarness(overflow="continue")
    for number in range(60):
        await harness.receive(f"spare{number}", finished=True)
    await harness.receive("m1")
    text = "- a line of an answer\n" * 45_000
    answering = asyncio.create_task(harness.answer(text))
    blocked = []
    while not answering.done():
        started_at = time.process_time()
        await asyncio.sleep(0)
        blocked.append(time.process_time() - started_at)
    receipt = await answering
    assert (receipt.outcome, receipt.truncated_bytes) == ("delivered", 0)
    assert len(harness.poster.posts) == -(-len(text) // MARKDOWN_BYTES)
    assert max(blocked) < 0.25
    assert sum(blocked) < 1.5


async def test_no_spare_window_is_used_for_white_space_at_the_end_of_a_long_answer() -> None:
    harness = OutboundHarness(overflow="continue")
    await harness.receive("spare", finished=True)
    await harness.receive("m1")
    receipt = await harness.answer("a" * 20_300 + "\n" * 1_000)
    assert receipt.outcome == "delivered"
    assert len(harness.poster.posts) == 1
    assert harness.state.open_windows == 1


async def test_a_long_answer_is_truncated_if_the_state_cannot_return_spare_windows() -> None:
    class StateWithoutSpareWindows(MemoryStateStore):
        async def claim_window(
            self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
        ) -> ReplyWindow | None:
            if spare_of is not None:
                raise StateUnavailable
            return await super().claim_window(chats, reply_to, now)

    harness = OutboundHarness(overflow="continue", state=StateWithoutSpareWindows())
    await harness.receive("m1")
    receipt = await harness.answer(LONG)
    assert receipt.outcome == "delivered"
    assert receipt.truncated_bytes > 0


async def assert_cancellation_restores_three_windows(harness: OutboundHarness) -> None:
    """Check that three windows are open after an answer long enough to need them was cancelled."""
    for message_id in ("spare1", "spare2"):
        await harness.receive(message_id, finished=True)
    await harness.receive("m1")
    with pytest.raises(asyncio.CancelledError):
        await harness.answer("x" * (2 * MARKDOWN_BYTES + 1))
    assert harness.state.open_windows == 3


class CancellingClock(FakeClock):
    """A clock on which every sleep is cancelled, as when the channel stops between two attempts."""

    async def sleep(self, seconds: float) -> None:
        raise asyncio.CancelledError


async def test_a_cancelled_long_answer_restores_every_window_through_which_nothing_was_sent() -> None:
    harness = OutboundHarness([-1], overflow="continue", clock=CancellingClock())
    await assert_cancellation_restores_three_windows(harness)


async def test_a_window_that_expires_while_it_is_being_claimed_leads_to_no_attempt() -> None:
    class SlowState(MemoryStateStore):
        async def claim_window(
            self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
        ) -> ReplyWindow | None:
            window = await super().claim_window(chats, reply_to, now)
            harness.clock.time += 4000
            return window

    harness = OutboundHarness(state=SlowState())
    await harness.receive("m1")
    assert await harness.answer() == Receipt(outcome="undeliverable", reason="no_reply_window", attempts=0)
    assert harness.recorder.of(events.AttemptStarted) == []


async def test_an_answer_that_names_no_message_uses_the_newest_window_of_the_chat() -> None:
    harness = OutboundHarness()
    await harness.receive("m1")
    harness.clock.time += 1
    await harness.receive("m2")
    await harness.answer(reply_to=None)
    assert harness.poster.posts[0][0].endswith("m2")


async def test_a_repeated_reply_to_a_spent_window_has_an_unknown_outcome() -> None:
    """The process that died may have delivered its reply."""
    harness = OutboundHarness([60140])
    await harness.receive("m1", repeated=True)
    assert await harness.answer() == Receipt(outcome="unknown", reason="repeated", attempts=1)
    assert harness.recorder.of(events.AttemptStarted) == [
        events.AttemptStarted(message_id="m1", attempt=1, repeated=True)
    ]


async def test_an_answer_cancelled_between_two_attempts_restores_its_window() -> None:
    harness = OutboundHarness([-1], clock=CancellingClock())
    await harness.receive("m1")
    with pytest.raises(asyncio.CancelledError):
        await harness.answer()
    assert harness.state.open_windows == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("left", [False, True], ids=["connecting", "sent"])
async def test_a_message_whose_answer_was_cancelled_can_be_answered_again(
    *, left: bool, backend: str, tmp_path: Path
) -> None:
    class HangingEgress(ScriptedEgress):
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

    async with BACKENDS[backend](tmp_path) as opened_backend:
        state = await opened_backend.open()
        egress = HangingEgress()
        harness = OutboundHarness(state=state, poster=egress)
        await harness.receive("m1")
        answering = asyncio.create_task(harness.answer())
        await egress.posting.wait()
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        assert answering.cancelled()
        assert [(end.outcome, end.reason, end.attempts) for end in harness.ends()] == (
            [("unknown", "cancelled", 1)] if left else []
        )
        assert await state.release("m1", harness.clock.now())
        assert [stored.message_id for stored in await state.take_over(harness.clock.now())] == ["m1"]
        assert (await harness.answer()).outcome == "delivered"
        assert [event.repeated for event in harness.recorder.of(events.AttemptStarted)] == [False, left]
        await state.close()


async def test_an_answer_cancelled_while_its_delivery_is_recorded_counts_as_delivered() -> None:
    class HangingState(MemoryStateStore):
        spending, go_on = asyncio.Event(), asyncio.Event()

        async def spend_window(self, window: ReplyWindow, now: float) -> None:
            self.spending.set()
            await self.go_on.wait()
            await super().spend_window(window, now)

    state = HangingState()
    harness = OutboundHarness(state=state)
    await harness.receive("m1")
    answering = asyncio.create_task(harness.answer())
    await state.spending.wait()
    harness.clock.time += 60
    answering.cancel()
    state.go_on.set()
    await asyncio.gather(answering, return_exceptions=True)
    assert [(end.outcome, end.attempts, end.seconds) for end in harness.ends()] == [("delivered", 1, 0)]


class BusyEgress(ScriptedEgress):
    """Answers no request before `go_on` is set; `full` is set when as many requests are open as may be."""

    def __init__(self) -> None:
        super().__init__()
        self.full, self.go_on = asyncio.Event(), asyncio.Event()
        self.open = 0

    async def post(
        self, url: str, body: bytes, *, timeout_seconds: float, progress: SendProgress | None = None
    ) -> tuple[int, bytes]:
        self.open += 1
        if self.open == CONCURRENT_POSTS:
            self.full.set()
        await self.go_on.wait()
        self.open -= 1
        return await super().post(url, body, timeout_seconds=timeout_seconds, progress=progress)


async def answer_while_full(harness: OutboundHarness, poster: BusyEgress, count: int) -> list[asyncio.Task[Receipt]]:
    """Start to answer `count` messages of different chats, and return once no more answers can be sent."""
    for number in range(count):
        await harness.receive(f"m{number}", chat_id=f"chat{number}")
    answering = [
        asyncio.create_task(harness.answer(reply_to=f"m{number}", chat_id=f"chat{number}")) for number in range(count)
    ]
    await poster.full.wait()
    return answering


async def test_answers_wait_while_many_others_are_being_sent() -> None:
    """Nothing counts against them: the wait may take longer than an attempt."""
    poster = BusyEgress()
    harness = OutboundHarness(poster=poster)
    answering = await answer_while_full(harness, poster, 4 * CONCURRENT_POSTS)
    assert poster.open == CONCURRENT_POSTS
    harness.clock.time += 60
    poster.go_on.set()
    assert await asyncio.gather(*answering) == [Receipt(outcome="delivered", attempts=1)] * 4 * CONCURRENT_POSTS


async def test_an_answer_that_waits_until_its_window_ends_is_not_sent() -> None:
    poster = BusyEgress()
    harness = OutboundHarness(poster=poster)
    answering = await answer_while_full(harness, poster, CONCURRENT_POSTS + 1)
    harness.clock.time += 3590
    poster.go_on.set()
    assert (await asyncio.gather(*answering))[-1] == Receipt(outcome="undeliverable", reason="no_reply_window")
    assert len(poster.posts) == CONCURRENT_POSTS


async def test_an_answer_cancelled_while_it_waits_for_others_restores_its_window() -> None:
    poster = BusyEgress()
    harness = OutboundHarness(poster=poster)
    answering = await answer_while_full(harness, poster, CONCURRENT_POSTS + 1)
    answering[-1].cancel()
    await asyncio.gather(answering[-1], return_exceptions=True)
    assert harness.state.open_windows == 1
    poster.go_on.set()
    assert {receipt.outcome for receipt in await asyncio.gather(*answering[:-1])} == {"delivered"}
    last = CONCURRENT_POSTS
    assert (await harness.answer(reply_to=f"m{last}", chat_id=f"chat{last}")).outcome == "delivered"


async def test_a_chat_with_many_answers_does_not_delay_the_answer_to_another() -> None:
    poster = BusyEgress()
    harness = OutboundHarness(poster=poster)
    for number in range(2 * CONCURRENT_POSTS):
        await harness.receive(f"m{number}")
    busy = [asyncio.create_task(harness.answer(reply_to=f"m{number}")) for number in range(2 * CONCURRENT_POSTS)]
    await harness.receive("quiet", chat_id="quiet")
    quiet = asyncio.create_task(harness.answer(reply_to="quiet", chat_id="quiet"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert poster.open == CONCURRENT_POSTS // 2 + 2
    poster.go_on.set()
    assert (await quiet).outcome == "delivered"
    assert [url for url, _ in poster.posts].index("https://canary/quiet") == CONCURRENT_POSTS // 2 + 1
    assert {receipt.outcome for receipt in await asyncio.gather(*busy)} == {"delivered"}


async def test_a_second_answer_does_not_wait_for_an_answer_to_another_message() -> None:
    poster = BusyEgress()
    harness = OutboundHarness(poster=poster)
    await harness.receive("m1")
    other = asyncio.create_task(harness.answer())
    second = asyncio.create_task(harness.answer(reply_to="m2"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert (second.done(), other.done()) == (True, False)
    assert second.result().reason == "no_reply_window"
    poster.go_on.set()
    assert (await other).outcome == "delivered"


async def test_many_answers_to_one_message_claim_its_window_twice_at_most() -> None:
    class CountingState(MemoryStateStore):
        claims = 0

        async def claim_window(
            self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
        ) -> ReplyWindow | None:
            self.claims += 1
            return await super().claim_window(chats, reply_to, now, spare_of=spare_of)

    poster, state = BusyEgress(), CountingState()
    harness = OutboundHarness(poster=poster, state=state)
    await harness.receive("m1")
    answering = [asyncio.create_task(harness.answer()) for _ in range(50)]
    for _ in range(20):
        await asyncio.sleep(0)
    poster.go_on.set()
    outcomes = [receipt.outcome for receipt in await asyncio.gather(*answering)]
    assert outcomes == ["delivered"] + ["undeliverable"] * 49
    assert state.claims <= 2 * len(answering)


async def test_an_answer_waits_for_a_long_one_that_holds_its_window_as_a_spare() -> None:
    poster = BusyEgress()
    harness = OutboundHarness(poster=poster, overflow="continue")
    await harness.receive("m1")
    await harness.receive("spare", finished=True)
    long = asyncio.create_task(harness.answer(LONG))
    while not poster.open:  # noqa: ASYNC110 - there is no notification
        await asyncio.sleep(0)
    waiting = asyncio.create_task(harness.answer(reply_to="spare"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    long.cancel()
    poster.go_on.set()
    assert (await waiting).outcome == "delivered"


async def test_a_restored_window_is_recorded_once_even_if_its_answer_is_cancelled_meanwhile() -> None:
    """The second time, another answer may hold the window."""

    class SlowState(MemoryStateStore):
        restored = 0
        restoring, go_on = asyncio.Event(), asyncio.Event()

        async def restore_window(self, window: ReplyWindow, now: float) -> None:
            self.restored += 1
            await super().restore_window(window, now)
            self.restoring.set()
            await self.go_on.wait()

    state = SlowState()
    harness = OutboundHarness([RequestNotSent(reason="bad_url"), 0], state=state)
    await harness.receive("m1")
    cancelled = asyncio.create_task(harness.answer())
    await state.restoring.wait()
    cancelled.cancel()
    state.go_on.set()
    assert (await harness.answer()).outcome == "delivered"
    await asyncio.gather(cancelled, return_exceptions=True)
    assert state.restored == 1


async def test_an_answer_cancelled_while_it_claims_spare_windows_restores_all_windows() -> None:
    class CancellingState(MemoryStateStore):
        async def claim_window(
            self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
        ) -> ReplyWindow | None:
            if spare_of is not None and self.open_windows == 1:
                raise asyncio.CancelledError
            return await super().claim_window(chats, reply_to, now, spare_of=spare_of)

    harness = OutboundHarness(overflow="continue", state=CancellingState())
    await assert_cancellation_restores_three_windows(harness)


class UnavailableState(MemoryStateStore):
    """A state that is unavailable for the next `failures` operations on reply windows."""

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


class Outage(MemoryStateStore):
    """A wrapper of a state that fails claims of windows until `claims_until`, and their ends until `until`."""

    def __init__(self, state: StateStore, clock: FakeClock) -> None:
        super().__init__()
        self._state = state
        self._clock = clock
        self.until = self.claims_until = 0.0
        self.failures = 0

    async def claim_window(
        self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        self._fail(self.claims_until)
        return await self._state.claim_window(chats, reply_to, now, spare_of=spare_of)

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        self._fail(self.until)
        await self._state.spend_window(window, now)

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        self._fail(self.until)
        await self._state.restore_window(window, now)

    def _fail(self, until: float) -> None:
        if self._clock.now() < until:
            self.failures += 1
            raise StateUnavailable


async def test_an_answer_waits_for_a_state_that_is_briefly_unavailable() -> None:
    state = UnavailableState()
    harness = OutboundHarness(state=state)
    await harness.receive("m1")
    state.failures = 20
    assert (await harness.answer()).outcome == "delivered"
    assert len(harness.poster.posts) == 1


@pytest.mark.parametrize("outage_seconds", [360, 3_000])
@pytest.mark.parametrize("claimed_first", [False, True], ids=["claiming", "spending"])
@pytest.mark.parametrize("backend", BACKENDS)
async def test_every_answer_is_delivered_and_recorded_once_the_state_is_available_within_the_hour(
    backend: str, tmp_path: Path, *, outage_seconds: float, claimed_first: bool
) -> None:
    """The state becomes unavailable before the windows are claimed, or while the replies are being sent."""
    async with BACKENDS[backend](tmp_path) as opened_backend:
        harness = OutboundHarness(state=await opened_backend.open())
        available = harness.state
        outage = Outage(available, harness.clock)
        harness.outbound._state = outage
        for number in range(60):
            await harness.receive(f"m{number}", chat_id=f"chat{number}")
        until = harness.clock.now() + outage_seconds
        outage.until, outage.claims_until = until, 0.0 if claimed_first else until
        receipts = await asyncio.gather(
            *(harness.answer(reply_to=f"m{number}", chat_id=f"chat{number}") for number in range(60))
        )
        assert [receipt.outcome for receipt in receipts] == ["delivered"] * 60
        assert len(harness.poster.posts) == 60
        assert harness.recorder.of(events.ReplyNotRecorded) == []
        assert available.open_windows == 0
        for number in range(60):
            # A window that is spent leaves nothing to take over.
            assert await available.release(f"m{number}", harness.clock.now())
        assert await available.take_over(harness.clock.now()) == []


async def test_the_window_of_a_cancelled_answer_is_restored_once_the_state_is_available() -> None:
    harness = OutboundHarness([RequestNotSent()], clock=SuspendingClock())
    outage = Outage(harness.state, harness.clock)
    harness.outbound._state = outage
    await harness.receive("m1")
    outage.until = harness.clock.now() + 3_000
    answering = asyncio.create_task(harness.answer())
    while not outage.failures:  # noqa: ASYNC110 - there is no notification
        await asyncio.sleep(0)
    answering.cancel()
    for task in (answering, *harness.outbound._sending):
        await asyncio.gather(task, return_exceptions=True)
    assert harness.clock.now() >= outage.until
    assert harness.state.open_windows == 1


async def test_if_the_state_stays_unavailable_the_answer_is_undeliverable_and_not_sent() -> None:
    state = UnavailableState()
    harness = OutboundHarness(state=state)
    await harness.receive("m1")
    state.failures = 1_000_000
    assert await harness.answer() == Receipt(outcome="undeliverable", reason="state")
    assert harness.poster.posts == []
    assert harness.ends()[0].reason == "state"


async def test_a_reply_is_delivered_even_if_the_state_cannot_record_it() -> None:
    """If the reply is repeated after a restart, WeCom refuses it."""

    class StateThatCannotSpend(MemoryStateStore):
        async def spend_window(self, window: ReplyWindow, now: float) -> None:
            raise StateUnavailable

    harness = OutboundHarness(state=StateThatCannotSpend())
    await harness.receive("m1")
    assert await harness.answer() == Receipt(outcome="delivered", attempts=1)


async def test_no_event_contains_the_url_or_the_text() -> None:
    for step in (0, -1, 44004, AnswerLost(), RequestNotSent()):
        harness = OutboundHarness([step])
        await harness.receive("m1")
        await harness.answer("canary text")
        assert harness.recorder.events
        assert "canary" not in repr(harness.recorder.events)


@pytest.mark.parametrize("is_group", [True, False], ids=["group", "single"])
async def test_an_answer_that_names_the_chat_type_uses_no_window_of_the_other_type(*, is_group: bool) -> None:
    """A group can have the same id as a person."""
    harness = OutboundHarness()
    await harness.receive("m1", chat_id="alice", is_group=is_group)
    right, wrong = ("group", "single") if is_group else ("single", "group")
    receipt = await harness.answer(reply_to=None, chat_id="alice", chat_type=wrong)
    assert receipt == Receipt(outcome="undeliverable", reason="no_reply_window")
    receipt = await harness.answer(reply_to=None, chat_id="alice", chat_type=right)
    assert receipt.outcome == "delivered"


@pytest.mark.parametrize("is_group", [True, False], ids=["group", "single"])
async def test_an_answer_that_does_not_name_the_chat_type_finds_its_window(*, is_group: bool) -> None:
    harness = OutboundHarness()
    await harness.receive("m1", chat_id="alice", is_group=is_group)
    assert (await harness.answer(chat_id="alice")).outcome == "delivered"


async def test_with_feedback_every_part_carries_the_id_of_the_answered_message() -> None:
    harness = OutboundHarness(overflow="continue", feedback_id=lambda message_id: f"id of {message_id}")
    await harness.receive("old", finished=True)
    await harness.receive("m1")
    await harness.answer(LONG)
    assert harness.poster.feedback_ids == ["id of m1"] * 2


async def test_without_feedback_an_answer_carries_no_id() -> None:
    harness = OutboundHarness()
    await harness.receive("m1")
    await harness.answer()
    assert harness.poster.feedback_ids == [""]
