"""Prints the lowest allowed version of every dependency, extras included, as constraints for pip.

python -m tests.house.lowest
"""

from __future__ import annotations

import sys
import tomllib
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement

from tests.house.structure import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LOWER_BOUNDS = {">=", "=="}


def lowest(project: Mapping[str, Any]) -> Iterator[str]:
    """Yield a constraint for each dependency in the `project` table of a pyproject.toml.

    Raises:
        ValueError: a dependency has no lower bound.
    """
    lines: list[str] = list(project["dependencies"])
    for extra in project.get("optional-dependencies", {}).values():
        lines += extra
    for line in lines:
        requirement = Requirement(line)
        bounds = [each.version for each in requirement.specifier if each.operator in _LOWER_BOUNDS]
        if not bounds:
            text = f"{requirement.name} has no lower bound in pyproject.toml"
            raise ValueError(text)
        yield f"{requirement.name}=={bounds[0]}"


def main() -> int:
    """Print the constraints."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    sys.stdout.writelines(f"{line}\n" for line in lowest(document["project"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
