"""What a person sees of a streamed answer, frame by frame."""

from __future__ import annotations

import asyncio

from maven_channel_wecom.simulator.bubbles import Bubble
from maven_channel_wecom.simulator.stream_rules import AnsweredFrame


def answered(
    content: str, *, stream_id: str = "s1", finish: bool = False, feedback_id: str | None = None
) -> AnsweredFrame:
    return AnsweredFrame(stream_id=stream_id, content=content, finish=finish, feedback_id=feedback_id)


async def test_a_bubble_records_what_changes_it() -> None:
    bubble = Bubble("m1", "s1")
    bubble.take(answered("", feedback_id="f1"), after_seconds=0.0, is_refresh=False)
    for seconds, content in enumerate(["hel", "hel", "hello"], 1):
        bubble.take(answered(content), after_seconds=seconds, is_refresh=True)
    assert [(frame.content, frame.after_seconds) for frame in bubble.frames] == [("", 0), ("hel", 1), ("hello", 3)]
    assert (bubble.text, bubble.feedback_id, bubble.refreshes, bubble.is_finished) == ("hello", "f1", 3, False)


async def test_a_bubble_ends_with_the_frame_that_finishes_it() -> None:
    bubble = Bubble("m1", "s1")
    waiting = asyncio.create_task(bubble.finished())
    change, offences = bubble.take(answered("done", finish=True), after_seconds=2.0, is_refresh=True)
    assert (await waiting, offences) == (change, [])
    assert bubble.is_finished
    assert bubble.take(answered("done", finish=True), after_seconds=3.0, is_refresh=True) == (None, [])


async def test_a_wrong_frame_that_is_shown_changes_the_bubble_and_is_an_offence() -> None:
    bubble = Bubble("m1", "s1")
    bubble.take(answered("hello"), after_seconds=0.0, is_refresh=False)
    change, offences = bubble.take(answered(" "), after_seconds=1.0, is_refresh=True)
    assert (change, offences) == (bubble.frames[-1], ["blank_frame"])
    assert bubble.text == "hello"


async def test_frames_of_another_stream_and_after_the_end_change_nothing() -> None:
    bubble = Bubble("m1", "s1")
    other = answered("other", stream_id="s2")
    assert bubble.take(other, after_seconds=0.0, is_refresh=True) == (None, ["wrong_stream_id"])
    bubble.take(answered("done", finish=True), after_seconds=1.0, is_refresh=True)
    assert bubble.take(answered("more"), after_seconds=2.0, is_refresh=True) == (None, ["changed_after_finish"])
    assert [frame.content for frame in bubble.frames] == ["done"]


async def test_a_repeated_acknowledgement_may_carry_the_feedback_id_again() -> None:
    bubble = Bubble("m1", "s1")
    for _ in range(2):
        bubble.take(answered("", feedback_id="f1"), after_seconds=0.0, is_refresh=False)
    change, offences = bubble.take(answered("x", feedback_id="f2"), after_seconds=1.0, is_refresh=True)
    assert (change is not None, offences, bubble.feedback_id) == (True, ["wrong_feedback_id"], "f1")


async def test_a_repr_does_not_show_the_content() -> None:
    bubble = Bubble("m1", "s1")
    change, _ = bubble.take(answered("CANARY"), after_seconds=0.0, is_refresh=False)
    assert repr([bubble, change]) == "[<Bubble of 1 frames, open>, <BubbleFrame of 6 bytes, finish False>]"
