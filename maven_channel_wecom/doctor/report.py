"""Formats the report as text for people and as JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.doctor.checks import CONSOLE_ERROR
from maven_channel_wecom.doctor.run_checks import LOCAL_URL, PUBLIC_URL
from maven_channel_wecom.host.logs import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maven_channel_wecom.doctor.checks import Check

# The checks that decide whether WeCom's console accepts the URL.
_URL_CHECKS: Final = frozenset({"port", LOCAL_URL, PUBLIC_URL})


def all_ok(checks: Sequence[Check]) -> bool:
    """Return whether no check failed."""
    return all(check.outcome != "fail" for check in checks)


def as_json(checks: Sequence[Check]) -> str:
    """Return one JSON object with `ok` and `checks`, on one line."""
    report = msgspec.to_builtins({"ok": all_ok(checks), "checks": checks})
    # Not msgspec's encoder: a path or the host of a redirect may hold lone surrogates.
    return printable(json.dumps(report, ensure_ascii=False)) + "\n"


def as_text(checks: Sequence[Check]) -> str:
    """Return one aligned line for each check, and the verdict."""
    channel_width = max((len(printable(check.channel)) for check in checks), default=0)
    name_width = max((len(check.name) for check in checks), default=0)
    lines = [
        f"{_label(check):4}  {printable(check.channel):{channel_width}}  {check.name:{name_width}}  "
        f"{printable(check.detail)}"
        for check in checks
    ]
    return "\n".join([*lines, "", verdict(checks), ""])


def verdict(checks: Sequence[Check]) -> str:
    """Return a sentence that sums up the report."""
    failed = [check for check in checks if check.outcome == "fail"]
    if failed:
        count = f"{len(failed)} {'checks' if len(failed) > 1 else 'check'} failed"
        if any(check.name in _URL_CHECKS for check in failed):
            return f"{count}; until the URL check passes, {CONSOLE_ERROR}."
        return f"{count}; the lines above say what to do."
    if any(check.name == PUBLIC_URL for check in checks):
        return "Nothing failed: from this machine, the URL answers as WeCom expects."
    return "Nothing failed on this machine; with --url the address that WeCom calls is checked too."


def _label(check: Check) -> str:
    return "FAIL" if check.outcome == "fail" else check.outcome
