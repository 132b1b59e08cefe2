"""The record of attempts, replies and offences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.bubbles import Bubble
from maven_channel_wecom.simulator.recorded import Recorded, Reply
from maven_channel_wecom.simulator.stream_rules import AnsweredFrame

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.bubbles import BubbleFrame
    from maven_channel_wecom.simulator.offences import Offence


def take(bubble: Bubble, content: str, *, finish: bool) -> None:
    frame = AnsweredFrame(stream_id=bubble.stream_id, content=content, finish=finish)
    bubble.take(frame, after_seconds=0.0, is_refresh=False)


def reply(message_id: str, *, accepted: bool) -> Reply:
    return Reply(message_id=message_id, content="canary", after_seconds=0.5, accepted=accepted)


def test_only_an_accepted_attempt_is_a_reply() -> None:
    recorded = Recorded()
    recorded.attempt(reply("a", accepted=False))
    recorded.attempt(reply("a", accepted=True))
    recorded.attempt(reply("b", accepted=True))
    assert [attempt.accepted for attempt in recorded.attempts] == [False, True, True]
    assert [each.message_id for each in recorded.replies] == ["a", "b"]
    assert recorded.replies_to("b") == [reply("b", accepted=True)]


async def test_the_texts_of_one_message_can_be_forgotten() -> None:
    recorded = Recorded()
    for message_id in ("a", "b"):
        recorded.attempt(reply(message_id, accepted=True))
        recorded.bubbles[message_id] = Bubble(message_id, "s")
        take(recorded.bubbles[message_id], "done", finish=True)
    recorded.forget("a")
    assert [attempt.message_id for attempt in recorded.attempts] == ["b"]
    assert [each.message_id for each in recorded.replies] == ["b"]
    assert list(recorded.bubbles) == ["b"]
    recorded.forget("unknown")


async def test_a_bubble_that_still_grows_is_not_forgotten() -> None:
    """Refreshes go on until it is finished."""
    recorded = Recorded()
    recorded.bubbles["a"] = bubble = Bubble("a", "s")
    take(bubble, "do", finish=False)
    recorded.forget("a")
    assert recorded.bubbles["a"] is bubble
    take(bubble, "done", finish=True)
    recorded.forget("a")
    assert recorded.bubbles == {}


def test_listeners_receive_everything_that_is_recorded() -> None:
    notified: list[Offence | Reply | BubbleFrame] = []
    recorded = Recorded()
    recorded.listeners.append(notified.append)
    recorded.offence("late", "a")
    recorded.attempt(reply("a", accepted=False))
    assert notified == [*recorded.offences, *recorded.attempts]


def test_a_repr_does_not_show_the_content() -> None:
    assert "canary" not in repr(reply("a", accepted=True))
