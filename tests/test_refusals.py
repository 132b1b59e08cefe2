"""Tests for the answers to refused people."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from maven_channel_wecom.errors import AnswerLost, RequestNotSent
from maven_channel_wecom.policy.language import Languages
from maven_channel_wecom.protocol.callback import Callback, TextItem
from maven_channel_wecom.refusals import (
    CONCURRENT_REFUSALS,
    REFUSAL_INTERVAL_SECONDS,
    REMEMBERED_REFUSALS,
    Refusals,
)
from maven_channel_wecom.sentences import Sentence
from maven_channel_wecom.telemetry import events
from tests.fakes.clock import FakeClock
from tests.fakes.recorder import Recorder
from tests.fakes.replies import ScriptedEgress, Step

if TYPE_CHECKING:
    from maven_channel_wecom.errors import Refusal

BOTH = Sentence("抱歉", "Sorry")


def callback(sender: str = "alice", text: str = "hello", type_: str = "text", url: str = "https://canary/") -> Callback:
    return Callback(message_id="m1", type=type_, sender_id=sender, response_url=url, items=(TextItem(text),))


class RefusalsHarness:
    """Refusals with scripted answers of WeCom."""

    def __init__(self, *steps: Step, text: Sentence = BOTH) -> None:
        self.clock = FakeClock()
        self.recorder = Recorder()
        self.poster = ScriptedEgress(steps or (0,))
        self.refusals = Refusals(
            text,
            poster=self.poster,
            languages=Languages(None, ()),
            emit=self.recorder,
            clock=self.clock,
        )

    async def explain(self, refused: Callback, refusal: Refusal = "sender") -> None:
        self.start(refused, refusal)
        await asyncio.gather(*self.refusals._sending)

    def start(self, refused: Callback, refusal: Refusal = "sender") -> None:
        if content := self.refusals.explanation(refused, refusal):
            self.refusals.send(refused, content)

    def contents(self) -> list[str]:
        return [content for _, content in self.poster.posts]


@pytest.mark.parametrize(("text", "content"), [("hello", "Sorry"), ("你好", "抱歉"), ("", "抱歉")])
async def test_a_refused_person_is_answered_in_their_language(text: str, content: str) -> None:
    harness = RefusalsHarness()
    await harness.explain(callback(text=text))
    assert harness.poster.posts == [("https://canary/", content)]
    assert harness.recorder.of(events.PersonExplained) == [events.PersonExplained(message_id="m1", reason="refused")]


async def test_a_person_is_answered_once_an_hour() -> None:
    harness = RefusalsHarness()
    await harness.explain(callback())
    harness.clock.time += REFUSAL_INTERVAL_SECONDS - 1
    await harness.explain(callback())
    await harness.explain(callback("bob"))
    assert len(harness.poster.posts) == 2
    harness.clock.time += 1
    await harness.explain(callback())
    await harness.explain(callback("bob"))
    assert len(harness.poster.posts) == 3


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"response_url": ""}, "sender"),
        ({"type": "event"}, "sender"),
        ({"type": "stream"}, "sender"),
        ({}, "bot"),
        ({}, "no_group"),
    ],
    ids=["no URL", "event", "stream refresh", "another bot", "no chat"],
)
async def test_only_a_message_of_a_person_off_the_allow_lists_is_answered(
    changes: dict[str, str], refusal: Refusal
) -> None:
    harness = RefusalsHarness()
    await harness.explain(msgspec.structs.replace(callback(), **changes), refusal)
    assert harness.poster.posts == []
    await harness.explain(callback(), "group")
    assert harness.contents() == ["Sorry"]


async def test_without_a_text_nobody_is_answered() -> None:
    harness = RefusalsHarness(text=Sentence("", ""))
    await harness.explain(callback())
    assert harness.recorder.events == []


@pytest.mark.parametrize("step", [-1, 60140, (503, b""), RequestNotSent("x"), AnswerLost("x")], ids=str)
async def test_there_is_one_attempt_and_its_failure_is_reported(step: Step) -> None:
    harness = RefusalsHarness(step)
    await harness.explain(callback())
    await harness.explain(callback())
    assert len(harness.poster.posts) == 1
    (ended,) = harness.recorder.of(events.AttemptEnded)
    assert ended.outcome != "delivered"
    assert "canary" not in repr(ended)


async def test_the_number_of_people_who_are_remembered_is_limited() -> None:
    """Further people are refused in silence until the first hours are over."""
    harness = RefusalsHarness()
    harness.refusals._answered = dict.fromkeys(map(str, range(REMEMBERED_REFUSALS)), ("m0", harness.clock.now()))
    await harness.explain(callback())
    assert harness.poster.posts == []
    harness.clock.time += REFUSAL_INTERVAL_SECONDS
    await harness.explain(callback())
    assert harness.contents() == ["Sorry"]
    assert len(harness.refusals._answered) == 1


async def test_the_number_of_answers_on_their_way_is_limited_and_a_stop_cancels_them() -> None:
    class HangingEgress:
        posts = 0

        async def post(self, url: str, body: bytes, **_: object) -> tuple[int, bytes]:
            self.posts += 1
            await asyncio.Event().wait()
            raise AssertionError

    harness = RefusalsHarness()
    poster = HangingEgress()
    harness.refusals._poster = poster
    for number in range(CONCURRENT_REFUSALS + 5):
        harness.start(callback(str(number)))
    await asyncio.sleep(0)
    assert poster.posts == CONCURRENT_REFUSALS
    await harness.refusals.close()
    assert not harness.refusals._sending
