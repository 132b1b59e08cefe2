"""Finding time zones, and the sentences about those that cannot be found."""

from __future__ import annotations

import re
import sys
import zoneinfo
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.host.timezones import machine_timezone_problem, parse_timezone

if TYPE_CHECKING:
    from pathlib import Path


def test_a_time_zone_is_found_by_its_name() -> None:
    assert parse_timezone("Asia/Shanghai") == zoneinfo.ZoneInfo("Asia/Shanghai")


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


def test_a_machine_without_time_zones_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # None makes an import fail, even if the package is installed.
    for package in ("tzdata.zoneinfo", "tzdata.zoneinfo.Asia"):
        monkeypatch.setitem(sys.modules, package, None)
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
