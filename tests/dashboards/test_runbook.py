"""Tests that the runbook has a section for each alert, correct thresholds, and queries that work."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from dashboards import objectives
from dashboards.alerts import ALERTS
from dashboards.objectives import BURNS, OBJECTIVES
from tests.dashboards.committed import FOLDER, RUNBOOK, runbook_queries
from tests.dashboards.promtool import promtool

ROOT = Path(__file__).parents[2]
SECTIONS = dict(re.findall(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
WORDS = {3: "three", 5: "five", 10: "ten", 60: "sixty"}
PARTS = ("Meaning", "Impact", "Diagnosis", "Mitigation")


def test_the_sections_are_the_alerts_in_the_order_of_the_rules() -> None:
    assert list(SECTIONS) == [alert.name for alert in ALERTS]


@pytest.mark.parametrize("alert", ALERTS, ids=[alert.name for alert in ALERTS])
def test_a_section_has_four_parts(alert: object) -> None:
    """A section may refer to another one for all parts except Meaning."""
    section = SECTIONS[alert.name]  # type: ignore[attr-defined]
    if shared := re.search(r"^Impact, Diagnosis and Mitigation: as \[\w+\]\(#(\w+)\)", section, re.MULTILINE):
        section += SECTIONS[next(name for name in SECTIONS if name.lower() == shared[1])]
    assert all(f"**{part}.**" in section for part in PARTS)


def test_a_section_on_a_budget_states_the_threshold_of_its_alert() -> None:
    for objective in OBJECTIVES:
        for burn in BURNS:
            section = SECTIONS[f"WeCom{objective.name.capitalize()}BudgetBurns{burn.speed}"]
            assert f"{burn.factor * objective.budget * 100:.4g} %" in section


def percent(share: float) -> str:
    return f"{share * 100:g} %"


@pytest.mark.parametrize(
    ("alert", "numbers"),
    [
        ("WeComAnswersUndelivered", [percent(objectives.UNDELIVERED_SHARE), WORDS[objectives.UNDELIVERED_ANSWERS]]),
        ("WeComReplyWindowsExpiring", [WORDS[objectives.EXPIRED_WINDOWS]]),
        ("WeComMessagesStuck", [f"{objectives.OLDEST_SECONDS / 60:g} minutes"]),
        ("WeComAgentFailing", [percent(objectives.AGENT_SHARE), WORDS[objectives.AGENT_FAILURES]]),
        ("WeComMediaFailing", [percent(objectives.MEDIA_SHARE), WORDS[objectives.MEDIA_FAILURES]]),
        (
            "WeComFirstSignLate",
            [
                f"{objectives.FIRST_SIGN_SECONDS:g} s",
                percent(objectives.FIRST_SIGN_SHARE),
                WORDS[objectives.FIRST_SIGNS_LATE],
            ],
        ),
        ("WeComStreamsNotFetched", [percent(objectives.STREAMS_SHARE), WORDS[objectives.STREAMS_NOT_FETCHED]]),
        ("WeComRefreshesUnknown", [percent(objectives.UNKNOWN_SHARE), WORDS[objectives.UNKNOWN_REFRESHES]]),
        ("WeComNoCallbacks", [WORDS[objectives.BUSY_CALLBACKS]]),
        ("WeComNothingOpens", [WORDS[objectives.UNOPENED_CALLBACKS]]),
        ("WeComSignatureFailures", [percent(objectives.SIGNATURE_SHARE), WORDS[objectives.SIGNATURE_FAILURES]]),
        ("WeComClockSkew", [f"{objectives.SKEW_SECONDS:g} s"]),
        ("WeComConnectionsDropped", [WORDS[objectives.DROPPED_CONNECTIONS]]),
        ("WeComInboxFilling", [percent(objectives.INBOX_FULLNESS)]),
        ("WeComStateFailing", [WORDS[objectives.STATE_FAILURES]]),
        ("WeComLoopLagging", [f"{objectives.LAG_SECONDS:g} s", percent(objectives.LAG_SHARE)]),
        ("WeComRestarting", [WORDS[objectives.RESTARTS]]),
        ("WeComFileDescriptorsRunningOut", [percent(objectives.DESCRIPTORS_SHARE)]),
    ],
)
def test_a_meaning_states_the_thresholds_in_the_code(alert: str, numbers: list[str]) -> None:
    meaning = SECTIONS[alert].partition("**Impact.**")[0].lower()
    assert all(number in meaning for number in numbers)


def test_alerts_link_to_their_section() -> None:
    """The anchor is the one that Markdown renderers give to the heading."""
    rules = yaml.safe_load((FOLDER / "wecom-rules.yml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                address, anchor = rule["annotations"]["runbook_url"].split("#")
                assert address == "docs/runbook.md"
                assert anchor == rule["alert"].lower()


def test_links_inside_the_page_lead_to_a_section() -> None:
    anchors = {name.lower() for name in SECTIONS}
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= anchors


def test_queries_in_the_page_are_valid_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"runbook:maven_wecom:{number}", "expr": query} for number, query in enumerate(runbook_queries())
    ]
    assert rules
    path = tmp_path / "runbook.yml"
    path.write_text(json.dumps({"groups": [{"name": "runbook", "rules": rules}]}), encoding="utf-8")
    done = promtool("check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_log_lines_searched_for_in_the_page_exist_in_the_code() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "maven_channel_wecom").rglob("*.py"))
    for words in re.findall(r"grep (?:-\S+ )*'([a-z]+ [a-z ]+)'", RUNBOOK):
        if not words.startswith("out of"):
            assert words in code, words
