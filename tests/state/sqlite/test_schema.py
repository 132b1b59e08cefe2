"""Migration of state files of older versions."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.reply_window import ReplyWindow, chat_key
from maven_channel_wecom.state.backends import open_state
from maven_channel_wecom.state.sqlite.schema import VERSION
from tests.fakes.disk import largest_file
from tests.state.messages import admission_of_event, take_over_all

VECTORS = Path(__file__).parents[2] / "vectors" / "state"
OPENED = 4_000_000_000.0

# In the order of their admission, a second apart. `vectors/state/write_state.py.txt` shows what was done with each.
IDS = (
    "single-open",
    "group-open",
    "group-called-like-alice",
    "finished-open",
    "finished-claimed",
    "finished-spent",
    "repeated-open",
    "repeated-claimed",
    "claimed",
    "spent",
    "event",
    "finished-event",
)
IN_PROGRESS = {
    "single-open",
    "group-open",
    "group-called-like-alice",
    "repeated-open",
    "repeated-claimed",
    "claimed",
    "event",
}
REPEATED = {"repeated-open", "repeated-claimed", "claimed"}
TEAM, ALICE = chat_key("team", is_group=True), chat_key("alice", is_group=False)
GROUP_CALLED_ALICE = chat_key("alice", is_group=True)
CHATS = {
    "single-open": ALICE,
    "group-open": TEAM,
    "group-called-like-alice": GROUP_CALLED_ALICE,
    "finished-open": TEAM,
    "repeated-open": ALICE,
    "repeated-claimed": TEAM,
    "claimed": ALICE,
}


@pytest.fixture(params=[1, 2])
def old_file(request: pytest.FixtureRequest, path: Path) -> Path:
    """Return a copy of a file that an older version wrote."""
    shutil.copyfile(VECTORS / f"schema-{request.param}.sqlite", path)
    return path


def change(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def version(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def content(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [*connection.iterdump(), f"version {version(path)}"]


def expected_window(message_id: str) -> ReplyWindow:
    opened_at = OPENED + IDS.index(message_id)
    sender_id = "bob" if message_id == "group-called-like-alice" else "alice"
    url = f"https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code={message_id}"
    return ReplyWindow(
        message_id, CHATS[message_id], sender_id, url, opened_at, opened_at + 3590, message_id in REPEATED
    )


async def test_messages_in_progress_of_an_older_file_are_taken_over(old_file: Path) -> None:
    """They are returned oldest first, with their content. An answered message is finished instead."""
    store = await open_state(f"sqlite:{old_file}", channel="wecom")
    taken = await take_over_all(store, OPENED)
    assert [callback.message_id for callback in taken] == [name for name in IDS if name in IN_PROGRESS]
    for callback in taken:
        assert json.loads(callback.message)["msgid"] == callback.message_id
        assert callback.received_at == OPENED + IDS.index(callback.message_id)
    await store.close()


async def test_windows_of_an_older_file_are_found_by_message(old_file: Path) -> None:
    """Each is found only in the chat of its kind. One that was claimed when its process died is open again."""
    store = await open_state(f"sqlite:{old_file}", channel="wecom")
    assert store.open_windows == len(CHATS)
    for message_id in IDS:
        expected = expected_window(message_id) if message_id in CHATS else None
        for wrong in {ALICE, TEAM, GROUP_CALLED_ALICE} - {CHATS.get(message_id)}:
            assert await store.claim_window([wrong], message_id, OPENED) is None
        assert await store.claim_window([ALICE, TEAM, GROUP_CALLED_ALICE], message_id, OPENED) == expected
    await store.close()


async def test_windows_of_an_older_file_are_found_by_chat(old_file: Path) -> None:
    store = await open_state(f"sqlite:{old_file}", channel="wecom")
    for chat in (ALICE, TEAM, GROUP_CALLED_ALICE):
        newest_first = [message_id for message_id in reversed(IDS) if CHATS.get(message_id) == chat]
        for message_id in newest_first:
            assert await store.claim_window([chat], None, OPENED) == expected_window(message_id)
        assert await store.claim_window([chat], None, OPENED) is None
    await store.close()


async def test_messages_of_an_older_file_are_recognized_until_their_claims_expire(old_file: Path) -> None:
    store = await open_state(f"sqlite:{old_file}", channel="wecom")
    batch = [admission_of_event(message_id, OPENED) for message_id in (*IDS, "released")]
    assert await store.admit(batch, OPENED) == [False] * len(IDS) + [True]
    for message_id in IN_PROGRESS:
        await store.finish(message_id, OPENED)
    await store.finish("released", OPENED)
    assert await store.admit(batch, OPENED + 3600 + len(IDS)) == [True] * len(batch)
    await store.close()


async def test_a_message_in_progress_whose_claim_has_expired_is_recognized(path: Path) -> None:
    """Version 1 had removed the claim by then."""
    shutil.copyfile(VECTORS / "schema-1.sqlite", path)
    change(path, "DELETE FROM claims WHERE message_id = 'event'")
    store = await open_state(f"sqlite:{path}", channel="wecom")
    assert await store.admit([admission_of_event("event", OPENED)], OPENED) == [False]
    await store.close()


async def test_a_migrated_file_has_the_schema_and_version_of_a_new_one(old_file: Path) -> None:
    await (await open_state(f"sqlite:{old_file}", channel="wecom")).close()
    new = old_file.with_name("new.db")
    await (await open_state(f"sqlite:{new}", channel="wecom")).close()
    schemas = []
    for path in (old_file, new):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            schemas.append(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall())
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert version(path) == VERSION
    assert schemas[0] == schemas[1]


DAMAGES = {
    "url": {
        1: "UPDATE windows SET url = 'https://y/' WHERE message_id = 'finished-open'",
        2: "UPDATE messages SET url = 'https://y/' WHERE message_id = 'finished-open'",
    },
    "text": {
        1: "UPDATE callbacks SET message = CAST('{}' AS BLOB) WHERE message_id = 'event'",
        2: "UPDATE messages SET message = CAST('{}' AS BLOB) WHERE message_id = 'event'",
    },
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_an_older_file_with_a_damaged_row_is_refused_and_unchanged(old_file: Path, damage: str) -> None:
    change(old_file, DAMAGES[damage][version(old_file)])
    before = content(old_file)
    with pytest.raises(StateUnavailable, match="is damaged"):
        await open_state(f"sqlite:{old_file}", channel="wecom")
    assert content(old_file) == before


async def test_a_file_of_version_2_with_a_message_without_its_claim_is_refused(path: Path) -> None:
    shutil.copyfile(VECTORS / "schema-2.sqlite", path)
    change(path, "DELETE FROM claims WHERE message_id = 'event'")
    with pytest.raises(StateUnavailable, match="is damaged"):
        await open_state(f"sqlite:{path}", channel="wecom")


async def test_a_migration_that_fails_leaves_the_file_unchanged_and_can_be_repeated(old_file: Path) -> None:
    """Different limits of the file's size make different writes fail."""
    before = content(old_file)
    refused = 0
    for size_bytes in range(0, 40_000, 1_500):
        with contextlib.suppress(StateUnavailable):
            with largest_file(size_bytes):
                store = await open_state(f"sqlite:{old_file}", channel="wecom")
            await store.close()
            break
        assert content(old_file) == before
        refused += 1
    assert refused > 3
    store = await open_state(f"sqlite:{old_file}", channel="wecom")
    assert {callback.message_id for callback in await take_over_all(store, OPENED)} == IN_PROGRESS
    assert store.open_windows == len(CHATS)
    await store.close()
