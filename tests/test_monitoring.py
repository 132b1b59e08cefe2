"""Tests of the command that writes the dashboards and rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dashboards.files import files
from maven_channel_wecom.cli import main
from tests.dashboards.committed import FOLDER

if TYPE_CHECKING:
    from pathlib import Path

RUNBOOK = "https://git.example.com/maven/runbook.md"


def test_the_files_are_written_into_a_new_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = tmp_path / "new" / "folder"
    assert main(["dashboards", "--into", str(into)]) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in into.iterdir()} == files()
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(map(str, into.iterdir()))


def test_alerts_link_to_the_given_runbook(tmp_path: Path) -> None:
    assert main(["dashboards", "--into", str(tmp_path), "--runbook", RUNBOOK]) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == files(RUNBOOK)


def test_the_files_in_the_clone_stay_as_they_are(tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()}
    assert main(["dashboards", "--into", str(tmp_path), "--runbook", RUNBOOK]) == 0
    assert {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["dashboards", "--into", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err == (
        f"maven-wecom: {tmp_path / 'file' / 'wecom-overview.json'} cannot be written: File exists\n"
    )


@pytest.mark.parametrize("address", ["", "runbook.md", "https://h/#x", "https://h/a b", "ftp://h/x", "https://h/'"])
def test_a_runbook_must_be_a_url(tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["dashboards", "--into", str(tmp_path), "--runbook", address])
    assert caught.value.code == 2
    assert "argument --runbook: must be a URL such as" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
