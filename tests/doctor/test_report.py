"""The report as text and as JSON."""

from __future__ import annotations

import json

from maven_channel_wecom.doctor import report
from maven_channel_wecom.doctor.checks import Check
from maven_channel_wecom.doctor.run_checks import PUBLIC_URL


def test_a_verdict_mentions_only_what_was_checked() -> None:
    """The console is mentioned only if a URL check failed, the public URL only if it was checked."""
    state = Check(name="state", channel="a", outcome="fail", detail="no")
    public = Check(name=PUBLIC_URL, channel="a", outcome="ok", detail="yes")
    assert report.verdict([state, state]) == "2 checks failed; the lines above say what to do."
    assert report.verdict([public]) == "Nothing failed: from this machine, the URL answers as WeCom expects."


def test_terminal_control_characters_are_escaped() -> None:
    """The host of a redirect is chosen by whatever answers the URL."""
    detail = "to \x1b[2J\x9b2J\u202e\ud800"
    check = Check(name="public_url", channel="\ud800", outcome="fail", detail=detail)
    assert "to \\u001b[2J\\u009b2J\\u202e\\ud800" in report.as_text([check])
    printed = report.as_json([check])
    assert printed[:-1].isprintable()
    assert json.loads(printed)["checks"] == [
        {"name": "public_url", "channel": "\ud800", "outcome": "fail", "detail": detail}
    ]
