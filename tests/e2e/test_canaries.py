"""The watch of every other test can fail: what it is told to keep, it finds wherever it shows."""

from __future__ import annotations

import logging

import pytest

from maven_channel_wecom.simulator.messages import Feedback, Image, Text, Voice
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.agents import Listener
from tests.e2e.deployment import Deployment
from tests.e2e.watch import Watch

CANARY = "canary-4711"


@pytest.fixture
def other() -> Watch:
    """Return a watch of its own, as the one of the test must stay clean."""
    found = Watch()
    found.keep("a token", CANARY)
    return found


@pytest.mark.parametrize(
    "fields",
    [{"token": CANARY}, {"detail": f"was {CANARY}!"}, {"list": ["a", CANARY]}],
    ids=["plain", "inside", "list"],
)
def test_a_canary_in_a_field_is_found(other: Watch, fields: dict[str, object]) -> None:
    """As the host would print it."""
    record = logging.makeLogRecord({"name": "maven_channel_wecom", "msg": "wecom event", "fields": fields})
    other.emit(record)
    assert other.leaks() == ["a token in a log line"]


def test_a_canary_in_a_message_is_found(other: Watch) -> None:
    """Put there by a careless format."""
    other.emit(logging.makeLogRecord({"name": "maven_channel_wecom", "msg": "token %s", "args": (CANARY,)}))
    assert other.leaks() == ["a token in a log line", "a token in a log line of another host"]


def test_a_canary_in_an_exception_is_found_if_another_host_would_print_it(other: Watch) -> None:
    """The text of an exception is shown by the formatter of Python, which hosts use that have none of their own."""
    error = ValueError(CANARY)
    fields = {"name": "maven_channel_wecom", "msg": "wecom event", "exc_info": (ValueError, error, None)}
    other.emit(logging.makeLogRecord(fields))
    assert other.leaks() == ["a token in a log line of another host"]


def test_a_canary_in_a_status_answer_is_found(other: Watch) -> None:
    """Metric labels and health sentences are looked at too."""
    other.shown("/metrics", f'maven_wecom_x{{channel="{CANARY}"}} 1.0')
    assert other.leaks() == ["a token in /metrics"]


def test_the_beginning_of_a_long_text_is_found(other: Watch) -> None:
    """A line that shows only the first words shows too much."""
    other.keep("what a user wrote", "a long story about the harbor of the old town and its boats")
    other.shown("a log line", "text=a long story about the harbor of the old ...")
    assert other.leaks() == ["what a user wrote in a log line"]


async def test_a_log_line_of_a_part_of_the_channel_is_seen(watch: Watch) -> None:
    """The watch hears what the package logs, and what it was given to keep is not empty."""
    async with Deployment(watch) as deployment:
        await deployment.ask("a sentence to look for")
    assert watch.logged("wecom reply delivered")
    kept = {"a token", "an EncodingAESKey", "a response code", "what an agent answered"}
    assert kept <= set(watch.canaries.values())
    assert "a sentence to look for" in watch.canaries


async def test_a_host_that_logs_everything_shows_no_secret(watch: Watch) -> None:
    """At debug level, with media, a quote, an event with words in it, and an agent that breaks."""

    def explode(message: object) -> str:
        raise ValueError(str(message) + CANARY)

    watch.keep("the text of an exception", CANARY)
    async with Deployment(watch, agent=Listener(explode)) as deployment:
        answer = await deployment.ask(Text("something that breaks it"), quote=Voice("quoted words of somebody"))
        assert "Something went wrong" in answer
        await deployment.ask(Image(draw_png(4, 4)))
        await deployment.send(Feedback("f-1", 2, content="words of a complaint"))
    assert watch.tracebacks
