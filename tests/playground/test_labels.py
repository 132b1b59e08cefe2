"""The texts of the page."""

from __future__ import annotations

import re

import pytest

from maven_channel_wecom.playground.labels import LABELS, Label, Labels
from maven_channel_wecom.playground.page import FOLDER
from tests.house.structure import PACKAGE

HAN = re.compile(r"[\u4e00-\u9fff]")
SAME = {"fault_status", "token", "key"}


@pytest.mark.parametrize("name", LABELS)
def test_every_text_exists_in_both_languages_with_the_same_braces(name: str) -> None:
    label = LABELS[name]
    assert re.findall(r"{\w+}", label.zh) == re.findall(r"{\w+}", label.en)
    if name == "other_language":  # In the language that it leads to.
        assert (label.zh, label.en) == ("English", "中文")
    elif name not in SAME:
        assert HAN.search(label.zh)
        assert not HAN.search(label.en)


def test_every_text_is_used() -> None:
    """Those of faults, ratings and modes have names that the code puts together."""
    folder = PACKAGE / "playground"
    sources = [path.read_text(encoding="utf-8") for path in folder.rglob("*.py") if path.name != "labels.py"]
    code = "".join(sources) + (FOLDER / "page.html").read_text(encoding="utf-8")
    unused = [name for name in LABELS if f'"{name}"' not in code and f"$label_{name}" not in code]
    assert [name for name in unused if not name.startswith(("fault_", "rate_", "mode_"))] == []


def test_braces_are_filled_in() -> None:
    labels = Labels("zh")
    assert labels("copies", count=2) == "推送了 2 次"
    assert Labels("en")("answered", name="Maven", text="x") == "Maven answered: x"
    assert labels.of(Label("甲", "A")) == "甲"
