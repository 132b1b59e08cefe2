"""A flood from outside leaves few lines."""

import logging

import pytest

from maven_channel_wecom.telemetry.log_limit import LINES_PER_PERIOD, MAX_LINES_PER_PERIOD, PERIOD_SECONDS, LogLimit
from tests.fakes.clock import FakeClock

logger = logging.getLogger("tests.log_limit")


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = record.__dict__["fields"]
    return fields


def test_the_first_lines_of_each_kind_pass_and_the_rest_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A kind is the text with its reason; the next period says how many were suppressed."""
    clock = FakeClock()
    limit = LogLimit(clock.now, lambda: None)
    for _ in range(10_000):
        limit.log(logger, logging.WARNING, "rejected", reason="signature")
    limit.log(logger, logging.WARNING, "rejected", reason="malformed")
    assert len(caplog.records) == LINES_PER_PERIOD + 1
    clock.time += PERIOD_SECONDS
    limit.log(logger, logging.WARNING, "rejected", reason="signature")
    assert fields_of(caplog.records[-1]) == {"reason": "signature", "suppressed": 10_000 - LINES_PER_PERIOD}


def test_a_quiet_kind_reports_nothing_suppressed(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    limit = LogLimit(clock.now, lambda: None)
    limit.log(logger, logging.WARNING, "rejected", reason="signature")
    clock.time += PERIOD_SECONDS
    limit.log(logger, logging.WARNING, "rejected", reason="signature")
    assert [fields_of(record) for record in caplog.records] == [{"reason": "signature"}] * 2


def test_many_kinds_at_once_leave_few_lines_too(caplog: pytest.LogCaptureFixture) -> None:
    """A caller who mixes them gets hardly more, and each kind shows that it was there."""
    suppressed: list[None] = []
    limit = LogLimit(FakeClock().now, lambda: suppressed.append(None))
    for number in range(10_000):
        limit.log(logger, logging.WARNING, "rejected", reason=f"reason {number % 20}")
    assert len({fields_of(record)["reason"] for record in caplog.records}) == 20
    assert len(caplog.records) == MAX_LINES_PER_PERIOD == 10_000 - len(suppressed)


def test_a_line_whose_level_is_off_does_not_count_as_suppressed(caplog: pytest.LogCaptureFixture) -> None:
    """Else a quiet level would look like a flood."""
    caplog.set_level(logging.ERROR)
    suppressed: list[None] = []
    limit = LogLimit(FakeClock().now, lambda: suppressed.append(None))
    for _ in range(100):
        limit.log(logger, logging.WARNING, "rejected", reason="signature")
    assert caplog.records == suppressed == []
