"""What only the backend in memory does: staying small."""

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.port import CLAIM_SECONDS, KeptCallback

NOW = 1_700_000_000.0


async def admit(store: MemoryStateStore, number: int, now: float = NOW, url: str = "https://x/") -> bool:
    window = ReplyWindow(f"m{number}", "chat", "alice", url, now, now + 3600)
    return await store.admit(KeptCallback(f"m{number}", "chat", now, b"x"), window, now)


async def test_too_many_entries_are_refused_and_fit_again_later() -> None:
    """A promise that cannot be kept is not made: the callback gets 503."""
    store = MemoryStateStore(max_entries=10)
    for number in range(5):
        assert await admit(store, number)
    with pytest.raises(StateUnavailable) as raised:
        await admit(store, 5)
    assert raised.value.reason == "state_full"
    assert await store.health() == str(raised.value)
    assert not await admit(store, 4)
    await store.claim_window("chat", "m0", NOW)
    await store.release("m1", NOW)
    assert await store.health() is None
    assert await admit(store, 5)


async def test_too_many_bytes_are_refused_and_fit_again_later() -> None:
    """One long URL counts as much as many short ones."""
    store = MemoryStateStore(max_bytes=100_000)
    assert await admit(store, 1, url="x" * 90_000)
    with pytest.raises(StateUnavailable):
        await admit(store, 2, url="x" * 90_000)
    await store.claim_window("chat", "m1", NOW)
    assert await admit(store, 2, url="x" * 90_000)


async def test_what_is_over_leaves_nothing_behind() -> None:
    """Neither entries nor counted bytes, whichever way a message ended."""
    store = MemoryStateStore()
    for number in range(400):
        await admit(store, number)
    for number in range(0, 400, 4):
        await store.release(f"m{number}", NOW)
        await store.finish(f"m{number + 1}", NOW)
        await store.finish(f"m{number + 2}", NOW)
        window = await store.claim_window("chat", f"m{number + 2}", NOW)
        assert window is not None
        await store.restore_window(window, NOW)
        await store.claim_window("chat", f"m{number + 3}", NOW)
        await store.finish(f"m{number + 3}", NOW)
    for step in range(400):
        await store.finish("nothing", NOW + 3600 + CLAIM_SECONDS + step)
    assert store._bytes == 0
    assert not any((store._claims, store._windows, store._chats, store._in_hand))


async def test_each_call_expires_only_a_few_entries() -> None:
    """There is no sweep a caller could feel; yet expiring keeps up with admitting."""
    store = MemoryStateStore()
    for number in range(1000):
        await admit(store, number)
        await store.finish(f"m{number}", NOW)
    await store.finish("nothing", NOW + 4000)
    assert 990 <= len(store._claims) < 1000
    for number in range(1000, 1500):
        await admit(store, number, now=NOW + 4000)
    assert len(store._claims) == 500
    assert store.open_windows == 500
