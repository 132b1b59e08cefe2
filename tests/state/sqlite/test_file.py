"""Which files are opened as a state, which are refused with one sentence, and how an older one is brought up."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from maven_channel_wecom.state.port import KeptCallback

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.sqlite.file import APPLICATION_ID, open_file
from maven_channel_wecom.state.sqlite.schema import STEPS
from maven_channel_wecom.state.sqlite.store import SqliteStateStore

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
NOW = 1_700_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


async def refusal(path: Path) -> str:
    """Return what is said when a file is not opened: one line that begins with its name."""
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
    await store.admit(KeptCallback("m1", "chat", 0.0, b"x"), None, 0.0).wait()
    await store.close()


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@contextlib.contextmanager
def folder_of_an_ordinary_user() -> Iterator[Path]:
    """Be no administrator for a while, to whom everything is allowed; in a folder such a user can reach."""
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


async def test_a_second_store_on_the_same_file_is_refused(path: Path) -> None:
    """Two channels would take up each other's callbacks; the first goes on."""
    store = await SqliteStateStore.open(str(path))
    assert (await refusal(path)).startswith("is in use by another process or channel: stop that one, or give each")
    assert await store.admit(KeptCallback("m1", "chat", 0.0, b"x"), None, 0.0).wait()
    await store.close()


async def test_a_second_process_on_the_same_file_is_refused(path: Path) -> None:
    """As long as the first lives, refused attempts in between or not."""
    store = await SqliteStateStore.open(str(path))
    await refusal(path)
    program = (
        "import asyncio, sys\n"
        "from maven_channel_wecom.errors import StateUnavailable\n"
        "from maven_channel_wecom.state.opening import open_state\n"
        "try:\n"
        "    asyncio.run(open_state('sqlite:' + sys.argv[1], channel='wecom'))\n"
        "except StateUnavailable as unavailable:\n"
        "    print(unavailable)\n"
    )
    second = subprocess.run(  # noqa: ASYNC221, S603 - our own program, and the loop has nothing else to do
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert f"the state file {path} is in use by another process or channel" in second.stdout
    assert await store.health() is None
    await store.close()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """It is not made: a mistyped path would become a second, empty state."""
    assert await refusal(tmp_path / "no" / "state.db") == (
        f"cannot be made, there is no folder {tmp_path}/no: create it"
    )


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """The address names the file itself."""
    assert await refusal(tmp_path) == "is a folder: name a file in it"


async def test_a_link_to_nothing_is_refused(path: Path) -> None:
    """Where it points, nothing is made."""
    path.symlink_to(path.parent / "canary")
    assert await refusal(path) == "cannot be opened: File exists"
    assert names(path.parent) == ["state.db"]


async def test_a_file_that_is_no_database_is_refused_and_kept(path: Path) -> None:
    """It belongs to somebody."""
    path.write_bytes(b"dear diary " * 1_000)
    assert await refusal(path) == "is no SQLite database, or is damaged: name another file, or move this one away"
    assert path.read_bytes() == b"dear diary " * 1_000


@pytest.mark.parametrize("application_id", [0, 0x0F055112], ids=["without an id", "with an id"])
async def test_the_database_of_another_program_is_refused_and_kept(path: Path, application_id: int) -> None:
    """Not a byte of it changes."""
    change(path, "CREATE TABLE diary (entry TEXT)", f"PRAGMA application_id = {application_id}")
    before = path.read_bytes()
    assert await refusal(path) == "is a database of another program: name another file"
    assert path.read_bytes() == before
    assert names(path.parent) == ["state.db"]


async def test_a_newer_schema_is_refused(path: Path) -> None:
    """What a later version keeps there, this one does not know."""
    await make_state(path)
    newer = len(STEPS) + 1
    change(path, f"PRAGMA user_version = {newer}")
    assert (await refusal(path)).startswith(
        f"was written by a newer version of this program (schema {newer}, known up to {len(STEPS)}): run that version"
    )


@pytest.mark.parametrize(
    "statement",
    ["DROP TABLE messages", "ALTER TABLE claims ADD COLUMN canary", "PRAGMA user_version = 0"],
    ids=["table gone", "column added", "version gone"],
)
async def test_a_schema_that_was_changed_is_refused(path: Path, statement: str) -> None:
    """Whatever changed it: the statements would not mean what they should."""
    await make_state(path)
    change(path, statement)
    assert (await refusal(path)).startswith("is damaged: stop the program, move the file")


async def test_a_file_cut_short_is_refused(path: Path) -> None:
    """The pages at its end are missing."""
    await make_state(path)
    path.write_bytes(path.read_bytes()[:-4096])
    assert (await refusal(path)).startswith("is damaged: stop the program, move the file")


async def test_a_file_that_may_not_be_written_is_refused() -> None:
    """What cannot be kept is not promised."""
    with folder_of_an_ordinary_user() as folder:
        path = folder / "state.db"
        await make_state(path)
        path.chmod(0o400)
        assert await refusal(path) == f"cannot be used: give this user the right to read and write {path}"


async def test_a_file_that_may_not_be_read_is_refused() -> None:
    """Its owner is somebody else."""
    with folder_of_an_ordinary_user() as folder:
        path = folder / "state.db"
        await make_state(path)
        path.chmod(0)
        assert await refusal(path) == f"cannot be used: give this user the right to read and write {path}"


@pytest.mark.parametrize("there", [False, True], ids=["new file", "old file"])
async def test_a_folder_that_may_not_be_written_is_refused(there: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The WAL lies beside the file."""
    with folder_of_an_ordinary_user() as folder:
        path = folder / "state.db"
        if there:
            await make_state(path)
        folder.chmod(0o500)
        assert await refusal(path) == f"cannot be used: give this user the right to read and write {folder}"


FIRST_VERSION = """
    INSERT INTO callbacks VALUES ('in hand', 'chat', 1700000000.0, 'message in hand', 671748967);
    INSERT INTO callbacks VALUES ('answering', 'chat', 1700000000.0, 'message answering', 1735762096);
    INSERT INTO callbacks VALUES ('answered', 'chat', 1700000000.0, NULL, 2003296753);
    INSERT INTO callbacks VALUES ('event', 'chat', 1700000000.0, 'message event', 2389375452);
    INSERT INTO claims VALUES ('in hand', 1700003600.0);
    INSERT INTO claims VALUES ('answering', 1700003601.0);
    INSERT INTO claims VALUES ('answered', 1700003602.0);
    INSERT INTO claims VALUES ('open', 1700003603.0);
    INSERT INTO claims VALUES ('claimed', 1700003604.0);
    INSERT INTO claims VALUES ('spent', 1700003605.0);
    INSERT INTO windows
        VALUES ('in hand', 'chat', 'alice', 'https://x/in hand', 1700000000.0, 1700003600.0, 0, 0, 61353242);
    INSERT INTO windows
        VALUES ('answering', 'chat', 'alice', 'https://x/answering', 1700000001.0, 1700003601.0, 0, 1, 2011171304);
    INSERT INTO windows
        VALUES ('open', 'chat', 'alice', 'https://x/open', 1700000003.0, 1700003603.0, 0, 0, 3881051034);
    INSERT INTO windows
        VALUES ('claimed', 'chat', 'alice', 'https://x/claimed', 1700000004.0, 1700003604.0, 0, 1, 1889573236);
    UPDATE callbacks SET message = CAST(message || ' 文字' AS BLOB);
"""
"""What version 0.1.0 wrote, its checksums too; that the event's claim is gone is how a long time in hand looked."""


def make_first_version(path: Path) -> None:
    old = sqlite3.connect(path)
    for statement in STEPS[0]:
        old.execute(statement)
    old.executescript(FIRST_VERSION)
    old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    old.execute("PRAGMA user_version = 1")
    old.close()


async def test_a_file_of_the_first_version_is_brought_up(path: Path) -> None:
    """Everything it knew is known: messages in hand, open windows, one that was being answered through, claims."""
    make_first_version(path)
    store = await SqliteStateStore.open(str(path))
    assert store.open_windows == 3
    left = await store.unfinished(NOW)
    assert {callback.message_id for callback in left} == {"in hand", "answering", "event"}
    assert all(callback.message == f"message {callback.message_id} 文字".encode() for callback in left)
    for number, (message_id, repeated) in enumerate({"in hand": False, "answering": True, "open": False}.items()):
        found = await store.claim_window("chat", message_id, NOW)
        opened_at = NOW + (3 if number == 2 else number)
        url = f"https://x/{message_id}"
        assert found == ReplyWindow(message_id, "chat", "alice", url, opened_at, opened_at + 3600, repeated)
    for message_id in ("in hand", "answering", "answered", "open", "claimed", "spent", "event"):
        assert await store.claim_window("chat", message_id, NOW) is None
        assert await store.admit(KeptCallback(message_id, "chat", NOW, b"x"), None, NOW).wait() is False
    await store.finish("event", NOW)
    await store.finish("in hand", NOW)
    for message_id in ("spent", "in hand"):
        assert await store.admit(KeptCallback(message_id, "chat", NOW, b"x"), None, NOW + 3605).wait()
    await store.close()


def test_an_older_file_is_brought_up_step_by_step(path: Path) -> None:
    """What it holds stays, and the file looks like a new one. These steps are made up."""
    first = ("CREATE TABLE entries (name TEXT PRIMARY KEY) WITHOUT ROWID",)
    second = ("ALTER TABLE entries ADD COLUMN seen INTEGER NOT NULL DEFAULT 7",)
    third = ("CREATE INDEX by_seen ON entries (seen)", "UPDATE entries SET seen = seen + 1")
    old = open_file(path, [first])
    old.execute("INSERT INTO entries VALUES ('m1')")
    old.close()
    new = open_file(path, [first, second, third])
    assert new.execute("SELECT * FROM entries").fetchall() == [("m1", 8)]
    assert new.execute("PRAGMA user_version").fetchone() == (3,)
    assert new.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    new.close()
    with pytest.raises(StateUnavailable, match=r"newer version of this program \(schema 3, known up to 2\)"):
        open_file(path, [first, second])


def test_a_step_that_fails_leaves_the_older_file(path: Path) -> None:
    """All steps or none: the version before can go on with it."""
    first = ("CREATE TABLE entries (name TEXT PRIMARY KEY) WITHOUT ROWID",)
    broken = ("ALTER TABLE entries ADD COLUMN seen INTEGER", "INSERT INTO nowhere VALUES (1)")
    open_file(path, [first]).close()
    with pytest.raises(StateUnavailable):
        open_file(path, [first, broken])
    old = open_file(path, [first])
    assert old.execute("PRAGMA user_version").fetchone() == (1,)
    old.close()
