"""Tests that the documents agree with the code."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from maven_channel_wecom import errors
from maven_channel_wecom.config import problems
from maven_channel_wecom.contract import hookspecs
from maven_channel_wecom.contract.messages import Outcome
from maven_channel_wecom.host.configuration import interpret

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MANIFEST = tomllib.loads((ROOT / "plugin.toml").read_text(encoding="utf-8"))


def table(name: str, page: str = README) -> list[str]:
    found = re.search(rf"<!-- table: {name} -->\n.*?\n\|[-|]+\|\n(.*?)<!-- end -->", page, re.DOTALL)
    assert found
    return found[1].splitlines()


def code(page: str) -> list[str]:
    """Return the blocks of code, without indentation."""
    return [block.replace("\n   ", "\n") for block in re.findall(r"```\w+\n(.*?)```", page, re.DOTALL)]


@pytest.mark.parametrize(
    "pattern", [r"(?:`|\$ )(make [a-z]+)", r"--[a-z]+", r"\n\| `([a-z]+)[^|\n]*` \| [^|\n]+ \|(?=\n)"]
)
def test_both_readmes_name_the_same_commands_and_options(pattern: str) -> None:
    found, chinese = set(re.findall(pattern, README)), set(re.findall(pattern, CHINESE))
    assert found == chinese
    assert found


def test_both_readmes_have_the_same_code_and_the_same_first_screen() -> None:
    assert code(README) == code(CHINESE)
    first, chinese = README.partition("\n## ")[0], CHINESE.partition("\n## ")[0].replace("-zh.png", ".png")
    for pattern in (r"\]\((docs/[^)]*)\)", r"```console\n(.*?)```"):
        assert re.findall(pattern, first, re.DOTALL) == re.findall(pattern, chinese, re.DOTALL) != []


@pytest.mark.parametrize("name", ["config", "host config"])
def test_both_readmes_list_the_same_keys(name: str) -> None:
    keys = [row.split(" | ")[0] for row in table(name)]
    assert keys == [row.split(" | ")[0] for row in table(name, CHINESE)]
    assert all(re.search("[。）] \\|$", row) for row in table(name, CHINESE))


def test_both_readmes_list_the_same_features() -> None:
    """Row by row, what is not supported, and the keys and pages that are named."""
    features = README.partition("## Features\n")[2].partition("\n## ")[0].splitlines()
    chinese = CHINESE.partition("## 功能\n")[2].partition("\n## ")[0].splitlines()
    for row, other in zip(features, chinese, strict=True):
        for pattern in (r"\*\*", r"`\w+[^`]*`", r"\]\(([^)]*)\)"):
            assert set(re.findall(pattern, row)) == set(re.findall(pattern, other)), other


def test_the_example_configuration_in_the_readme_has_no_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"<!-- example: wecom.json -->\s*```json\n(.*?)```", README, re.DOTALL)
    assert found
    document: dict[str, Any] = json.loads(found[1])
    monkeypatch.setenv("WECOM_TOKEN", "token")
    monkeypatch.setenv("WECOM_ENCODING_AES_KEY", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG")
    assert interpret(document)[1] == []
    assert problems("wecom", document["channels"]["wecom"]) == []


def test_the_table_of_metrics_in_the_readme_agrees_with_the_manifest() -> None:
    """Each row has the metric's name, its labels except `channel`, and its help text."""
    rows = [
        "| `{}` | {} | {} |".format(
            entry["name"], ", ".join(f"`{label}`" for label in entry["labels"][1:]), entry["help"]
        )
        for entry in MANIFEST["metric"]
    ]
    missing = [row for row in rows if row not in table("metrics")]
    assert not missing, "\n".join(["the table of metrics in README.md lacks these rows of plugin.toml:", *missing])
    assert table("metrics") == rows, "the table of metrics in README.md has other rows than plugin.toml"


def test_the_architecture_page_names_every_module_and_hook() -> None:
    package = ROOT / "maven_channel_wecom"
    modules = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    modules |= {f"{path.name}/" for path in package.iterdir() if path.is_dir() and not path.name.startswith("__")}
    hooks = {name for name in vars(hookspecs) if name.startswith("maven_")}
    missing = {name for name in modules | hooks if f"`{name}`" not in ARCHITECTURE}
    assert missing == set()


def test_the_commands_in_the_readme_are_targets_of_the_makefile() -> None:
    """Continuous integration runs `make test` and nothing else."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:`|\$ )make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    # make forwards a signal only to the process that it started itself.
    assert re.search(r"^gateway:.*\n\t@\$\(SECRETS\) exec ", makefile, re.MULTILINE)
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").rstrip().endswith("exec make test")


def test_every_relative_link_in_the_documents_has_a_target() -> None:
    for page in (*ROOT.glob("README*.md"), ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_reason_is_explained_on_the_operations_page() -> None:
    """Operators see these words in logs and labels."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    reasons = (
        errors.HttpRejection,
        errors.Rejection,
        errors.Unavailability,
        errors.Refusal,
        errors.MediaFailure,
        errors.UndeliverableReason,
        errors.RefusedReason,
        errors.UnknownReason,
        Outcome,
    )
    words = {word for each in reasons for word in get_args(each)} | {"duplicate", "refused"}
    explained = {word for word in words if f"`{word}`" in page or f"| {word} |" in page}
    assert words - explained == {"delivered"}
