"""Tests that the watch of every other test finds a canary wherever it is shown."""

from __future__ import annotations

import logging

import pytest

from maven_channel_wecom.simulator.messages import Feedback, Image, Text, Voice
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.deployment import Deployment
from tests.e2e.recording_agent import RecordingAgent
from tests.e2e.watch import Watch

CANARY = "canary-4711"


@pytest.fixture
def other() -> Watch:
    """Return a separate watch, because the watch of the test itself must not find a leak."""
    found = Watch()
    found.register("a token", CANARY)
    return found


@pytest.mark.parametrize(
    "fields",
    [{"token": CANARY}, {"detail": f"was {CANARY}!"}, {"list": ["a", CANARY]}],
    ids=["plain", "inside", "list"],
)
def test_a_canary_in_a_log_field_is_found(other: Watch, fields: dict[str, object]) -> None:
    record = logging.makeLogRecord({"name": "maven_channel_wecom", "msg": "wecom event", "fields": fields})
    other.emit(record)
    assert other.leaks() == ["a token in a log line"]


def test_a_canary_in_a_formatted_log_message_is_found(other: Watch) -> None:
    other.emit(logging.makeLogRecord({"name": "maven_channel_wecom", "msg": "token %s", "args": (CANARY,)}))
    assert other.leaks() == ["a token in a log line", "a token in a log line of another host"]


def test_a_canary_in_the_text_of_a_logged_exception_is_found(other: Watch) -> None:
    """Python's own formatter, which other hosts may use, prints the text of an exception."""
    error = ValueError(CANARY)
    fields = {"name": "maven_channel_wecom", "msg": "wecom event", "exc_info": (ValueError, error, None)}
    other.emit(logging.makeLogRecord(fields))
    assert other.leaks() == ["a token in a log line of another host"]


def test_a_canary_in_a_status_answer_is_found(other: Watch) -> None:
    other.record_output("/metrics", f'maven_wecom_x{{channel="{CANARY}"}} 1.0')
    assert other.leaks() == ["a token in /metrics"]


def test_the_beginning_of_a_long_text_is_found(other: Watch) -> None:
    other.register("what a user wrote", "a long story about the harbor of the old town and its boats")
    other.record_output("a log line", "text=a long story about the harbor of the old ...")
    assert other.leaks() == ["what a user wrote in a log line"]


async def test_the_watch_receives_log_lines_and_canaries_of_a_deployment(watch: Watch) -> None:
    async with Deployment(watch) as deployment:
        await deployment.ask("a sentence to look for")
    assert watch.logged("wecom reply delivered")
    kept = {"a token", "an EncodingAESKey", "a response code", "what an agent answered"}
    assert kept <= set(watch.canaries.values())
    assert "a sentence to look for" in watch.canaries


async def test_a_host_at_debug_level_shows_no_secret(watch: Watch) -> None:
    """The messages include media, a quote and an event with text, and the agent raises an exception."""

    def fail(message: object) -> str:
        raise ValueError(str(message) + CANARY)

    watch.register("the text of an exception", CANARY)
    async with Deployment(watch, agent=RecordingAgent(fail)) as deployment:
        answer = await deployment.ask(Text("something that breaks it"), quote=Voice("quoted words of a user"))
        assert "Something went wrong" in answer
        await deployment.ask(Image(draw_png(4, 4)))
        await deployment.send(Feedback("f-1", 2, content="words of a complaint"))
    assert watch.tracebacks
