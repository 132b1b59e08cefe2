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
