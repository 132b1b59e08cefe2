"""Data that a version with plain chat ids left in Redis. `tests/vectors` describes how it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.redis_replicas import let_replicas_be_silent
from tests.state.messages import HOUR, admit, take_over_all

if TYPE_CHECKING:
    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.redis.store import RedisStateStore
    from tests.fakes.redis_server import RedisServer

_COMMANDS: list[list[str]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "state" / "redis_plain_chat_ids.json").read_text(encoding="utf-8")
)["commands"]

NOW = 4_000_000_020.0

IN_PROGRESS = {"taken-over-twice", "single", "group", "group-called-alice", "event", "answering", "answering-newest"}
FINISHED = {"spent", "finished-open", "finished-open-group", "finished-claimed", "finished-spent", "finished-event"}


@pytest.fixture
async def store(server: RedisServer, replicas: list[RedisStateStore]) -> RedisStateStore:
    """Return a replica on the old data, whose own replicas count as dead."""
    for command in _COMMANDS:
        await server.command(*command)
    await let_replicas_be_silent(server, seconds=60)
    return replicas[0]


async def claim_in(store: RedisStateStore, chat: str, message_id: str | None) -> ReplyWindow:
    window = await store.claim_window([chat], message_id, NOW)
    assert window is not None
    assert window.chat == chat
    assert window.url == f"https://example.invalid/{window.message_id}"
    return window


async def test_old_messages_in_progress_are_taken_over_unchanged(store: RedisStateStore) -> None:
    callbacks = await take_over_all(store, NOW)
    assert {callback.message_id for callback in callbacks} == IN_PROGRESS
    assert [callback.received_at for callback in callbacks] == [NOW - 20 + number for number in range(7)]
    for callback in callbacks:
        assert json.loads(callback.message)["msgid"] == callback.message_id


async def test_old_messages_are_recognized(store: RedisStateStore) -> None:
    assert store.open_windows in {0, 6}
    for message_id in IN_PROGRESS | FINISHED:
        assert not await admit(store, message_id, NOW)
    assert await admit(store, "released", NOW)


async def test_old_windows_are_claimed_by_message_and_chat(store: RedisStateStore) -> None:
    """Windows that were claimed by the dead replicas are open again and marked as repeated."""
    await take_over_all(store, NOW)
    for chat, message_id, repeated in (
        ("single:alice", "taken-over-twice", True),
        ("single:alice", "single", False),
        ("group:wr1", "group", False),
        ("group:alice", "group-called-alice", False),
        ("single:carol", "answering", True),
        ("group:wr2", "answering-newest", True),
        ("single:alice", "finished-open", False),
        ("group:wr1", "finished-open-group", False),
    ):
        assert (await claim_in(store, chat, message_id)).repeated == repeated, message_id
    assert store.open_windows == 0


async def test_the_newest_old_window_of_a_chat_is_of_the_same_kind_of_chat(store: RedisStateStore) -> None:
    """The older version listed a group that has the id of a person together with that person's single chat."""
    await take_over_all(store, NOW)
    assert (await claim_in(store, "group:alice", None)).message_id == "group-called-alice"
    assert await store.claim_window(["group:alice"], None, NOW) is None
    for message_id in ("finished-open", "single", "taken-over-twice"):
        assert (await claim_in(store, "single:alice", None)).message_id == message_id
    assert await store.claim_window(["single:alice"], None, NOW) is None


async def test_an_old_window_is_not_found_under_the_other_kind_of_chat(store: RedisStateStore) -> None:
    await take_over_all(store, NOW)
    for chat, message_id in (
        ("group:alice", "single"),
        ("single:wr1", "group"),
        ("single:alice", "group-called-alice"),
    ):
        assert await store.claim_window([chat], message_id, NOW) is None


async def test_an_old_window_of_a_finished_message_is_a_spare_window(store: RedisStateStore) -> None:
    await take_over_all(store, NOW)
    spare = await store.claim_window(["group:wr1"], None, NOW, spare_of="alice")
    assert spare is not None
    assert spare.message_id == "finished-open-group"


async def test_old_spent_and_claimed_windows_of_finished_messages_stay_closed(store: RedisStateStore) -> None:
    """It is unknown whether the replies of the dead replicas arrived."""
    await take_over_all(store, NOW)
    for chat, message_id in (
        ("single:dave", "spent"),
        ("single:erin", "finished-claimed"),
        ("single:erin", "finished-spent"),
    ):
        assert await store.claim_window([chat], message_id, NOW) is None


async def test_a_new_window_is_claimed_before_an_old_one(store: RedisStateStore) -> None:
    await admit(store, "new", NOW, chat="single:alice")
    assert await store.claim_window(["single:alice"], None, NOW) is not None
    assert (await claim_in(store, "single:alice", None)).message_id == "finished-open"


async def test_a_restored_old_window_is_claimed_again(store: RedisStateStore) -> None:
    window = await claim_in(store, "single:alice", "finished-open")
    await store.restore_window(window, NOW)
    assert await claim_in(store, "single:alice", None) == window


async def test_old_messages_can_be_finished_and_their_keys_expire(server: RedisServer, store: RedisStateStore) -> None:
    for callback in await take_over_all(store, NOW):
        await store.finish(callback.message_id, NOW)
    assert await server.command("XLEN", "maven-wecom:{wecom}:unfinished") == 0
    for key in await server.keys():
        if key.rpartition("}:")[2] not in {"windows", "pulse", "unfinished"}:
            assert 0 < await server.command("TTL", key) <= HOUR + 120, key
    for later in (NOW + HOUR, NOW + HOUR):
        await store.take_over(later)
    assert store.open_windows == 0
    assert store.expired_windows == 8
