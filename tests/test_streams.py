"""Tests for the streams of one channel: what refreshes get, and which way an answer takes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from maven_channel_wecom.contract.messages import OutboundProgress
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.stream import StreamTimes, stream_id
from maven_channel_wecom.protocol.callback import Callback, TextItem
from maven_channel_wecom.sentences import STREAM_CONTINUES, STREAM_ENDED, STREAM_SILENT, Sentence
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.store import StreamFrame
from maven_channel_wecom.telemetry import events
from tests.fakes.clock import SteppedClock, settle
from tests.fakes.recorder import Recorder
from tests.fakes.streams import WORKING, make_streams

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from maven_channel_wecom.policy.stream import ProgressMode
    from maven_channel_wecom.state.store import StateStore
    from maven_channel_wecom.streams import StreamReply

TIMES = StreamTimes()


def message(message_id: str = "m1", text: str = "hello", **changes: object) -> Callback:
    asked = Callback(
        message_id=message_id,
        type="text",
        chat_id="alice",
        sender_id="alice",
        response_url="https://canary/",
        items=(TextItem(text),),
    )
    return msgspec.structs.replace(asked, **changes)


def refresh(of: str = "m1", **changes: object) -> Callback:
    asked = Callback(
        message_id="r1", type="stream", chat_id="alice", sender_id="alice", stream_id=stream_id("wecom", of)
    )
    return msgspec.structs.replace(asked, **changes)


class StreamsHarness:
    """Streams with a clock that tests move."""

    def __init__(
        self, progress: ProgressMode = "stream", *, text: Sentence = WORKING, state: StateStore | None = None
    ) -> None:
        self.clock = SteppedClock()
        self.recorder = Recorder()
        self.streams = make_streams(progress, text=text, state=state, emit=self.recorder, clock=self.clock)
        self.fetched = 0
        self.asked = 0

    def open(self, message_id: str = "m1", text: str = "hello") -> None:
        self.streams.open(message(message_id, text), self.clock.now())

    def show(self, content: str, *, reply_to: str = "m1", chat_id: str = "alice") -> None:
        self.streams.show(OutboundProgress(channel="wecom", chat_id=chat_id, reply_to=reply_to, content=content))

    def ask(self, message_id: str = "m1", **changes: object) -> StreamReply:
        self.asked += 1
        asked = refresh(message_id, **{"message_id": f"r{self.asked}", **changes})
        frame = self.streams.refresh(asked, int(self.clock.now()))
        assert frame is not None
        return frame

    def read(self, message_id: str = "m1", **changes: object) -> tuple[str, bool]:
        """Return the content of the frame that a refresh gets and fetches, and whether it is the last one."""
        frame = self.ask(message_id, **changes)
        if frame.written:
            frame.written()
        return content_of(frame)

    def offer(self, content: str, message_id: str = "m1") -> asyncio.Task[bool]:
        return asyncio.ensure_future(self.streams.offer(message_id, content, on_fetched=self._on_fetched))

    def _on_fetched(self) -> None:
        self.fetched += 1

    def outcomes(self) -> list[str]:
        return [ended.outcome for ended in self.recorder.of(events.StreamEnded)]


def content_of(frame: StreamReply) -> tuple[str, bool]:
    stream = msgspec.json.decode(frame.body)["stream"]
    return stream["content"], stream["finish"]


async def done(result: Awaitable[bool]) -> bool:
    async with asyncio.timeout(5):
        return await result


async def test_a_refresh_gets_the_progress_text_until_the_agent_has_written_something() -> None:
    harness = StreamsHarness()
    harness.open()
    assert harness.read() == ("Working", False)
    harness.show("The answer")
    assert harness.read() == ("The answer", False)
    harness.show("The answer is 42")
    assert harness.read() == ("The answer is 42", False)


async def test_the_progress_text_is_in_the_language_of_the_person() -> None:
    harness = StreamsHarness()
    harness.open(text="你好")
    assert harness.read() == ("处理中", False)


async def test_without_a_progress_text_the_first_frame_is_empty_and_the_client_shows_moving_dots() -> None:
    harness = StreamsHarness(text=Sentence("", ""))
    harness.open()
    assert harness.read() == ("", False)


@pytest.mark.parametrize("blank", ["", " \n", "\u200b\u200e", "<think>let me see"])
async def test_a_text_once_shown_never_turns_blank(blank: str) -> None:
    harness = StreamsHarness()
    harness.open()
    harness.show("The answer")
    harness.show(blank)
    assert harness.read() == ("The answer", False)


async def test_a_frame_is_rendered_like_an_answer() -> None:
    harness = StreamsHarness()
    harness.open()
    harness.show("\x1b[1mlook\x1b[0m\n```python\n" + "x" * 30_000)
    content, is_last = harness.read()
    assert content.startswith("look\n```python\nxxx")
    assert content.endswith("x\n```")
    assert len(content.encode()) <= 20_480
    assert not is_last


async def test_the_final_text_counts_as_delivered_once_a_refresh_fetched_it() -> None:
    harness = StreamsHarness()
    harness.open()
    finished = harness.offer("42")
    await settle()
    frame = harness.ask()
    assert (harness.fetched, content_of(frame)) == (0, ("42", True))
    assert frame.written
    frame.written()
    assert harness.fetched == 1
    assert await done(finished)
    assert harness.outcomes() == ["fetched"]


async def test_a_last_frame_that_was_not_written_is_given_again() -> None:
    """Its client had left before it could be written."""
    harness = StreamsHarness()
    harness.open()
    finished = harness.offer("42")
    await settle()
    harness.ask()
    assert harness.outcomes() == []
    assert harness.read() == ("42", True)
    assert await done(finished)


async def test_a_fetched_last_frame_is_given_again_for_a_minute() -> None:
    harness = StreamsHarness()
    harness.open()
    finished = harness.offer("42")
    await settle()
    harness.read()
    assert await done(finished)
    await harness.clock.pass_seconds(TIMES.repeat - 1)
    harness.streams.tick()
    assert harness.ask().outcome == "repeated"
    assert harness.read() == ("42", True)
    await harness.clock.pass_seconds(1)
    harness.streams.tick()
    assert harness.read() == (STREAM_ENDED.en, True)
    assert harness.outcomes() == ["fetched"]


async def test_without_a_refresh_the_answer_goes_another_way_after_eight_seconds() -> None:
    harness = StreamsHarness()
    harness.open()
    finished = harness.offer("42")
    await harness.clock.pass_seconds(TIMES.fetch - 0.1)
    assert not finished.done()
    await harness.clock.pass_seconds(0.1)
    assert not await done(finished)
    assert harness.read() == (STREAM_ENDED.en, True)
    assert (harness.outcomes(), harness.fetched) == (["handed_over"], 0)


async def test_the_wait_for_a_refresh_ends_with_the_life_of_the_stream() -> None:
    harness = StreamsHarness()
    harness.open()
    await harness.clock.pass_seconds(TIMES.life - 3)
    finished = harness.offer("42")
    await harness.clock.pass_seconds(3)
    assert not await done(finished)


async def test_a_turn_that_outlives_its_stream_leaves_the_text_so_far_and_a_sentence() -> None:
    harness = StreamsHarness()
    harness.open()
    harness.show("Half an answer")
    await harness.clock.pass_seconds(TIMES.life)
    assert harness.read() == (f"Half an answer\n\n> {STREAM_CONTINUES.en}", True)
    assert harness.outcomes() == ["ended"]
    assert not await done(harness.offer("The whole answer"))
    assert harness.read() == (f"Half an answer\n\n> {STREAM_CONTINUES.en}", True)


async def test_a_turn_that_outlives_its_stream_without_a_text_leaves_the_sentence() -> None:
    harness = StreamsHarness()
    harness.open(text="你好")
    await harness.clock.pass_seconds(TIMES.life)
    assert harness.read() == (STREAM_CONTINUES.zh, True)


async def test_a_stream_that_no_refresh_ends_is_abandoned() -> None:
    harness = StreamsHarness()
    harness.open()
    await harness.clock.pass_seconds(TIMES.forgotten - 1)
    harness.streams.tick()
    assert harness.outcomes() == []
    await harness.clock.pass_seconds(1)
    harness.streams.tick()
    assert harness.outcomes() == ["abandoned"]
    assert harness.streams._streams == {}


@pytest.mark.parametrize(
    "asked",
    [
        {"stream_id": "unknown"},
        {"stream_id": ""},
        {"chat_id": "bob"},
        {"is_group": True},
    ],
    ids=["unknown", "none", "another person's chat", "a group of that id"],
)
async def test_nobody_learns_which_streams_exist(asked: dict[str, object]) -> None:
    """A foreign id gets the frame of an unknown one, with the id that was asked for."""
    harness = StreamsHarness()
    harness.open()
    harness.show("secret")
    frame = harness.streams.refresh(msgspec.structs.replace(refresh(), **asked), 0)
    assert frame is not None
    assert content_of(frame) == (STREAM_ENDED.en, True)
    assert frame.outcome == "unknown"
    assert frame.written is None
    assert msgspec.json.decode(frame.body)["stream"]["id"] == asked.get("stream_id", stream_id("wecom", "m1"))


async def test_a_repeated_message_gets_the_newest_frame_of_the_same_stream() -> None:
    harness = StreamsHarness()
    harness.open()
    harness.show("The answer")
    frame = harness.streams.first_frame(message())
    assert frame is not None
    assert msgspec.json.decode(frame.body)["stream"] == {
        "id": stream_id("wecom", "m1"),
        "finish": False,
        "content": "The answer",
    }


async def test_a_repeated_message_leaves_the_answer_to_the_next_refresh() -> None:
    """It may be one that was recorded, while WeCom has stopped asking."""
    harness = StreamsHarness()
    harness.open()
    finished = harness.offer("42")
    await settle()
    frame = harness.streams.first_frame(message())
    assert frame
    assert (content_of(frame), frame.written) == (("Working", False), None)
    assert harness.read() == ("42", True)
    assert await done(finished)
    again = harness.streams.first_frame(message())
    assert again
    assert content_of(again) == ("42", True)


async def test_a_repeated_message_whose_stream_is_over_gets_no_frame() -> None:
    """A frame could replace the answer that its bubble shows."""
    harness = StreamsHarness()
    assert harness.streams.first_frame(message()) is None


@pytest.mark.parametrize("progress", ["off", "notice"])
async def test_only_the_mode_stream_opens_streams(progress: ProgressMode) -> None:
    harness = StreamsHarness(progress)
    harness.open()
    assert harness.streams.first_frame(message()) is None
    assert harness.streams.id_to_open(message()) == ""
    assert not await done(harness.offer("42"))


@pytest.mark.parametrize(
    "changes",
    [{"response_url": ""}, {"type": "event"}, {"items": (TextItem(" "),)}, {"type": "unheard_of"}],
    ids=["no URL", "event", "empty", "unknown type"],
)
async def test_a_stream_is_opened_only_for_a_message_that_an_agent_answers(changes: dict[str, object]) -> None:
    harness = StreamsHarness()
    asked = msgspec.structs.replace(message(), **changes)
    harness.streams.open(asked, harness.clock.now())
    assert harness.streams.first_frame(asked) is None


@pytest.mark.parametrize(
    "shown", [{"reply_to": "other"}, {"reply_to": ""}, {"chat_id": "bob"}], ids=["other", "none", "foreign chat"]
)
async def test_progress_for_a_message_without_a_stream_is_ignored_and_counted(shown: dict[str, str]) -> None:
    harness = StreamsHarness()
    harness.open()
    harness.show("secret", **shown)
    assert harness.read() == ("Working", False)
    assert len(harness.recorder.of(events.ProgressIgnored)) == 1


async def test_progress_after_the_end_is_ignored_and_counted() -> None:
    harness = StreamsHarness()
    harness.open()
    finished = harness.offer("42")
    await settle()
    harness.show("late")
    assert harness.read() == ("42", True)
    assert await done(finished)
    harness.show("later")
    assert harness.read() == ("42", True)
    assert len(harness.recorder.of(events.ProgressIgnored)) == 2


async def test_a_message_that_gets_no_answer_leaves_its_stream_as_it_stands() -> None:
    harness = StreamsHarness()
    harness.open()
    harness.show("Half an answer")
    harness.streams.end("m1")
    assert harness.read() == ("Half an answer", True)
    assert harness.outcomes() == ["ended"]


async def test_a_stream_that_showed_nothing_is_never_finished_blank() -> None:
    harness = StreamsHarness(text=Sentence("", ""))
    harness.open()
    harness.streams.end("m1")
    assert harness.read() == (STREAM_SILENT.en, True)


async def test_the_end_of_a_message_changes_nothing_once_its_answer_is_there() -> None:
    harness = StreamsHarness()
    harness.open()
    finished = harness.offer("42")
    await settle()
    harness.streams.end("m1")
    assert harness.read() == ("42", True)
    assert await done(finished)


async def test_a_cancelled_reply_leaves_the_stream_open() -> None:
    harness = StreamsHarness()
    harness.open()
    harness.show("Half an answer")
    cancelled = harness.offer("42")
    await settle()
    cancelled.cancel()
    await settle()
    assert harness.read() == ("Half an answer", False)
    finished = harness.offer("43")
    await settle()
    assert harness.read() == ("43", True)
    assert await done(finished)
    assert harness.fetched == 1


async def test_a_second_answer_to_a_message_goes_another_way() -> None:
    harness = StreamsHarness()
    harness.open()
    finished = harness.offer("42")
    await settle()
    assert not await done(harness.offer("43"))
    assert harness.read() == ("42", True)
    assert await done(finished)


async def test_a_stop_ends_open_streams_and_waits_for_no_refresh() -> None:
    harness = StreamsHarness()
    harness.open()
    harness.show("Half an answer")
    harness.open("m2")
    waiting = harness.offer("42", "m2")
    ending = asyncio.ensure_future(harness.streams.end_before(10))
    await harness.clock.pass_seconds(10 - TIMES.closing - 0.1)
    assert harness.read() == ("Half an answer", False)
    await harness.clock.pass_seconds(0.1)
    await ending
    assert harness.read() == (f"Half an answer\n\n> {STREAM_ENDED.en}", True)
    assert not await done(waiting)
    await harness.streams.close()
    assert sorted(harness.outcomes()) == ["ended", "handed_over"]


async def test_a_closed_channel_abandons_what_is_open() -> None:
    harness = StreamsHarness()
    harness.open()
    await harness.streams.close()
    assert harness.outcomes() == ["abandoned"]


class SharedState(MemoryStateStore):
    """A state that records what the owner of a stream writes, and answers as another process would."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[StreamFrame] = []
        self.confirmed: list[str] = []
        self.frame: StreamFrame | None = None
        self.is_taken = False
        self.closes = True
        self.away = False

    @property
    def shared(self) -> bool:
        return True

    async def write_frame(self, message_id: str, frame: StreamFrame, now: float) -> None:
        self._check()
        self.written.append(frame)

    async def read_frame(self, stream_id: str, chat: str, now: float) -> StreamFrame | None:
        self._check()
        return self.frame

    async def confirm_fetch(self, stream_id: str, now: float) -> None:
        self._check()
        self.confirmed.append(stream_id)

    async def is_fetched(self, message_id: str, now: float) -> bool:
        self._check()
        return self.is_taken

    async def close_stream(self, message_id: str, now: float) -> bool:
        self._check()
        return self.closes

    def _check(self) -> None:
        if self.away:
            raise StateUnavailable


async def test_a_growing_text_is_shared_at_most_once_a_second() -> None:
    state = SharedState()
    harness = StreamsHarness(state=state)
    harness.open()
    for number in range(10):
        harness.show(f"text {number}")
        await harness.clock.pass_seconds(0.25)
    assert [frame.content for frame in state.written] == ["text 0", "text 3", "text 7"]
    await harness.clock.pass_seconds(5)
    assert [frame.content for frame in state.written][3:] == ["text 9"]


async def test_the_first_text_is_shared_by_the_admission_and_not_written_again() -> None:
    state = SharedState()
    harness = StreamsHarness(state=state)
    harness.open()
    await settle()
    assert state.written == []
    assert harness.streams.first_text(message()) == harness.read()[0]


async def test_a_final_text_is_shared_at_once() -> None:
    state = SharedState()
    harness = StreamsHarness(state=state)
    harness.open()
    harness.show("text")
    await settle()
    finished = harness.offer("42")
    await settle()
    assert state.written == [StreamFrame("text"), StreamFrame("42", is_last=True)]
    harness.read()
    assert await done(finished)
    await settle()
    assert state.confirmed == [stream_id("wecom", "m1")]


async def test_a_final_text_that_another_process_gave_out_counts_as_delivered() -> None:
    state = SharedState()
    harness = StreamsHarness(state=state)
    harness.open()
    finished = harness.offer("42")
    await harness.clock.pass_seconds(3)
    assert not finished.done()
    state.is_taken = True
    await harness.clock.pass_seconds(TIMES.poll)
    assert await done(finished)
    assert (harness.fetched, harness.outcomes()) == (1, ["fetched"])


async def test_a_stream_is_not_closed_while_another_process_gives_out_its_last_frame() -> None:
    state = SharedState()
    state.closes = False
    harness = StreamsHarness(state=state)
    harness.open()
    finished = harness.offer("42")
    await harness.clock.pass_seconds(TIMES.fetch + 1)
    assert not finished.done()
    state.is_taken = True
    await harness.clock.pass_seconds(TIMES.poll)
    assert await done(finished)
    assert harness.fetched == 1


async def test_an_answer_is_sent_although_the_state_is_away() -> None:
    """It may then be seen twice, if another process gave it out, but it is seen."""
    state = SharedState()
    harness = StreamsHarness(state=state)
    harness.open()
    state.away = True
    finished = harness.offer("42")
    await harness.clock.pass_seconds(TIMES.fetch)
    assert not await done(finished)


async def test_the_end_of_a_life_is_shared_so_that_every_process_can_tell_it() -> None:
    state = SharedState()
    harness = StreamsHarness(state=state)
    harness.open()
    harness.show("Half an answer")
    await harness.clock.pass_seconds(TIMES.life)
    harness.streams.tick()
    await settle()
    assert state.written[-1] == StreamFrame(f"Half an answer\n\n> {STREAM_CONTINUES.en}", is_last=True, is_answer=False)
    state.is_taken = True
    await harness.clock.pass_seconds(TIMES.share)
    assert harness.outcomes() == ["ended"]


async def test_a_refresh_of_another_process_stream_is_answered_from_the_state() -> None:
    state = SharedState()
    harness = StreamsHarness(state=state)
    assert harness.streams.refresh(refresh(), 0) is None
    state.frame = StreamFrame("The answer")
    frame = await harness.streams.refresh_from_state(refresh())
    assert (content_of(frame), frame.outcome) == (("The answer", False), "answered")
    assert frame.written is None


async def test_the_last_frame_of_another_process_is_confirmed_once_it_is_written() -> None:
    state = SharedState()
    harness = StreamsHarness(state=state)
    state.frame = StreamFrame("42", is_last=True)
    frame = await harness.streams.refresh_from_state(refresh())
    assert state.confirmed == []
    assert frame.written
    frame.written()
    await settle()
    assert state.confirmed == [stream_id("wecom", "m1")]


async def test_a_stream_that_no_process_knows_gets_the_frame_of_an_unknown_one() -> None:
    harness = StreamsHarness(state=SharedState())
    frame = await harness.streams.refresh_from_state(refresh())
    assert (content_of(frame), frame.outcome) == ((STREAM_ENDED.zh, True), "unknown")


async def test_a_repeated_message_gets_the_frame_of_another_process() -> None:
    state = SharedState()
    harness = StreamsHarness(state=state)
    assert harness.streams.may_be_elsewhere(message())
    assert await harness.streams.first_frame_from_state(message()) is None
    state.frame = StreamFrame("The answer")
    frame = await harness.streams.first_frame_from_state(message())
    assert frame
    assert content_of(frame) == ("The answer", False)
    harness.open()
    assert not harness.streams.may_be_elsewhere(message())


async def test_no_task_is_left_behind() -> None:
    state = SharedState()
    harness = StreamsHarness(state=state)
    harness.open()
    harness.show("text")
    await settle()
    await harness.streams.close()
    assert harness.streams._tasks == set()


@pytest.mark.parametrize("recorded", ["the last one", "an earlier one"])
async def test_a_refresh_that_is_sent_again_gets_no_answer_and_fetches_nothing(recorded: str) -> None:
    """Anybody on the way can do that. WeCom, which repeats it too, would show an answer that is then sent once more."""
    harness = StreamsHarness()
    harness.open()
    earlier, last = refresh(message_id="r1"), refresh(message_id="r2")
    signed_at = int(harness.clock.now())
    for number in range(20):
        harness.streams.refresh(refresh(message_id=f"between {number}"), signed_at)
    harness.streams.refresh(earlier, signed_at - 10) if recorded == "an earlier one" else None
    harness.streams.refresh(last, signed_at)
    finished = harness.offer("42")
    await settle()
    again = harness.streams.refresh(
        last if recorded == "the last one" else earlier, signed_at - 10 * (recorded != "the last one")
    )
    assert again
    assert (content_of(again), again.written) == (("Working", False), None)
    await harness.clock.pass_seconds(TIMES.fetch)
    assert not await done(finished)


async def test_a_refresh_that_is_a_little_late_counts() -> None:
    """WeCom's servers need not agree on the second."""
    harness = StreamsHarness()
    harness.open()
    harness.streams.refresh(refresh(message_id="r1"), 1_700_000_005)
    frame = harness.streams.refresh(refresh(message_id="r2"), 1_700_000_001)
    assert frame
    finished = harness.offer("42")
    await settle()
    frame = harness.streams.refresh(refresh(message_id="r3"), 1_700_000_000)
    assert frame
    assert frame.written
    frame.written()
    assert await done(finished)


async def test_a_handed_over_stream_is_finished_by_the_next_refresh_and_then_forgotten() -> None:
    harness = StreamsHarness()
    harness.open()
    finished = harness.offer("42")
    await harness.clock.pass_seconds(TIMES.fetch)
    assert not await done(finished)
    assert len(harness.streams._streams) == 1
    assert harness.ask().outcome == "unknown"
    assert harness.read() == (STREAM_ENDED.en, True)
    assert harness.streams._streams == {}


async def test_a_stop_waits_until_people_have_been_told_but_not_long() -> None:
    harness = StreamsHarness()
    harness.open()
    harness.show("Half an answer")
    stopping = asyncio.ensure_future(harness.streams.end_and_wait(10))
    await settle()
    assert not stopping.done()
    assert harness.read() == (f"Half an answer\n\n> {STREAM_ENDED.en}", True)
    async with asyncio.timeout(1):
        await stopping


async def test_a_stop_without_open_streams_waits_for_nothing() -> None:
    harness = StreamsHarness()
    async with asyncio.timeout(TIMES.closing / 2):
        await harness.streams.end_and_wait(10)


async def test_a_message_that_other_processes_may_take_over_loses_its_stream() -> None:
    """They cannot go on with it."""
    harness = StreamsHarness(state=SharedState())
    harness.open()
    harness.show("Half an answer")
    harness.streams.release("m1")
    assert harness.read() == (f"Half an answer\n\n> {STREAM_ENDED.en}", True)


async def test_a_message_that_only_this_process_can_take_over_keeps_its_stream() -> None:
    harness = StreamsHarness()
    harness.open()
    harness.streams.release("m1")
    assert harness.read() == ("Working", False)


async def test_a_text_that_fills_a_frame_is_not_rendered_again() -> None:
    harness = StreamsHarness()
    harness.open()
    harness.show("x" * 30_000)
    full = harness.read()
    harness.show("y" * 40_000)
    assert harness.read() == full


async def test_the_first_frame_carries_the_id_for_feedback_and_no_other_does() -> None:
    """Page 101031: WeCom takes it from the first frame only."""
    clock = SteppedClock()
    for state in (MemoryStateStore(), SharedState()):
        streams = make_streams("stream", clock=clock, state=state, feedback_id=lambda message_id: f"for {message_id}")
        if isinstance(state, SharedState):
            state.frame = StreamFrame("text")
            first = await streams.first_frame_from_state(message())
        else:
            streams.open(message(), clock.now())
            first = streams.first_frame(message())
            later = streams.refresh(refresh(), 0)
            assert later
            assert b"feedback" not in later.body
        assert first
        assert msgspec.json.decode(first.body)["stream"]["feedback"] == {"id": "for m1"}


async def test_no_representation_holds_a_text() -> None:
    harness = StreamsHarness()
    harness.open()
    harness.show("secret")
    assert "secret" not in repr(list(harness.streams._streams.values()))
    assert "secret" not in repr(harness.ask())


@pytest.mark.parametrize(
    ("progress", "text", "shows"),
    [
        ("off", WORKING, False),
        ("notice", WORKING, True),
        ("notice", Sentence("", ""), False),
        ("stream", WORKING, True),
    ],
)
def test_what_people_see_at_once_depends_on_mode_and_text(
    *, progress: ProgressMode, text: Sentence, shows: bool
) -> None:
    assert make_streams(progress, text=text).shows_at_once is shows
