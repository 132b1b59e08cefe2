"""What was found, as text and as JSON."""

from __future__ import annotations

import json

from maven_channel_wecom.doctor import report
from maven_channel_wecom.doctor.checks import Check
from maven_channel_wecom.doctor.examination import PUBLIC_URL


def test_a_verdict_speaks_of_the_console_only_when_the_url_is_concerned() -> None:
    """And of the public address only when it was asked."""
    state = Check(name="state", channel="a", outcome="fail", detail="no")
    public = Check(name=PUBLIC_URL, channel="a", outcome="ok", detail="yes")
    assert report.verdict([state, state]) == "2 checks failed; the lines above say what to do."
    assert report.verdict([public]) == "Nothing failed: from here, the URL answers as WeCom wants it."


def test_what_could_steer_a_terminal_is_escaped() -> None:
    """A host of a redirect comes from outside."""
    detail = "to \x1b[2J\x9b2J\u202e\ud800"
    check = Check(name="public_url", channel="\ud800", outcome="fail", detail=detail)
    assert "to \\u001b[2J\\u009b2J\\u202e\\ud800" in report.as_text([check])
    told = report.as_json([check])
    assert told[:-1].isprintable()
    assert json.loads(told)["checks"] == [
        {"name": "public_url", "channel": "\ud800", "outcome": "fail", "detail": detail}
    ]
