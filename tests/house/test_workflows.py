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


def test_whatever_the_tests_need_is_installed_before_they_run() -> None:
    """The scripts install only as root, and the tests run as another user."""
    for name in ("test.yml", "release.yml"):
        for job in read(name)["jobs"].values():
            commands = [step.get("run") for step in job["steps"]]
            if {".ci/run", "make lowest"} & set(commands):
                assert "sudo .ci/servers" in commands
                assert "sudo .ci/browser" in commands


def test_the_composition_is_checked_with_all_its_secrets() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
    (command,) = (
        step["run"] for step in read("test.yml")["jobs"]["image"]["steps"] if "secrets" in step.get("run", "")
    )
    assert f"{{{','.join(compose['secrets'])}}}" in command


def test_a_release_is_tested_and_has_its_origin_attested_before_it_is_published() -> None:
    jobs = read("release.yml")["jobs"]
    build, publish = (
        [step.get("run") or step["uses"].partition("@")[0] for step in jobs[name]["steps"]]
        for name in ("build", "publish")
    )
    assert build.index(".ci/run") < build.index("make package")
    assert publish.index("actions/attest-build-provenance") < publish.index("pypa/gh-action-pypi-publish")
    assert jobs["publish"]["needs"] == "build"
    assert "contents" not in jobs["publish"]["permissions"]


def test_no_job_that_runs_packages_has_the_identity_that_publishes() -> None:
    """A package for the tests that was taken over could publish a release of its own with it."""
    for name in ("test.yml", "release.yml"):
        for job in read(name)["jobs"].values():
            if any("checkout" in step.get("uses", "") for step in job["steps"]):
                assert job["permissions"] == {"contents": "read"}
