"""The two files of a new bot: their modes, and that nothing is overwritten unasked."""

from __future__ import annotations

import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.setup import files

if TYPE_CHECKING:
    from pathlib import Path


def test_the_secrets_are_private_and_a_shell_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    files.write(folder, {"name": "小美"}, {"ONE": "abc", "TWO": "a 'quoted' $text"})
    secrets = folder / "secrets.env"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert (folder / "wecom.json").read_text("utf-8") == '{\n  "name": "小美"\n}\n'
    read = subprocess.run(  # noqa: S603 - our own words
        ["/bin/sh", "-c", f'. {secrets}; printf "%s" "$TWO"'], capture_output=True, text=True, check=True
    )
    assert read.stdout == "a 'quoted' $text"


@pytest.mark.parametrize("name", ["wecom.json", "secrets.env"])
def test_a_file_that_exists_stays_as_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine", encoding="utf-8")
    assert files.existing(tmp_path) == [tmp_path / name]
    with pytest.raises(FileExistsError):
        files.write(tmp_path, {}, {})
    assert (tmp_path / name).read_text("utf-8") == "mine"


def test_files_that_are_overwritten_become_private_too(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.env"
    secrets.write_text("OLD=a much longer line", encoding="utf-8")
    secrets.chmod(0o644)
    files.write(tmp_path, {}, {"NEW": "1"}, force=True)
    assert secrets.read_text("utf-8") == "NEW=1\n"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
