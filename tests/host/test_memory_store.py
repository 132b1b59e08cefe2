"""The stores of conversations: what both do, and what is particular to the one in the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.contract.messages import FileBlock, ImageBlock, TextBlock, UnavailableBlock
from maven_channel_wecom.host.agents.agent import Exchange
from maven_channel_wecom.host.conversations import Conversation, RememberedTurn, size_bytes
from maven_channel_wecom.host.memory import open_store
from maven_channel_wecom.host.memory_store import MemoryStore, ProcessMemory, memory_address_problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = 1_800_000_000.0


@pytest.fixture(params=["memory:", "sqlite:"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MemoryStore]:
    address: str = request.param
    opened = await open_store(address if address == "memory:" else f"{address}{tmp_path / 'memory.db'}", lambda: NOW)
    yield opened
    await opened.close()


def conversation(text: str = "hello", *, expires_at: float = NOW + 60) -> Conversation:
    blocks = (
        TextBlock(text=text, quoted=True),
        ImageBlock(media_type="image/png", data="aGk="),
        FileBlock(media_type="a/b", name="c", data="aGk="),
        UnavailableBlock(kind="video", reason="unsupported"),
    )
    exchange = Exchange(question=blocks, answer="answer", speaker="member-1")
    turn = RememberedTurn(exchange=exchange, message_id="m1", ended_at=NOW)
    return Conversation(turns=(turn,), response_id="resp_1", session_id="s", expires_at=expires_at)


async def put(store: MemoryStore, session: str, value: Conversation, now: float = NOW) -> None:
    await store.change(session, lambda _: value, now)


async def test_a_conversation_is_returned_as_it_was_stored_and_only_for_its_session(store: MemoryStore) -> None:
    await put(store, "a", conversation())
    assert await store.read("a", NOW) == conversation()
    assert await store.read("b", NOW) == Conversation()


async def test_a_change_gets_the_stored_conversation(store: MemoryStore) -> None:
    await put(store, "a", conversation("first"))
    seen: list[Conversation] = []

    def change(stored: Conversation) -> Conversation:
        seen.append(stored)
        return conversation("second")

    await store.change("a", change, NOW)
    await store.change("b", change, NOW)
    assert seen == [conversation("first"), Conversation()]
    assert await store.read("a", NOW) == conversation("second")


async def test_an_expired_conversation_is_empty(store: MemoryStore) -> None:
    await put(store, "a", conversation(expires_at=NOW + 60))
    assert await store.read("a", NOW + 59) != Conversation()
    assert await store.read("a", NOW + 60) == Conversation()


async def test_a_conversation_may_last_for_ever(store: MemoryStore) -> None:
    await put(store, "a", Conversation(session_id="s"))
    await put(store, "b", conversation(), NOW * 2)
    assert (await store.read("a", NOW * 2)).session_id == "s"


async def test_the_process_keeps_no_expired_conversation() -> None:
    store = ProcessMemory()
    for session in "abc":
        await put(store, session, conversation(expires_at=NOW + 60))
    await put(store, "d", conversation(expires_at=NOW + 120), NOW + 60)
    assert (len(store), store.used_bytes) == (1, size_bytes(conversation()))


async def test_the_process_forgets_the_conversation_that_was_not_changed_for_longest_if_space_ends() -> None:
    size = size_bytes(conversation())
    store = ProcessMemory(limit_bytes=2 * size)
    for session in ("a", "b", "a", "c"):
        await put(store, session, conversation())
    assert store.used_bytes == 2 * size
    found = [await store.read(session, NOW) != Conversation() for session in "abc"]
    assert found == [True, False, True]


@pytest.mark.parametrize("address", ["memory:", "sqlite:memory.db", "sqlite:/var/lib/maven/memory.db"])
def test_an_address_of_a_store_is_valid(address: str) -> None:
    assert memory_address_problem(address) is None


@pytest.mark.parametrize(
    "address", ["", "memory", "memory.db", "sqlite:", "sqlite::memory:", "sqlite://x", "sqlite:a\0b", "redis://host"]
)
def test_an_address_of_another_form_is_a_problem(address: str) -> None:
    assert "sqlite:PATH" in (memory_address_problem(address) or "")
