"""Tests of the versions that are in the image. `make lock` renews them."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.files import DEPLOY

FILES = ["requirements.txt", "build-requirements.txt"]
PROJECT: dict[str, Any] = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8"))


def read(name: str) -> dict[str, str]:
    """Return the version of each package. A line that is neither a version nor its hash is an error."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    versions = {}
    for entry in text.replace("\\\n", " ").splitlines():
        found = re.fullmatch(r"([a-z0-9-]+)==([\w.]+)(?: ; [^;#]*?)?((?:\s+--hash=sha256:[0-9a-f]{64})+)", entry)
        assert found, entry[:200]
        versions[found[1]] = found[2]
    return versions


def unsatisfied(requirements: list[str], versions: dict[str, str]) -> list[str]:
    """Return the requirements that are not among the versions, or out of range."""
    parsed = [Requirement(text) for text in requirements]
    found = [(each, versions.get(canonicalize_name(each.name))) for each in parsed]
    return [str(each) for each, version in found if version is None or not each.specifier.contains(version)]


@pytest.mark.parametrize("name", FILES)
def test_every_version_has_hashes_and_no_file_names_a_registry(name: str) -> None:
    """The same files are then installed from any registry."""
    assert read(name)


def test_the_image_has_all_extras_in_versions_that_the_project_allows() -> None:
    project = PROJECT["project"]
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    assert unsatisfied([*project["dependencies"], *extras], read("requirements.txt")) == []


def test_the_wheel_is_built_with_what_the_project_names() -> None:
    assert unsatisfied(PROJECT["build-system"]["requires"], read("build-requirements.txt")) == []


def test_a_requirement_that_is_missing_or_out_of_range_is_named() -> None:
    """`make lock` must be run again after such a change of pyproject.toml."""
    versions = {"aiohttp": "3.14.5", "opentelemetry-api": "1.45.2"}
    assert unsatisfied(["aiohttp>=4", "OpenTelemetry_API>=1", "redis[hiredis]>=6"], versions) == [
        "aiohttp>=4",
        "redis[hiredis]>=6",
    ]


def test_the_image_installs_only_wheels_whose_hashes_are_known() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    installs = re.findall(r"pip (?:--python \S+ )?install (.*?)(?:&&|\n)", text)
    assert len(installs) == 3
    assert all("--no-cache-dir" in each for each in installs)
    for name in FILES:
        (install,) = (each for each in installs if f"-r deploy/{name}" in each)
        assert "--only-binary=:all: --require-hashes" in install
    # The third installs our own wheel and must not fetch anything.
    (own,) = (each for each in installs if "-r " not in each)
    assert "--no-deps dist/" in own
