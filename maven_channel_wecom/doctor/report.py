"""The report as text for people and as JSON for machines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.doctor.checks import CONSOLE
from maven_channel_wecom.doctor.examination import LOCAL_URL, PUBLIC_URL
from maven_channel_wecom.host.logs import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maven_channel_wecom.doctor.checks import Check

# Those that decide what the console says.
_OF_THE_URL: Final = frozenset({"port", LOCAL_URL, PUBLIC_URL})


def all_well(checks: Sequence[Check]) -> bool:
    """Tell whether no check failed."""
    return all(check.outcome != "fail" for check in checks)


def as_json(checks: Sequence[Check]) -> str:
    """Return one object with `ok` and `checks`, in one line."""
    told = msgspec.to_builtins({"ok": all_well(checks), "checks": checks})
    # Not msgspec's: a path or the host of a redirect may hold what is no text.
    return printable(json.dumps(told, ensure_ascii=False)) + "\n"


def as_text(checks: Sequence[Check]) -> str:
    """Return one aligned line for each check, and a sentence."""
    channel_width = max((len(printable(check.channel)) for check in checks), default=0)
    name_width = max((len(check.name) for check in checks), default=0)
    lines = [
        f"{_word(check):4}  {printable(check.channel):{channel_width}}  {check.name:{name_width}}  "
        f"{printable(check.detail)}"
        for check in checks
    ]
    return "\n".join([*lines, "", verdict(checks), ""])


def verdict(checks: Sequence[Check]) -> str:
    """Return what all of it amounts to, in a sentence."""
    failed = [check for check in checks if check.outcome == "fail"]
    if failed:
        count = f"{len(failed)} {'checks' if len(failed) > 1 else 'check'} failed"
        if any(check.name in _OF_THE_URL for check in failed):
            return f"{count}; as long as the URL does not pass, {CONSOLE}."
        return f"{count}; the lines above say what to do."
    if any(check.name == PUBLIC_URL for check in checks):
        return "Nothing failed: from here, the URL answers as WeCom wants it."
    return "Nothing failed on this machine; with --url the address that WeCom calls is checked too."


def _word(check: Check) -> str:
    return "FAIL" if check.outcome == "fail" else check.outcome
