"""Log lines: what an operator, a log collector and an attacker can make of them."""

from __future__ import annotations

import io
import json
import logging
import re
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.contract.pseudonym import Pseudonym
from maven_channel_wecom.host import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY = "canary-4711"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers = handlers
    logger.setLevel(level)


def fail_twice() -> None:
    try:
        int(CANARY)
    except ValueError as error:
        raise KeyError(CANARY) from error


def printed(style: logs.LogFormat, message: str, fields: dict[str, object] | None = None) -> str:
    stream = io.StringIO()
    logs.configure("info", style, stream)
    logging.getLogger("test").info(message, extra={"fields": fields or {}})
    return stream.getvalue()


@pytest.mark.usefixtures("root")
class TestText:
    def test_a_line_is_time_level_event_and_fields(self) -> None:
        """The line of the original, to the letter."""
        line = printed("text", "wecom callback server listening", {"port": 9886})
        assert re.fullmatch(
            r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d INFO wecom callback server listening port=9886\n", line, re.ASCII
        )

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (["wecom"], "[wecom]"),
            (("a", "b"), '"[a b]"'),
            ([], "[]"),
            ("two words", '"two words"'),
            ('say "hi"', '"say \\"hi\\""'),
            ("a=b", '"a=b"'),
            ("", '""'),
            (None, "<nil>"),
            (True, "true"),
            (1.5, "1.5"),
            ("客服", "客服"),
            ("a\nb", '"a\\nb"'),
            ("a\u2028b", '"a\\u2028b"'),
            ("\x1b[31m", '"\\u001b[31m"'),
            ("\u202egnp", '"\\u202egnp"'),
        ],
        ids=repr,
    )
    def test_values_look_as_in_go_and_stay_on_their_line(self, value: object, shown: str) -> None:
        """Lists in brackets, quotes where a reader would stumble, escapes for whatever could forge a line."""
        assert printed("text", "event", {"key": value}).endswith(f" INFO event key={shown}\n")

    def test_lines_of_libraries_keep_their_first_line_only(self) -> None:
        """The event loop puts the text of exceptions on further lines."""
        assert printed("text", f"Task exception was never retrieved\nfuture: {CANARY}").count("\n") == 1

    def test_a_bug_shows_where_it_happened_but_not_what_was_said(self) -> None:
        """A traceback without the text of its exceptions, which may hold a user's words."""
        stream = io.StringIO()
        logs.configure("info", "text", stream)
        try:
            fail_twice()
        except KeyError:
            logging.getLogger("test").exception("agent failed")
        shown = stream.getvalue()
        assert CANARY not in shown
        assert re.search(r"ValueError\n.*test_logs\.py:\d+ in .*\n.*KeyError\n", shown)


@pytest.mark.usefixtures("root")
class TestJson:
    def test_a_line_is_one_object(self) -> None:
        """Fields stand beside time, level, message and logger, and lists stay lists."""
        line = printed("json", "gateway channels started", {"channels": ["wecom", "客服"], "level": "forged"})
        value = json.loads(line)
        assert line.count("\n") == 1
        assert value.pop("time").endswith("Z")
        assert value == {
            "level": "INFO",
            "msg": "gateway channels started",
            "logger": "test",
            "channels": ["wecom", "客服"],
        }

    def test_line_separators_are_escaped(self) -> None:
        """JSON allows U+2028 and U+0085 in a string; readers of lines do not."""
        line = printed("json", "event", {"key": "a\u2028b\u0085c\U000e0001"})
        assert line.isascii()
        assert json.loads(line)["key"] == "a\u2028b\u0085c\U000e0001"

    def test_a_bug_has_a_trace(self) -> None:
        """The trace is a list of lines, and holds no text of an exception."""
        stream = io.StringIO()
        logs.configure("info", "json", stream)
        try:
            fail_twice()
        except KeyError:
            logging.getLogger("test").exception("agent failed")
        assert json.loads(stream.getvalue())["trace"][0] == "ValueError"
        assert CANARY not in stream.getvalue()


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("user_ids", [False, True])
def test_people_go_by_their_ids_only_where_that_was_asked_for(style: logs.LogFormat, user_ids: bool) -> None:  # noqa: FBT001
    """The line is the same otherwise."""
    stream = io.StringIO()
    logs.configure("info", style, stream, user_ids=user_ids)
    logging.getLogger("test").info("admitted", extra={"fields": {"sender": Pseudonym("#4711", CANARY), "type": "text"}})
    assert (CANARY in stream.getvalue()) == user_ids
    assert ("#4711" in stream.getvalue()) != user_ids


def test_the_level_decides_what_is_printed(root: logging.Logger) -> None:
    """Below the level nothing is printed."""
    stream = io.StringIO()
    logs.configure("warning", "text", stream)
    logging.getLogger("test").info("quiet")
    logging.getLogger("test").warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()
    assert len(root.handlers) == 1
