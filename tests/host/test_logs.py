"""The format of log lines, for operators and log collectors, and with fields that an attacker chose."""

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
    """The root logger, restored after the test."""
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
        """The original gateway prints exactly this."""
        line = printed("text", "wecom callback server listening", {"port": 9886})
        assert re.fullmatch(
            r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d INFO wecom callback server listening port=9886\n", line, re.ASCII
        )

    @pytest.mark.parametrize(
        ("value", "expected"),
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
    def test_values_are_formatted_as_in_go_and_stay_on_their_line(self, value: object, expected: str) -> None:
        assert printed("text", "event", {"key": value}).endswith(f" INFO event key={expected}\n")

    def test_a_message_of_several_lines_keeps_only_the_first(self) -> None:
        """The event loop puts the text of exceptions on further lines."""
        assert printed("text", f"Task exception was never retrieved\nfuture: {CANARY}").count("\n") == 1

    def test_a_trace_shows_places_but_no_text_of_exceptions(self) -> None:
        """That text may contain a user's words."""
        stream = io.StringIO()
        logs.configure("info", "text", stream)
        try:
            fail_twice()
        except KeyError:
            logging.getLogger("test").exception("agent failed")
        trace = stream.getvalue()
        assert CANARY not in trace
        assert re.search(r"ValueError\n.*test_logs\.py:\d+ in .*\n.*KeyError\n", trace)


@pytest.mark.usefixtures("root")
class TestJson:
    def test_a_line_is_one_object_whose_own_keys_win(self) -> None:
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
        """JSON allows U+2028 and U+0085 in a string; programs that read lines do not."""
        line = printed("json", "event", {"key": "a\u2028b\u0085c\U000e0001"})
        assert line.isascii()
        assert json.loads(line)["key"] == "a\u2028b\u0085c\U000e0001"

    def test_a_trace_is_a_list_without_the_text_of_exceptions(self) -> None:
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
def test_ids_of_users_are_shown_only_if_configured(style: logs.LogFormat, user_ids: bool) -> None:  # noqa: FBT001
    stream = io.StringIO()
    logs.configure("info", style, stream, user_ids=user_ids)
    logging.getLogger("test").info("admitted", extra={"fields": {"sender": Pseudonym("#4711", CANARY), "type": "text"}})
    assert (CANARY in stream.getvalue()) == user_ids
    assert ("#4711" in stream.getvalue()) != user_ids


def test_records_below_the_level_are_not_printed(root: logging.Logger) -> None:
    stream = io.StringIO()
    logs.configure("warning", "text", stream)
    logging.getLogger("test").info("quiet")
    logging.getLogger("test").warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()
    assert len(root.handlers) == 1
