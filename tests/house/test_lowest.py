"""Tests of the lowest allowed versions, with which `make lowest` runs the suite."""

from __future__ import annotations

import tomllib

import pytest

from tests.house.lowest import lowest
from tests.house.structure import ROOT


def test_each_dependency_and_extra_has_one_constraint() -> None:
    project = {
        "dependencies": ["aiohttp>=3.14.4,<4", "pluggy==1.6"],
        "optional-dependencies": {"redis": ["redis[hiredis]>=6.0"], "speed": ["uvloop>=0.21; os_name == 'posix'"]},
    }
    assert list(lowest(project)) == ["aiohttp==3.14.4", "pluggy==1.6", "redis==6.0", "uvloop==0.21"]


@pytest.mark.parametrize("line", ["aiohttp", "aiohttp<4", "aiohttp!=3.13"])
def test_a_dependency_without_a_lower_bound_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="aiohttp has no lower bound"):
        list(lowest({"dependencies": [line]}))


def test_every_dependency_of_the_project_has_a_lower_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    assert len(list(lowest(project))) == len(lines)
