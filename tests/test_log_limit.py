"""A flood from outside leaves few lines."""

import logging

import pytest

from maven_channel_wecom.log_limit import LINES_PER_PERIOD, PERIOD_SECONDS, LogLimit
from tests.fakes.clock import FakeClock

logger = logging.getLogger("tests.log_limit")


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = record.__dict__["fields"]
    return fields


def test_the_first_lines_of_each_kind_pass_and_the_rest_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A kind is the event with its reason; the next period says how many were left out."""
    clock = FakeClock()
    limit = LogLimit(clock, lambda: None)
    for _ in range(10_000):
        limit.log(logger, logging.WARNING, "rejected", reason="signature")
    limit.log(logger, logging.WARNING, "rejected", reason="malformed")
    assert len(caplog.records) == LINES_PER_PERIOD + 1
    clock.time += PERIOD_SECONDS
    limit.log(logger, logging.WARNING, "rejected", reason="signature")
    assert fields_of(caplog.records[-1]) == {"reason": "signature", "suppressed": 10_000 - LINES_PER_PERIOD}


def test_a_quiet_kind_reports_nothing_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """There is no field when there was nothing to count."""
    clock = FakeClock()
    limit = LogLimit(clock, lambda: None)
    limit.log(logger, logging.WARNING, "rejected", reason="signature")
    clock.time += PERIOD_SECONDS
    limit.log(logger, logging.WARNING, "rejected", reason="signature")
    assert [fields_of(record) for record in caplog.records] == [{"reason": "signature"}] * 2
