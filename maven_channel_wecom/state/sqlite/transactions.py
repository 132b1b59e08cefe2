"""Operations carried out together in one transaction, and what becomes of them when it fails."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.sqlite.entries import Entries
from maven_channel_wecom.state.sqlite.failures import Unusable, explain, is_damage
from maven_channel_wecom.state.sqlite.file import open_file
from maven_channel_wecom.state.sqlite.schema import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from maven_channel_wecom.state.port import KeptCallback


class Transactions:
    """The entries of one open file. Made, used and closed by one thread; raises StateUnavailable when made."""

    def __init__(self, path: Path) -> None:
        # Absolute, so that it stays the same file and its sentences say where it is.
        self._path = path.absolute()
        self._connection = open_file(self._path, STEPS)
        self._inode = self._path.stat().st_ino
        self._damage: StateUnavailable | None = None
        self.open_windows = 0
        self.expired_windows = 0
        self.entries = Entries(self._connection)
        (left,) = self.commit([self.entries.take_over])
        if isinstance(left, StateUnavailable):
            self.close()
            raise left
        self.left: list[KeptCallback] = left

    def commit(self, operations: Sequence[Callable[[], Any]]) -> list[Any]:
        """Carry out operations and return what each returned, once all of it is on the disk.

        A StateUnavailable in place of a result says that nothing of this operation was kept. An operation that fails by
        itself does not take the others with it, nor does one for which there is no room; a disk that fails does.
        """
        try:
            return self._try_commit(operations)
        except Exception as error:  # noqa: BLE001 - each caller gets a StateUnavailable, whatever went wrong
            self._roll_back()
            self.entries.rolled_back(self.open_windows, self.expired_windows)
            failure = self._judge(error)
        if len(operations) > 1 and (failure is None or failure.reason == "state_full"):
            # An operation may be to blame, or may need no room: one that finishes a message even makes some.
            return [self.commit([operation])[0] for operation in operations]
        failure = failure or StateUnavailable("the state cannot keep an entry with such content")
        return [StateUnavailable(str(failure), reason=failure.reason) for _ in operations]

    def close(self) -> None:
        """Close the file; its WAL goes into it."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _try_commit(self, operations: Sequence[Callable[[], Any]]) -> list[Any]:
        if self._damage:
            raise self._damage
        self._check_place()
        self._connection.execute("BEGIN IMMEDIATE")
        results = [operation() for operation in operations]
        self.entries.expire(len(operations))
        self._connection.execute("COMMIT")
        self.open_windows = self.entries.open_windows
        self.expired_windows = self.entries.expired_windows
        return results

    def _check_place(self) -> None:
        """Refuse to promise anything that goes into a file nobody will find again."""
        try:
            in_place = self._path.stat().st_ino == self._inode
        except OSError:
            in_place = False
        if not in_place:
            message = "was removed or replaced while in use: start the program again"
            raise Unusable(message)

    def _roll_back(self) -> None:
        # After some errors SQLite has done so already.
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _judge(self, error: Exception) -> StateUnavailable | None:
        if isinstance(error, StateUnavailable):
            return error
        failure = explain(error, self._path)
        if is_damage(error):
            self._damage = failure
        return failure
