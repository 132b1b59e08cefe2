"""Tests of the wheel and the sdist."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from dashboards.files import files

ROOT = Path(__file__).parents[2]


def build(target: Path, *, mask: int) -> dict[str, bytes]:
    """Build the wheel and the sdist under a file mode mask, and return them."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(target)]
    subprocess.run(command, cwd=ROOT, umask=mask, capture_output=True, check=True)  # noqa: S603 - ours
    return {path.name: path.read_bytes() for path in target.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build(folder, mask=0o022)
    return folder


def test_two_builds_are_equal(built: Path, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in built.iterdir()}
    assert len(first) == 2
    assert build(tmp_path, mask=0o077) == first


def test_a_program_of_the_wheel_writes_its_own_dashboards(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")  # noqa: S202 - our own archive
    program = (
        "import maven_channel_wecom.monitoring as m; assert m.__file__.startswith(sys.path[1]), m.__file__\n"
        "from maven_channel_wecom.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", f"import sys; {program}", "dashboards", "--into", str(tmp_path / "written")],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "written").iterdir()}
    assert written == files()


def test_the_version_of_the_metadata_is_one_that_the_action_which_publishes_them_knows(built: Path) -> None:
    """Version 1.12 of the action has twine 6.1, which refuses newer metadata than 2.4."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        assert archive.read(name).startswith(b"Metadata-Version: 2.4\n")
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        (name,) = (each for each in archive.getnames() if each.endswith("/PKG-INFO"))
        content = archive.extractfile(name)
        assert content
        assert content.read().startswith(b"Metadata-Version: 2.4\n")


@pytest.mark.parametrize("script", ["environment", "package"])
def test_every_extra_is_in_the_environment_and_in_the_bill_of_materials(script: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = ",".join(sorted(project["optional-dependencies"]))
    assert f"[{extras}]" in (ROOT / ".ci" / script).read_text(encoding="utf-8")


def test_the_sdist_contains_no_generated_file(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        folders = {Path(name).parts[1] for name in archive.getnames()}
    assert {"maven_channel_wecom", "tests", "docs", "deploy", "dashboards"} <= folders
    assert not folders & {".venv", ".git", "dist", "mutants", ".hypothesis", ".mypy_cache"}
