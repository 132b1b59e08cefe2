"""The rate limit for log lines."""

import logging

import pytest

from maven_channel_wecom.telemetry.log_limit import LINES_PER_PERIOD, MAX_LINES_PER_PERIOD, PERIOD_SECONDS, LogLimit
from tests.fakes.clock import FakeClock

logger = logging.getLogger("tests.log_limit")


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = record.__dict__["fields"]
    return fields


def test_the_first_lines_of_each_kind_are_written_and_the_rest_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The first line of the next period reports how many were suppressed."""
    clock = FakeClock()
    limit = LogLimit(clock.now, lambda: None)
    for _ in range(10_000):
        limit.log(logger, logging.WARNING, "rejected", reason="signature")
    limit.log(logger, logging.WARNING, "rejected", reason="malformed")
    assert len(caplog.records) == LINES_PER_PERIOD + 1
    clock.time += PERIOD_SECONDS
    limit.log(logger, logging.WARNING, "rejected", reason="signature")
    assert fields_of(caplog.records[-1]) == {"reason": "signature", "suppressed": 10_000 - LINES_PER_PERIOD}


def test_a_kind_within_its_limit_reports_no_suppressed_lines(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    limit = LogLimit(clock.now, lambda: None)
    limit.log(logger, logging.WARNING, "rejected", reason="signature")
    clock.time += PERIOD_SECONDS
    limit.log(logger, logging.WARNING, "rejected", reason="signature")
    assert [fields_of(record) for record in caplog.records] == [{"reason": "signature"}] * 2


def test_many_kinds_at_once_are_limited_together_but_each_is_written_once(caplog: pytest.LogCaptureFixture) -> None:
    suppressed: list[None] = []
    limit = LogLimit(FakeClock().now, lambda: suppressed.append(None))
    for number in range(10_000):
        limit.log(logger, logging.WARNING, "rejected", reason=f"reason {number % 20}")
    assert len({fields_of(record)["reason"] for record in caplog.records}) == 20
    assert len(caplog.records) == MAX_LINES_PER_PERIOD == 10_000 - len(suppressed)


def test_a_line_whose_level_is_off_does_not_count_as_suppressed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    suppressed: list[None] = []
    limit = LogLimit(FakeClock().now, lambda: suppressed.append(None))
    for _ in range(100):
        limit.log(logger, logging.WARNING, "rejected", reason="signature")
    assert caplog.records == suppressed == []
