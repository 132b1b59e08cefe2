"""The two files of a new bot: their modes, and that nothing is overwritten unasked."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.setup import files

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["wecom.json", "secrets.env"]


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


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_exists_stays_as_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine", encoding="utf-8")
    assert files.existing(tmp_path) == [tmp_path / name]
    with pytest.raises(FileExistsError):
        files.write(tmp_path, {}, {})
    assert (tmp_path / name).read_text("utf-8") == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_of_many_that_write_at_once_one_succeeds_with_both_files(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def write(number: int) -> bool:
        start.wait()
        try:
            files.write(tmp_path, {"number": number}, {"NUMBER": str(number)})
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(write, range(8)))
    assert sum(written) == 1
    number = written.index(True)
    assert json.loads((tmp_path / "wecom.json").read_text("utf-8")) == {"number": number}
    assert (tmp_path / "secrets.env").read_text("utf-8") == f"NUMBER={number}\n"
    assert len(list(tmp_path.iterdir())) == 2


def test_files_that_are_overwritten_become_private_too(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.env"
    secrets.write_text("OLD=a much longer line", encoding="utf-8")
    secrets.chmod(0o644)
    files.write(tmp_path, {}, {"NEW": "1"}, force=True)
    assert secrets.read_text("utf-8") == "NEW=1\n"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", ["victim", "nothing"])
def test_a_link_exists_even_to_nothing_and_is_replaced_instead_of_followed(
    name: str, target: str, tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (tmp_path / "victim").write_text("a letter", encoding="utf-8")
    (folder / name).symlink_to(tmp_path / target)
    assert files.existing(folder) == [folder / name]
    with pytest.raises(FileExistsError):
        files.write(folder, {}, {})
    files.write(folder, {}, {"NEW": "1"}, force=True)
    assert not (folder / name).is_symlink()
    assert (tmp_path / "victim").read_text("utf-8") == "a letter"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_is_replaced_and_nothing_waits_for_its_reader(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    files.write(tmp_path, {}, {}, force=True)
    assert (tmp_path / name).is_file()


def test_who_has_opened_the_old_secrets_cannot_read_the_new_ones(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.env"
    secrets.write_text("OLD=1\n", encoding="utf-8")
    with secrets.open(encoding="utf-8") as opened:
        files.write(tmp_path, {}, {"NEW": "1"}, force=True)
        assert opened.read() == "OLD=1\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_that_name_is_an_error_that_leaves_the_other_file(name: str, tmp_path: Path) -> None:
    (other,) = set(NAMES) - {name}
    (tmp_path / other).write_text("mine", encoding="utf-8")
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        files.write(tmp_path, {}, {}, force=True)
    assert caught.value.filename == str(tmp_path / name)
    assert (tmp_path / other).read_text("utf-8") == "mine"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_leaves_no_new_files_either(tmp_path: Path) -> None:
    script = 'ulimit -f 0; exec "$@" </dev/null'
    command = [sys.executable, "-m", "maven_channel_wecom", "init", "--folder", str(tmp_path)]
    failed = subprocess.run(["/bin/sh", "-c", script, "sh", *command], capture_output=True, check=False)  # noqa: S603 - our own words
    assert failed.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_sentence_with_the_file_and_leaves_the_old_ones(tmp_path: Path) -> None:
    files.write(tmp_path, {"name": "old"}, {"OLD": "1"})
    failed = subprocess.run(  # noqa: S603 - our own words
        [
            *("/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh", sys.executable, "-m", "maven_channel_wecom"),
            *("init", "--force", "--folder", str(tmp_path)),
        ],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    sentence = f"maven-wecom init: {tmp_path}/secrets.env cannot be written: File too large\n"
    assert (failed.returncode, failed.stderr) == (1, sentence)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    assert (tmp_path / "secrets.env").read_text("utf-8") == "OLD=1\n"
    assert "old" in (tmp_path / "wecom.json").read_text("utf-8")
