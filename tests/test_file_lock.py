"""The lock of a file. More about who can use a file is tested with the state and the memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.file_lock import (
    UnusableFile,
    check_file,
    lock_at_once,
    lock_file,
    lock_path,
    others_can_change,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_locked_once_until_the_lock_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "file.db"
    path.touch()
    lock = lock_file(path)
    with pytest.raises(UnusableFile, match="is in use by another process"):
        lock_file(path)
    os.close(lock)
    os.close(lock_file(path))
    assert (tmp_path / "file.db.lock").stat().st_mode & 0o777 == 0o600


def test_a_file_has_the_same_lock_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("file.db")
    assert lock_path(tmp_path / "link.db") == tmp_path / "file.db.lock"


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("elsewhere")], ids=["pipe", "link"])
def test_anything_but_a_regular_file_in_place_of_the_lock_file_is_refused(tmp_path: Path, make: object) -> None:
    path = tmp_path / "file.db"
    path.touch()
    assert callable(make)
    make(tmp_path / "file.db.lock")
    with pytest.raises(UnusableFile, match="is not a regular file: remove the lock file"):
        lock_file(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_system_without_locks_is_named(tmp_path: Path) -> None:
    """A descriptor that only names a file cannot be locked, as a file on such a file system."""
    descriptor = os.open(tmp_path, os.O_PATH)
    with pytest.raises(UnusableFile, match="no working locks"):
        lock_at_once(descriptor)
    os.close(descriptor)


def test_only_a_regular_file_with_one_name_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "file.db"
    path.touch()
    check_file(path)
    (tmp_path / "other.db").hardlink_to(path)
    os.mkfifo(tmp_path / "pipe")
    for place, reason in (
        (path, "has several names"),
        (tmp_path, "is a folder: name a file in it"),
        (tmp_path / "pipe", "is a pipe or a device"),
    ):
        with pytest.raises(UnusableFile, match=reason):
            check_file(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_knows_in_which_folders_others_can_change_something(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    assert not others_can_change(folder)
    # In one with the sticky bit others can add files, and replace no folder of root's.
    for mode, expected in ((0o777, (True, True)), (0o1777, (True, False)), (0o755, (False, False))):
        folder.chmod(mode)
        assert (others_can_change(folder), others_can_change(folder / "inside")) == expected
    os.chown(folder, 65534, 65534)
    assert others_can_change(folder)
    assert others_can_change(folder / "inside")
    os.seteuid(65534)
    try:
        assert not others_can_change(folder)
    finally:
        os.seteuid(0)
