"""Tests for replies that are offered to the stream of their message first."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.contract.messages import Receipt
from maven_channel_wecom.policy.stream import stream_id
from maven_channel_wecom.protocol import limits
from maven_channel_wecom.protocol.callback import Callback, TextItem
from maven_channel_wecom.sentences import ANSWER_EMPTY, STREAM_ENDED
from maven_channel_wecom.telemetry import events
from tests.fakes.clock import SteppedClock, settle
from tests.test_outbound import OutboundHarness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maven_channel_wecom.config import Overflow
    from tests.fakes.replies import Step


class StreamingHarness(OutboundHarness):
    """An Outbound whose messages have streams, which are refreshed when a test asks for it."""

    def __init__(self, steps: Sequence[Step] = (0,), *, overflow: Overflow = "truncate") -> None:
        self.stepped = SteppedClock()
        super().__init__(steps, overflow=overflow, clock=self.stepped, progress="stream")

    async def receive_streamed(self) -> None:
        await self.receive("m1")
        asked = Callback(
            message_id="m1",
            type="text",
            is_group=True,
            chat_id="chat",
            sender_id="alice",
            response_url="https://canary/",
            items=(TextItem("hello"),),
        )
        self.streams.open(asked, self.clock.now())

    async def begin(self, content: str, **metadata: str) -> asyncio.Task[Receipt]:
        answering = asyncio.create_task(self.answer(content, **metadata))
        await settle()
        return answering

    def refresh(self) -> tuple[str, bool]:
        asked = Callback(
            message_id="r1", type="stream", is_group=True, chat_id="chat", stream_id=stream_id("wecom", "m1")
        )
        frame = self.streams.refresh(asked, int(self.clock.now()))
        assert frame
        if frame.written:
            frame.written()
        body = json.loads(frame.body)["stream"]
        return body["content"], body["finish"]


async def test_a_fetched_answer_is_delivered_without_an_attempt_and_spends_its_window() -> None:
    harness = StreamingHarness()
    await harness.receive_streamed()
    answering = await harness.begin("42")
    harness.clock.time += 2
    assert harness.refresh() == ("42", True)
    harness.clock.time += 60
    assert await answering == Receipt(outcome="delivered", attempts=0)
    assert harness.poster.posts == []
    assert harness.recorder.of(events.FirstSignShown) == []
    assert (await harness.answer("again")).reason == "no_reply_window"
    assert (harness.ends()[0].outcome, harness.ends()[0].attempts, harness.ends()[0].seconds) == ("delivered", 0, 2)


async def test_an_answer_that_no_refresh_fetches_is_posted() -> None:
    harness = StreamingHarness()
    await harness.receive_streamed()
    answering = await harness.begin("42")
    await harness.stepped.pass_seconds(8)
    assert await answering == Receipt(outcome="delivered", attempts=1)
    assert [content for _, content in harness.poster.posts] == ["42"]
    assert harness.refresh() == (STREAM_ENDED.zh, True)


async def test_a_blank_answer_leaves_a_sentence_in_the_stream() -> None:
    harness = StreamingHarness()
    await harness.receive_streamed()
    answering = await harness.begin("\u200b", language="en")
    assert harness.refresh() == (ANSWER_EMPTY.en, True)
    assert (await answering).outcome == "delivered"


async def test_deliberate_silence_ends_the_stream_at_once() -> None:
    harness = StreamingHarness()
    await harness.receive_streamed()
    answering = await harness.begin("", silent="true")
    assert (await answering).reason == "silent"
    assert harness.refresh()[1]


async def test_an_answer_that_is_too_long_ends_cut_in_the_stream() -> None:
    harness = StreamingHarness()
    await harness.receive_streamed()
    answering = await harness.begin("x" * 30_000)
    content, is_last = harness.refresh()
    assert is_last
    assert len(content.encode()) <= limits.MARKDOWN_BYTES
    receipt = await answering
    assert (receipt.outcome, receipt.attempts, receipt.truncated_bytes > 9_000) == ("delivered", 0, True)
    assert harness.poster.posts == []


async def test_a_long_answer_continues_from_the_stream_into_its_window_and_spare_ones() -> None:
    harness = StreamingHarness([0, 0], overflow="continue")
    await harness.receive("spare", finished=True)
    harness.clock.time += 1
    await harness.receive_streamed()
    text = "word " * 12_000
    answering = await harness.begin(text)
    first, _ = harness.refresh()
    assert await answering == Receipt(outcome="delivered", attempts=2)
    notice = "\n\n> …"
    parts = [first, *(content for _, content in harness.poster.posts)]
    assert "".join(part.partition(notice)[0] for part in parts) == text.rstrip()
    assert [url for url, _ in harness.poster.posts] == ["https://canary/m1", "https://canary/spare"]


async def test_a_long_answer_that_no_refresh_fetches_is_split_over_the_windows() -> None:
    harness = StreamingHarness([0, 0], overflow="continue")
    await harness.receive("spare", finished=True)
    harness.clock.time += 1
    await harness.receive_streamed()
    text = "word " * 6_000
    answering = await harness.begin(text)
    await harness.stepped.pass_seconds(8)
    assert (await answering).attempts == 2
    assert "".join(content.partition("\n\n> …")[0] for _, content in harness.poster.posts) == text.rstrip()


async def test_an_answer_cancelled_before_a_refresh_restores_its_window() -> None:
    harness = StreamingHarness()
    await harness.receive_streamed()
    answering = await harness.begin("42")
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    assert harness.state.open_windows == 1
    assert harness.ends() == []
    assert harness.refresh() == ("Working", False)


async def test_an_answer_cancelled_after_a_refresh_fetched_it_counts_as_delivered() -> None:
    harness = StreamingHarness()
    await harness.receive_streamed()
    answering = await harness.begin("42")
    harness.refresh()
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    assert [(end.outcome, end.attempts) for end in harness.ends()] == [("delivered", 0)]
    assert (await harness.answer("again")).reason == "no_reply_window"


@pytest.mark.parametrize("fails", ["refused for good", "cancelled"])
async def test_a_message_whose_first_part_was_fetched_counts_as_answered_whatever_becomes_of_the_next(
    fails: str,
) -> None:
    """It must not be processed again: its person would read the answer from the first word on."""
    harness = StreamingHarness([-1, -1, -1], overflow="continue")
    await harness.receive_streamed()
    answering = await harness.begin("word " * 6_000)
    harness.refresh()
    if fails == "cancelled":
        await settle()
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
    else:
        await harness.stepped.pass_seconds(60)
        receipt = await answering
        assert (receipt.outcome, receipt.attempts, receipt.truncated_bytes > 9_000) == ("delivered", 3, True)
    assert harness.state.open_windows == 0
    assert await harness.state.release("m1", harness.clock.now())
    assert await harness.state.take_over(harness.clock.now()) == []


async def test_an_answer_to_a_message_that_another_process_answered_breaks_its_stream_off() -> None:
    harness = StreamingHarness()
    await harness.receive_streamed()
    claimed = await harness.state.claim_window(["group:chat"], "m1", harness.clock.now())
    assert claimed
    await harness.state.spend_window(claimed, harness.clock.now())
    assert (await harness.answer("42")).reason == "no_reply_window"
    assert harness.refresh() == (STREAM_ENDED.en, True)
