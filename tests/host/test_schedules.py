"""When cron jobs come due."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from maven_channel_wecom.host.schedules import Interval, parse_calendar, parse_interval


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400)])
def test_an_interval_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_interval(text) == Interval(seconds)


@pytest.mark.parametrize("text", ["", "30", "s", "0m", "-5m", "1.5h", "5 m", "5M", "5w", "９s", "5m\n", "9999999s"])
def test_other_texts_are_not_intervals(text: str) -> None:
    with pytest.raises(ValueError, match="must be a whole number and a unit"):
        parse_interval(text)


@pytest.mark.parametrize(
    ("now", "due"),
    [(0, 10), (9.5, 10), (10, 10), (10.5, 20), (35, 40)],
    ids=["start", "before due", "due", "just missed", "several missed"],
)
def test_an_interval_skips_missed_times_and_stays_on_its_grid(now: float, due: float) -> None:
    assert Interval(10).next_due(0, now) == due


def test_a_calendar_respects_weekdays() -> None:
    friday = datetime(2026, 11, 20, 9)  # noqa: DTZ001 -- cron expressions are about naive local time
    assert parse_calendar("0 9 * * 1-5").next_due(friday) == friday.replace(day=23)


def test_a_calendar_follows_the_clock_of_its_time_zone_over_a_change_to_summer_time() -> None:
    calendar = parse_calendar("0 9 * * *", ZoneInfo("Europe/Berlin"))
    before = datetime(2026, 3, 28, 9, tzinfo=calendar.zone)
    after = calendar.next_due(before)
    assert after.isoformat() == "2026-03-29T09:00:00+02:00"
    assert after.timestamp() - before.timestamp() == 23 * 3600
