"""Locks a file for one process, by an operating-system lock on the file next to it whose name ends in `.lock`.

The lock ends with the process, however it ends. The file itself has none, so that other programs can read and copy it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

IN_USE: Final = "is in use by another process or channel: stop that one, or give each a file of its own"
NO_LOCKS: Final = (
    "cannot be locked, because its file system has no working locks, as on many network shares: "
    "name a file on a local disk"
)
"""Reasons why a file cannot be used."""

_SEVERAL_NAMES: Final = (
    "has several names (hard links), so two gateways could use it at once: remove the other names, or make a copy"
)
_NO_LOCK_FILE: Final = "has a lock file (its name plus .lock) that is not a regular file: remove the lock file"


class UnusableFile(Exception):
    """The file cannot be used. The message completes a sentence whose subject is the file."""


def lock_path(path: Path) -> Path:
    """Return the path of the lock file. A file has only one, even if it is opened through a symbolic link."""
    target = path.resolve()
    return target.with_name(f"{target.name}.lock")


def lock_file(path: Path) -> int:
    """Lock a file that exists. Return a descriptor of its lock file, which releases the lock when it is closed.

    Raises:
        UnusableFile: the file is locked, or cannot be.
        OSError: the lock file cannot be opened or created.
    """
    lock_name = lock_path(path)
    if lock_name.exists():
        check_access(lock_name, os.R_OK | os.W_OK)
    lock, is_new = _open_lock(lock_name)
    try:
        lock_at_once(lock)
        if is_new and os.geteuid() == 0:
            # As SQLite does with its own files: root opening the file once must not lock out the user who owns it.
            owner = path.stat()
            os.fchown(lock, owner.st_uid, owner.st_gid)
    except (OSError, UnusableFile):
        os.close(lock)
        raise
    return lock


def lock_at_once(lock: int) -> None:
    """Lock an open lock file. Raises UnusableFile if another process has, or the file system has no locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UnusableFile(IN_USE) from None
    except OSError:
        raise UnusableFile(NO_LOCKS) from None


def check_access(place: Path, rights: int) -> None:
    """Raise UnusableFile if this user lacks rights (`os.R_OK` and the like) to a file or folder."""
    if not os.access(place, rights, effective_ids=True):
        message = f"cannot be used: give this user the right to read and write {place}"
        raise UnusableFile(message)


def check_file(path: Path) -> None:
    """Raise UnusableFile if a file that exists is not a regular one, or has several names.

    SQLite would wait for a pipe, and a copy of a device never ends. Each name has a journal and a lock file of its own.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        message = "is a folder: name a file in it"
        raise UnusableFile(message)
    if not stat.S_ISREG(found.st_mode):
        message = "is a pipe or a device: name a file"
        raise UnusableFile(message)
    if found.st_nlink > 1:
        raise UnusableFile(_SEVERAL_NAMES)


def others_can_change(folder: Path) -> bool:
    """Return whether this user is root, and another one can change a folder or the path to it.

    SQLite obeys a journal beside a file, which can name any file to be deleted, and follows links. So another user
    could make root delete or replace any file.
    """
    if os.geteuid() != 0:
        return False
    folder = folder.resolve()
    # In a folder with the sticky bit, such as /tmp, others cannot replace what is root's.
    return _is_of_others(folder, 0) or any(_is_of_others(each, stat.S_ISVTX) for each in folder.parents)


def _is_of_others(folder: Path, protected_by: int) -> bool:
    found = folder.stat()
    others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & protected_by
    return found.st_uid != 0 or bool(others_write)


def _open_lock(path: Path) -> tuple[int, bool]:
    """Return a descriptor of the lock file, and whether it was created.

    A symbolic link is not followed: a user who can write in the folder could otherwise make root create or give away
    any other file.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600), True
    except FileExistsError:
        pass
    try:
        lock = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnusableFile(_NO_LOCK_FILE) from None
        raise
    if not stat.S_ISREG(os.fstat(lock).st_mode):
        os.close(lock)
        raise UnusableFile(_NO_LOCK_FILE)
    return lock, False
