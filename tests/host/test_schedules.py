"""When cron jobs come due."""

from __future__ import annotations

import re
import zoneinfo
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.host.schedules import (
    Interval,
    machine_timezone_problem,
    parse_calendar,
    parse_interval,
    parse_timezone,
)

if TYPE_CHECKING:
    from pathlib import Path


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
    calendar = parse_calendar("0 9 * * *", parse_timezone("Europe/Berlin"))
    before = datetime(2026, 3, 28, 9, tzinfo=calendar.zone)
    after = calendar.next_due(before)
    assert after.isoformat() == "2026-03-29T09:00:00+02:00"
    assert after.timestamp() - before.timestamp() == 23 * 3600


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Asia/Shangai", "is not a known time zone; did you mean Asia/Shanghai?"),
        ("canary", "is not a known time zone, such as Asia/Shanghai"),
        ("../etc/passwd", "is not a known time zone, such as Asia/Shanghai"),
        ("/etc/passwd", "is not a known time zone, such as Asia/Shanghai"),
    ],
)
def test_an_unknown_time_zone_is_a_problem(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse_timezone(name)


def test_a_machine_without_time_zones_is_told_what_to_install(tmp_path: Path) -> None:
    zoneinfo.ZoneInfo.clear_cache()
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(tmp_path)])
    try:
        with pytest.raises(ValueError, match="install the package tzdata"):
            parse_timezone("Asia/Shanghai")
    finally:
        zoneinfo.reset_tzpath(before)


@pytest.mark.parametrize(
    "value", ["", "Asia/Shanghai", ":Asia/Shanghai", "CST-8", "<+08>-8", "Etc/GMT-8", ":/etc/localtime"]
)
def test_a_usable_time_zone_of_the_machine_is_no_problem(value: str) -> None:
    assert machine_timezone_problem(value) is None


@pytest.mark.parametrize("value", ["Asia/Shangai", "Nowhere", ":bad"])
def test_an_unknown_time_zone_of_the_machine_is_a_problem(value: str) -> None:
    """The system would silently take it for UTC."""
    assert "TZ names an unknown time zone" in (machine_timezone_problem(value) or "")
