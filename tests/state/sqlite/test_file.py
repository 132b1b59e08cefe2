"""Opening of state files: which are accepted, by whom, and with which sentence the others are refused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.clock import ClockOffset
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.sqlite.file import StateFile, StateInUse, _to_unavailable
from maven_channel_wecom.state.sqlite.schema import APPLICATION_ID, VERSION
from maven_channel_wecom.state.sqlite.store import SqliteStateStore
from tests.fakes.disk import largest_file
from tests.state.messages import NOW, admission, admit, claim, stored, take_over_all, window

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
IN_USE = "is in use by another process or channel: stop that one, or give each a file of its own"


async def refusal(path: Path) -> str:
    """Open a file that must be refused, and return the error message without the file's name."""
    with pytest.raises(StateUnavailable) as raised:
        await SqliteStateStore.open(str(path))
    beginning = f"the state file {path} "
    assert str(raised.value).startswith(beginning)
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.reason == "state"
    return str(raised.value).removeprefix(beginning)


async def make_state(path: Path) -> None:
    store = await SqliteStateStore.open(str(path))
    await admit(store, "m1")
    await store.close()


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@contextlib.contextmanager
def folder_of_an_ordinary_user() -> Iterator[Path]:
    """Yield a folder of an ordinary user, and drop root privileges meanwhile."""
    administrator = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        if administrator:
            os.chown(folder, NOBODY, -1)
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if administrator:
                os.seteuid(0)
            folder.chmod(0o755)


def run_program(program: str, *arguments: str) -> str:
    """Run another process and return what it prints."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout  # noqa: S603 - our own program


OPENING = """
import asyncio, sys
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.backends import open_state
try:
    asyncio.run(open_state("sqlite:" + sys.argv[1], channel="wecom"))
    print("opened")
except StateUnavailable as unavailable:
    print(unavailable)
"""


async def test_the_files_are_readable_by_their_owner_only_whatever_the_umask(path: Path) -> None:
    """They contain URLs and users' messages."""
    umask = os.umask(0)
    try:
        store = await SqliteStateStore.open(str(path))
        await admit(store, "m1")
    finally:
        os.umask(umask)
    assert {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {
        "state.db": 0o600,
        "state.db-wal": 0o600,
        "state.db-shm": 0o600,
        "state.db.lock": 0o600,
    }
    await store.close()
    assert names(path.parent) == {"state.db", "state.db.lock"}


async def test_an_empty_file_becomes_a_state(path: Path) -> None:
    """An operator may have created the file in order to set its owner."""
    path.touch()
    store = await SqliteStateStore.open(str(path))
    assert await admit(store, "m1")
    await store.close()


async def test_the_header_of_the_file_identifies_it_as_a_state_file(path: Path) -> None:
    await make_state(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_second_store_on_the_same_file_is_refused(path: Path) -> None:
    """Two channels would take over each other's messages."""
    store = await SqliteStateStore.open(str(path))
    assert await refusal(path) == IN_USE
    assert await admit(store, "m1")
    await store.close()


def test_a_file_in_use_is_refused_with_an_error_class_of_its_own(path: Path) -> None:
    file = StateFile(path)
    with pytest.raises(StateInUse):
        StateFile(path)
    file.close()
    StateFile(path).close()


async def test_a_second_process_on_the_same_file_is_refused(path: Path) -> None:
    """Failed attempts to open the file must not release the lock."""
    store = await SqliteStateStore.open(str(path))
    await refusal(path)
    for _ in range(2):
        assert run_program(OPENING, str(path)) == f"the state file {path} {IN_USE}\n"
    assert await store.health() is None
    await store.close()
    assert run_program(OPENING, str(path)) == "opened\n"


async def test_a_file_in_use_is_refused_under_another_name_too(path: Path) -> None:
    store = await SqliteStateStore.open(str(path))
    link = path.with_name("link.db")
    link.symlink_to(path)
    assert await refusal(link) == IN_USE
    await store.close()
    await make_state(link)
    assert names(path.parent) == {"state.db", "state.db.lock", "link.db"}


async def test_a_crashed_owner_leaves_no_lock(path: Path) -> None:
    program = "import os, sys\nfrom pathlib import Path\n"
    program += "from maven_channel_wecom.state.sqlite.file import StateFile\n"
    program += "StateFile(Path(sys.argv[1]))\nprint('opened', flush=True)\nos.kill(os.getpid(), 9)\n"
    crashed = subprocess.run(  # noqa: ASYNC221, S603 - our own program, and the event loop is idle
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (crashed.stdout, crashed.returncode) == ("opened\n", -9)
    assert "state.db.lock" in names(path.parent)
    await make_state(path)


async def test_an_owner_whose_lock_file_is_removed_stops_when_another_opens_the_file(path: Path) -> None:
    first = await SqliteStateStore.open(str(path))
    path.with_name("state.db.lock").unlink()
    second = await SqliteStateStore.open(str(path))
    assert await admit(second, "m1")
    with pytest.raises(StateUnavailable, match="was removed or replaced while in use"):
        await admit(first, "m2")
    assert "was removed or replaced" in str(await first.health())
    await first.close()
    await second.close()


def test_the_lock_file_belongs_to_the_owner_of_the_state_file(path: Path) -> None:
    """If root opens the file once, its owner must still be able to open it."""
    if os.geteuid() != 0:
        pytest.skip("only root can change the owner of a file")
    path.touch()
    os.chown(path, NOBODY, NOBODY)
    StateFile(path).close()
    assert path.with_name("state.db.lock").stat().st_uid == NOBODY


BEFORE = ClockOffset("boot", 1_000.0)


def record(path: Path, offset: ClockOffset | None) -> None:
    file = StateFile(path)
    file.record_clock(offset)
    file.close()


def adjustment(path: Path, offset: ClockOffset | None) -> float:
    file = StateFile(path)
    adjusted = file.clock_adjustment(offset)
    file.close()
    return adjusted


def test_an_adjustment_of_the_clock_is_found_on_the_same_boot_only(path: Path) -> None:
    assert adjustment(path, BEFORE) == 0
    record(path, BEFORE)
    assert adjustment(path, ClockOffset("boot", 8_200.0)) == 7_200
    assert adjustment(path, ClockOffset("boot", -6_200.0)) == -7_200
    assert adjustment(path, ClockOffset("another boot", 8_200.0)) == 0
    assert adjustment(path, None) == 0
    record(path, None)
    assert adjustment(path, ClockOffset("boot", 8_200.0)) == 0


@pytest.mark.parametrize(
    "content",
    [
        b"4711\n",
        b"{",
        b'{"boot_id": "boot"}',
        b'{"boot_id": "boot", "seconds": 1e999}',
        b'{"boot_id": "\xff"}',
        bytes(9),
    ],
)
def test_other_content_of_the_lock_file_is_ignored_and_replaced(path: Path, content: bytes) -> None:
    path.with_name("state.db.lock").write_bytes(content + b" " * 100)
    assert adjustment(path, BEFORE) == 0
    record(path, BEFORE)
    assert adjustment(path, BEFORE) == 0
    assert adjustment(path, ClockOffset("boot", 8_200.0)) == 7_200


def test_on_a_full_disk_no_offset_is_recorded(path: Path) -> None:
    """The one that the last process recorded would be wrong."""
    record(path, BEFORE)
    file = StateFile(path)
    with largest_file(0):
        file.record_clock(ClockOffset("boot", 8_200.0))
    assert file.clock_adjustment(ClockOffset("boot", 8_200.0)) == 0
    file.close()


LOCKING = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print("locked", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def locked_by_another_program(path: Path, *statements: str) -> Iterator[str]:
    """Run statements on a file in another program, which keeps its locks. Yield the line it prints."""
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", LOCKING, str(path), *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        yield process.stdout.readline()
        process.communicate()


VERSION_2_OPENS = ("PRAGMA locking_mode = EXCLUSIVE", "SELECT count(*) FROM sqlite_master")


async def test_a_file_in_use_by_an_older_version_is_refused(path: Path) -> None:
    """Versions with schema 2 own the file by SQLite's exclusive lock only."""
    await make_state(path)
    with locked_by_another_program(path, *VERSION_2_OPENS) as line:
        assert line == "locked\n"
        assert await refusal(path) == IN_USE
    await make_state(path.with_name("other.db"))


async def test_an_older_version_cannot_open_a_file_in_use(path: Path) -> None:
    store = await SqliteStateStore.open(str(path))
    with locked_by_another_program(path, *VERSION_2_OPENS) as line:
        assert line == ""
    assert await admit(store, "m1")
    await store.close()


async def test_messages_are_admitted_while_another_program_reads_the_file(path: Path) -> None:
    store = await SqliteStateStore.open(str(path))
    await admit(store, "m1")
    with locked_by_another_program(path, "BEGIN", "SELECT count(*) FROM messages") as line:
        assert line == "locked\n"
        assert await admit(store, "m2")
    await store.close()


async def test_messages_are_refused_until_another_program_ends_its_write_transaction(path: Path) -> None:
    store = await SqliteStateStore.open(str(path))
    with locked_by_another_program(path, "BEGIN IMMEDIATE") as line:
        assert line == "locked\n"
        with pytest.raises(StateUnavailable) as raised:
            await admit(store, "m1")
        assert str(raised.value) == f"the state file {path} {IN_USE}"
    assert await admit(store, "m1")
    await store.close()


COPYING = """
import sqlite3, sys
source = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True)
print("ready", flush=True)
for target in sys.stdin:
    copy = sqlite3.connect(target.strip())
    source.backup(copy, pages=5)
    copy.close()
    print("copied", flush=True)
"""


async def test_another_process_can_copy_the_file_while_the_store_writes(path: Path, tmp_path: Path) -> None:
    """Each copy can be opened, and contains all messages that were admitted before it was begun."""
    store = await SqliteStateStore.open(str(path))
    copying = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COPYING, str(path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert copying.stdin
    assert copying.stdout
    assert await copying.stdout.readline() == b"ready\n"
    admitted: list[str] = []
    writing = True
    progress = asyncio.Event()

    async def write() -> None:
        while writing:
            batch = [admission(f"m{len(admitted) + number}") for number in range(8)]
            await store.admit(batch, NOW)
            admitted.extend(each.callback.message_id for each in batch)
            progress.set()

    writer = asyncio.create_task(write())
    acknowledged: dict[Path, list[str]] = {}
    async with asyncio.timeout(60):
        for number in range(3):
            seen = len(admitted) + 50
            while len(admitted) < seen:
                progress.clear()
                await progress.wait()
            copy = tmp_path / f"copy-{number}.db"
            acknowledged[copy] = list(admitted)
            copying.stdin.write(f"{copy}\n".encode())
            assert await copying.stdout.readline() == b"copied\n"
    writing = False
    await writer
    copying.stdin.close()
    assert await copying.wait() == 0
    await store.close()
    for copy, message_ids in acknowledged.items():
        copied = await SqliteStateStore.open(str(copy))
        found = {callback.message_id: callback for callback in await take_over_all(copied)}
        assert len(found) >= len(message_ids) >= 50
        assert [found[name] for name in message_ids] == [stored(name) for name in message_ids]
        assert await claim(copied, message_ids[-1]) == window(message_ids[-1])
        await copied.close()


async def test_a_missing_folder_is_named_and_not_created(tmp_path: Path) -> None:
    """Otherwise a mistyped path would become a second, empty state."""
    assert await refusal(tmp_path / "no" / "state.db") == (
        f"cannot be created because there is no folder {tmp_path}/no: create the folder"
    )


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert await refusal(tmp_path) == "is a folder: name a file in it"


async def test_a_dangling_symbolic_link_is_refused(path: Path) -> None:
    for target in ("canary", "state.db"):
        path.symlink_to(path.parent / target)
        assert (await refusal(path)).startswith("is a symbolic link that leads nowhere: remove the link")
        assert names(path.parent) == {"state.db"}
        path.unlink()


async def test_a_file_with_two_names_is_refused_until_one_is_removed(path: Path) -> None:
    """Each name has a WAL and a lock file of its own, so two gateways could use the file at once."""
    await make_state(path)
    other = path.with_name("other.db")
    other.hardlink_to(path)
    for name in (path, other):
        assert (await refusal(name)).startswith("has several names (hard links)")
    other.unlink()
    await (await SqliteStateStore.open(str(path))).close()


@pytest.mark.parametrize(
    ("code", "part"),
    [
        (sqlite3.SQLITE_PROTOCOL, "no working locks"),
        (sqlite3.SQLITE_NOLFS, "too large for this system"),
        (sqlite3.SQLITE_IOERR_LOCK, "no working locks"),
        (sqlite3.SQLITE_IOERR_SHMMAP, "no working locks"),
        (sqlite3.SQLITE_READONLY_CANTLOCK, "no working locks"),
        (sqlite3.SQLITE_IOERR_WRITE, "its disk reports an error"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "the right to write"),
        (sqlite3.SQLITE_BUSY_RECOVERY, "in use by another process"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "is damaged"),
        (sqlite3.SQLITE_AUTH, "SQLite reports NAME"),
        (sqlite3.SQLITE_SCHEMA, "SQLite reports NAME"),
        (sqlite3.SQLITE_TOOBIG, "SQLite reports NAME"),
        (sqlite3.SQLITE_CONSTRAINT, "SQLite reports NAME"),
        (sqlite3.SQLITE_MISUSE, "SQLite reports NAME"),
        (sqlite3.SQLITE_ERROR, "SQLite reports NAME"),
    ],
)
def test_an_error_of_sqlite_while_opening_is_explained_by_its_cause(code: int, part: str) -> None:
    error = sqlite3.OperationalError("canary")
    error.sqlite_errorcode, error.sqlite_errorname = code, "NAME"
    sentence = str(_to_unavailable(error, Path("/state.db")))
    assert part in sentence
    assert ("damaged" in sentence) == (part == "is damaged")
    assert "canary" not in sentence


async def test_a_file_that_is_not_a_database_is_refused_and_unchanged(path: Path) -> None:
    path.write_bytes(b"dear diary " * 1_000)
    assert await refusal(path) == "is damaged or not an SQLite database: name another file, or move this one away"
    assert path.read_bytes() == b"dear diary " * 1_000


@pytest.mark.parametrize("application_id", [0, 0x0F055112], ids=["without an id", "with an id"])
async def test_the_database_of_another_program_is_refused_and_unchanged(path: Path, application_id: int) -> None:
    change(path, "CREATE TABLE diary (entry TEXT)", f"PRAGMA application_id = {application_id}")
    before = path.read_bytes()
    assert await refusal(path) == "is a database of another program: name another file"
    assert path.read_bytes() == before
    assert names(path.parent) == {"state.db"}


async def test_a_newer_schema_is_refused(path: Path) -> None:
    await make_state(path)
    newer = VERSION + 1
    change(path, f"PRAGMA user_version = {newer}")
    assert (await refusal(path)).startswith(
        f"was written by a newer version of this program (schema {newer}, supported up to {VERSION}): run that version"
    )


@pytest.mark.parametrize(
    "statement",
    ["DROP TABLE messages", "ALTER TABLE messages ADD COLUMN canary", "PRAGMA user_version = 0"],
    ids=["table gone", "column added", "version gone"],
)
async def test_a_file_with_a_changed_schema_is_refused(path: Path, statement: str) -> None:
    await make_state(path)
    change(path, statement)
    assert (await refusal(path)).startswith("is damaged: stop the program, and move the file")


async def test_a_truncated_file_is_refused(path: Path) -> None:
    await make_state(path)
    path.write_bytes(path.read_bytes()[:-4096])
    assert (await refusal(path)).startswith("is damaged: stop the program, and move the file")


async def test_a_file_without_write_permission_is_refused() -> None:
    with folder_of_an_ordinary_user() as folder:
        path = folder / "state.db"
        await make_state(path)
        path.chmod(0o400)
        assert await refusal(path) == f"cannot be used: give this user the right to read and write {path}"


async def test_a_file_without_read_permission_is_refused() -> None:
    with folder_of_an_ordinary_user() as folder:
        path = folder / "state.db"
        await make_state(path)
        path.chmod(0)
        assert await refusal(path) == f"cannot be used: give this user the right to read and write {path}"


async def test_a_lock_file_without_permissions_is_named() -> None:
    with folder_of_an_ordinary_user() as folder:
        path, lock = folder / "state.db", folder / "state.db.lock"
        await make_state(path)
        lock.chmod(0)
        assert await refusal(path) == f"cannot be used: give this user the right to read and write {lock}"


@pytest.mark.parametrize("exists", [False, True], ids=["new file", "old file"])
async def test_a_folder_without_write_permission_is_refused(exists: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The WAL is written to the same folder."""
    with folder_of_an_ordinary_user() as folder:
        path = folder / "state.db"
        if exists:
            await make_state(path)
        folder.chmod(0o500)
        assert await refusal(path) == f"cannot be used: give this user the right to read and write {folder}"


@pytest.mark.parametrize("exists", [True, False], ids=["a-file", "nothing"])
async def test_a_symbolic_link_in_place_of_the_lock_file_is_not_followed(path: Path, *, exists: bool) -> None:
    """A user who can write in the folder could otherwise make root create any file or change its owner."""
    target = path.with_name("another")
    if exists:
        target.touch()
    path.with_name(f"{path.name}.lock").symlink_to(target)
    assert "not a regular file" in await refusal(path)
    assert target.exists() == exists
