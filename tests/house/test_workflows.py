"""Tests of the workflows for GitHub."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.files import check

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"


def read(name: str) -> Any:  # noqa: ANN401 - any document
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def test_the_files_are_valid() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *sorted(FOLDER.iterdir()))
    check("check-jsonschema", "--builtin-schema", "vendor.dependabot", ROOT / ".github" / "dependabot.yml")


def test_an_audit_finds_nothing() -> None:
    check("zizmor", "--offline", "--persona", "pedantic", "--no-progress", ROOT / ".github")


def test_every_supported_python_runs_what_continuous_integration_runs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    prefix = "Programming Language :: Python :: 3."
    supported = [f"3.{each.removeprefix(prefix)}" for each in project["classifiers"] if each.startswith(prefix)]
    job = read("test.yml")["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == supported
    assert job["steps"][-1]["run"] == ".ci/run"


def test_a_release_is_tested_and_has_its_origin_attested_before_it_is_published() -> None:
    jobs = read("release.yml")["jobs"]
    commands = [step.get("run") or step["uses"].partition("@")[0] for step in jobs["build"]["steps"]]
    assert (
        commands.index(".ci/run") < commands.index("make package") < commands.index("actions/attest-build-provenance")
    )
    assert jobs["publish"]["needs"] == "build"
    assert "contents" not in jobs["publish"]["permissions"]
