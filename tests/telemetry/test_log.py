"""The log line of each event."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, get_args

import pytest
from prometheus_client import CollectorRegistry

from maven_channel_wecom import errors
from maven_channel_wecom.telemetry import events
from maven_channel_wecom.telemetry.log_limit import LINES_PER_PERIOD
from maven_channel_wecom.telemetry.telemetry import Telemetry
from maven_channel_wecom.telemetry.trail import pseudonym, trail_id
from tests.log_events import difference, documented
from tests.telemetry.samples import CHAT, SAMPLES, USER, event

if TYPE_CHECKING:
    from maven_channel_wecom.telemetry.events import TelemetryEvent

Line = tuple[str, str, dict[str, object]]

CHANNEL: dict[str, object] = {"channel": "wecom"}
MESSAGE = CHANNEL | {"trail": trail_id("wecom", "m1")}
NAMED = MESSAGE | {"message_id": "m1"}
ONLY_ID = "WeCom sent only a media_id: fetching it needs an access token, which API-mode bots lack"
RECEIPT = MESSAGE | {"chat": pseudonym(CHAT), "seconds": 1.235, "attempts": 1, "truncated_bytes": 0}


class Log:
    """The telemetry of one channel, and the log lines that it writes at `debug` and above."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        self._caplog = caplog
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry(self.registry, "wecom", now=lambda: 1_000.0, version="0")

    def lines(self, *emitted: TelemetryEvent) -> list[Line]:
        self._caplog.clear()
        for each in emitted:
            self.telemetry(each)
        return [
            (record.levelname.lower(), record.getMessage(), record.__dict__["fields"])
            for record in self._caplog.records
        ]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    return Log(caplog)


@pytest.mark.parametrize(
    ("emitted", "line"),
    [
        # Without the field `channel`, like the original.
        (event(events.ListeningStarted), ("info", "wecom callback server listening", {"port": 9886})),
        (event(events.ChannelStopped), ("info", "wecom channel stopped", CHANNEL | {"unfinished": 2})),
        (
            event(events.RequestRejected),
            ("warning", "wecom request rejected", CHANNEL | {"reason": "tls", "status": 400}),
        ),
        (event(events.UrlChecked), ("info", "wecom callback url checked", CHANNEL)),
        (
            event(events.CallbackAnswered),
            (
                "debug",
                "wecom callback admitted",
                NAMED | {"type": "text", "sender": pseudonym(USER), "chat": pseudonym(CHAT)},
            ),
        ),
        (event(events.CallbackAnswered, outcome="duplicate"), ("info", "wecom callback repeated", NAMED)),
        (
            event(events.CallbackAnswered, outcome="refused", reason="sender"),
            ("info", "wecom callback refused", NAMED | {"reason": "sender", "sender": pseudonym(USER)}),
        ),
        (
            event(events.CallbackAnswered, outcome="state_full"),
            ("error", "wecom callback turned away", NAMED | {"reason": "state_full"}),
        ),
        (event(events.CallbackAnswered, type="hologram"), ("warning", "wecom message type unknown", NAMED)),
        (
            event(
                events.CallbackAnswered,
                kind="event",
                type="event",
                event="feedback_event",
                event_details={"feedback_id": "f1", "feedback_type": 2},
            ),
            (
                "info",
                "wecom event acknowledged",
                NAMED | {"event": "feedback_event", "feedback_id": "f1", "feedback_type": 2},
            ),
        ),
        (
            event(events.CallbackAnswered, kind="event", type="event", event="hologram"),
            ("info", "wecom event acknowledged", NAMED | {"event": "other_event"}),
        ),
        (
            event(events.CallbackInvalid),
            (
                "warning",
                "wecom callback rejected",
                CHANNEL | {"reason": "signature", "status": 401, "detail": "the signature is wrong"},
            ),
        ),
        (
            event(events.CallbackUnavailable),
            ("error", "wecom callback turned away", CHANNEL | {"reason": "inbox_full"}),
        ),
        (event(events.CallbackFailed), ("error", "wecom callback failed", CHANNEL | {"error": "ValueError"})),
        (event(events.MessageRecovered), ("info", "wecom message taken up", NAMED)),
        (event(events.MessagesRecovered), ("info", "wecom messages taken up", CHANNEL | {"messages": 3, "over": 1})),
        (event(events.RecoveryFailed), ("error", "wecom messages not taken up", CHANNEL | {"error": "ValueError"})),
        (event(events.MessageNormalized), ("debug", "wecom message normalized", MESSAGE | {"blocks": 2})),
        (event(events.MessagePublishing), ("debug", "wecom message published", MESSAGE)),
        (event(events.MessageEnded), ("debug", "wecom message finished", MESSAGE | {"outcome": "published"})),
        (
            event(events.MessageEnded, outcome="unsupported"),
            ("debug", "wecom message finished", MESSAGE | {"outcome": "unsupported"}),
        ),
        (
            event(events.MessageEnded, outcome="failed", reason="KeyError"),
            ("error", "wecom message failed", MESSAGE | {"reason": "KeyError"}),
        ),
        (event(events.MessageGivenUp), ("error", "wecom message given up", MESSAGE | {"failures": 12})),
        (event(events.MessageNotRecorded), ("error", "wecom message failed", MESSAGE | {"reason": "state"})),
        (
            event(events.MessageLate),
            ("warning", "wecom message late", MESSAGE | {"chat": pseudonym(CHAT), "type": "text", "seconds": 61}),
        ),
        (event(events.MediaEnded), ("debug", "wecom media opened", MESSAGE | {"kind": "image"})),
        (
            event(events.MediaEnded, outcome="expired"),
            ("warning", "wecom media unavailable", MESSAGE | {"kind": "image", "reason": "expired"}),
        ),
        (
            event(events.MediaEnded, outcome="not_an_image", detail="its type is image/heic"),
            (
                "warning",
                "wecom media unavailable",
                MESSAGE | {"kind": "image", "reason": "not_an_image", "detail": "its type is image/heic"},
            ),
        ),
        (
            event(events.MediaEnded, outcome="no_url", only_id=True),
            (
                "warning",
                "wecom media unavailable",
                MESSAGE | {"kind": "image", "reason": "no_url", "detail": ONLY_ID},
            ),
        ),
        (event(events.MediaFailed), ("error", "wecom media failed", MESSAGE | {"error": "ValueError"})),
        (event(events.StreamEnded), ("debug", "wecom stream ended", MESSAGE | {"outcome": "fetched"})),
        *(
            (event(events.StreamEnded, outcome=each), ("info", "wecom stream ended", MESSAGE | {"outcome": each}))
            for each in ("handed_over", "ended", "abandoned")
        ),
        (event(events.WindowClaimed), ("debug", "wecom reply window claimed", MESSAGE)),
        (
            event(events.AttemptEnded),
            ("debug", "wecom reply attempted", MESSAGE | {"attempt": 1, "outcome": "delivered"}),
        ),
        (event(events.AttemptRetried), ("info", "wecom reply retried", MESSAGE | {"attempt": 1, "reason": "busy"})),
        (event(events.ReplyEnded), ("info", "wecom reply delivered", RECEIPT)),
        (
            event(events.ReplyEnded, outcome="refused", reason="too_long"),
            ("warning", "wecom reply not delivered", RECEIPT | {"outcome": "refused", "reason": "too_long"}),
        ),
        (event(events.ReplyNotRecorded), ("error", "wecom reply not recorded", MESSAGE | {"reason": "state"})),
        (
            event(events.StateOperationEnded, operation="take_over", failure="state"),
            ("debug", "wecom state unavailable", CHANNEL | {"reason": "state"}),
        ),
        (event(events.StateChanged), ("warning", "wecom state away", CHANNEL | {"detail": "the disk is full"})),
        (event(events.StateChanged, problem=None), ("info", "wecom state back", CHANNEL)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, events.TelemetryEvent) else value[1],
)
def test_an_event_writes_one_line(log: Log, emitted: TelemetryEvent, line: Line) -> None:
    assert log.lines(emitted) == [line]


@pytest.mark.parametrize(
    "emitted",
    [
        event(events.ConnectionDropped),
        event(events.CallbackAnswered, type="stream"),
        event(events.RefreshAnswered),
        event(events.RefreshAnswered, outcome="unknown"),
        event(events.FirstSignShown),
        event(events.ProgressIgnored),
        event(events.AttemptStarted),
        event(events.StateOperationEnded),
        event(events.StateOperationEnded, failure="state"),
        event(events.StateOperationEnded, operation="take_over"),
        event(events.LoopLagged),
        event(events.WindowsExpired),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_events_write_no_line(log: Log, emitted: TelemetryEvent) -> None:
    assert log.lines(emitted) == []


@pytest.mark.parametrize("reason", get_args(errors.BodyRejection))
def test_a_body_that_was_not_received_is_logged_as_a_rejected_callback_with_a_detail(log: Log, reason: str) -> None:
    ((level, text, fields),) = log.lines(event(events.RequestRejected, reason=reason))
    assert (level, text, fields["reason"]) == ("warning", "wecom callback rejected", reason)
    assert " " in str(fields["detail"])


def test_the_reason_of_an_attempt_without_an_answer_is_logged(log: Log) -> None:
    ended = event(events.AttemptEnded, outcome="undeliverable", failure="dns", detail="the name was not found")
    assert [(level, text) for level, text, _ in log.lines(ended)] == [
        ("warning", "wecom reply failed"),
        ("debug", "wecom reply attempted"),
    ]
    assert log.lines(ended)[0][2] == MESSAGE | {"reason": "dns", "detail": "the name was not found"}


def test_the_errcode_of_a_refused_attempt_is_logged_with_its_meaning(log: Log) -> None:
    ended = event(events.AttemptEnded, outcome="refused", errcode=45002, meaning="content too long")
    assert [(level, text) for level, text, _ in log.lines(ended)] == [
        ("warning", "wecom reply not accepted"),
        ("debug", "wecom reply attempted"),
    ]
    assert log.lines(ended)[0][2] == MESSAGE | {"errcode": 45002, "meaning": "content too long"}


def test_a_reply_without_a_window_is_logged_without_seconds(log: Log) -> None:
    """The line has no trace id either, as the host named no message."""
    ended = event(
        events.ReplyEnded, message_id=None, outcome="undeliverable", reason="no_reply_window", seconds=None, attempts=0
    )
    ((_, _, fields),) = log.lines(ended)
    assert fields == CHANNEL | {
        "chat": pseudonym(CHAT),
        "attempts": 0,
        "truncated_bytes": 0,
        "outcome": "undeliverable",
        "reason": "no_reply_window",
    }


@pytest.mark.parametrize(
    "emitted",
    [
        event(events.RequestRejected),
        event(events.UrlChecked),
        event(events.CallbackAnswered, outcome="duplicate"),
        event(events.CallbackAnswered, outcome="refused", reason="bot"),
        event(events.CallbackAnswered, outcome="draining"),
        event(events.CallbackAnswered, type="hologram"),
        event(events.CallbackInvalid),
        event(events.CallbackUnavailable),
        event(events.CallbackFailed),
    ],
    ids=lambda value: type(value).__name__,
)
def test_lines_that_clients_can_cause_are_limited_counted_and_documented_so(log: Log, emitted: TelemetryEvent) -> None:
    lines = log.lines(*[emitted] * 100)
    assert len(lines) == LINES_PER_PERIOD
    assert documented()[lines[0][1]].limited
    suppressed = log.registry.get_sample_value("maven_wecom_log_lines_suppressed_total", {"channel": "wecom"})
    assert suppressed == 100 - LINES_PER_PERIOD


def test_a_line_begins_with_the_channel_and_the_trace_id(log: Log) -> None:
    """They stay visible if a line is cut to eighty columns."""
    (line,) = log.lines(event(events.CallbackAnswered, outcome="refused", reason="sender"))
    assert list(line[2]) == ["channel", "trail", "message_id", "reason", "sender"]


def test_every_line_is_as_documented(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    telemetry = Telemetry(CollectorRegistry(), "wecom", now=lambda: 1_000.0, version="0")
    for each in SAMPLES:
        telemetry(each)
    table = documented()
    found = [found for record in caplog.records if (found := difference(record, table))]
    assert not found, f"the table of log events in docs/operations.md lacks {', '.join(found)}"


def test_no_line_contains_the_id_of_a_user_or_chat(log: Log) -> None:
    text = repr(log.lines(*SAMPLES))
    assert USER not in text
    assert CHAT not in text


def test_a_level_that_is_off_writes_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    telemetry = Telemetry(CollectorRegistry(), "wecom", now=lambda: 1_000.0, version="0")
    for each in SAMPLES:
        telemetry(each)
    assert caplog.records == []
