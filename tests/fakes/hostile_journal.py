"""What a user who may write in the folder of an SQLite file can put beside it.

A journal that names a super-journal, which SQLite deletes after the file was rolled back:
https://www.sqlite.org/fileformat.html#the_rollback_journal
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OTHER_USER = 65534

_MAGIC = bytes.fromhex("d9d505f920a163d7")
_SECTOR_BYTES = 512
_PAGE_SIZE = slice(16, 18)
_LOCK_BYTE = 0x40000000


def give_to_another_user(folder: Path) -> None:
    """Make a folder and the files in it another user's. Only root can."""
    for path in (folder, *folder.iterdir()):
        os.chown(path, OTHER_USER, OTHER_USER)


def put_journal_beside(path: Path, deletes: Path) -> None:
    """Write a journal that restores the first page of a file, which does not change it, and deletes another file."""
    content = path.read_bytes()
    page_bytes = int.from_bytes(content[_PAGE_SIZE])
    page = content[:page_bytes]
    numbers = (1, 0, len(content) // page_bytes, _SECTOR_BYTES, page_bytes)
    header = _MAGIC + b"".join(number.to_bytes(4) for number in numbers)
    checksum = sum(page[place] for place in range(page_bytes - 200, 0, -200))
    record = (1).to_bytes(4) + page + checksum.to_bytes(4)
    name = os.fsencode(deletes)
    after = (_LOCK_BYTE // page_bytes + 1, len(name), sum(name))
    first, *others = (number.to_bytes(4) for number in after)
    journal = header.ljust(_SECTOR_BYTES, b"\0") + record + first + name + b"".join(others) + _MAGIC
    path.with_name(f"{path.name}-journal").write_bytes(journal)
