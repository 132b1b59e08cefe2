"""What only the backend in memory does: staying small."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.later import settled
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.memory_windows import OpenWindows
from maven_channel_wecom.state.port import CLAIM_SECONDS, KeptCallback

NOW = 1_700_000_000.0


async def admit(store: MemoryStateStore, number: int, now: float = NOW, url: str = "https://x/") -> bool:
    window = ReplyWindow(f"m{number}", "chat", "alice", url, now, now + 3600)
    return await settled(store.admit(KeptCallback(f"m{number}", "chat", now, b"x"), window, now))


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
    assert store.open_windows == 0
    assert store._claims_bytes == store._windows.size_bytes == store._claims_count == 0
    assert not any((store._generations, store._in_hand))
    for table in (store._claims, store._windows._entries, store._windows._newest):
        assert not any(table._shards)


async def test_each_call_expires_only_a_few_entries() -> None:
    """There is no sweep a caller could feel; yet expiring keeps up with admitting."""
    store = MemoryStateStore()
    for number in range(1000):
        await admit(store, number)
        await store.finish(f"m{number}", NOW)
    await store.finish("nothing", NOW + 4000)
    assert 990 <= store.open_windows < 1000
    assert 990 <= store._claims_count < 1000
    for number in range(1000, 1500):
        await admit(store, number, now=NOW + 4000)
    assert store._claims_count == 500
    assert store.open_windows == 500
    assert store.expired_windows == 1000


async def test_a_message_known_again_before_it_was_dropped_is_kept() -> None:
    """What drops its first claim leaves the second and its window alone."""
    store = MemoryStateStore()
    for number in range(100):
        await admit(store, number)
        await store.finish(f"m{number}", NOW)
    later = NOW + CLAIM_SECONDS
    assert await admit(store, 99, now=later)
    for _ in range(100):
        await store.finish("nothing", later)
    assert store._claims_count == store.open_windows == 1
    assert store.expired_windows == 100
    assert not await admit(store, 99, now=later)


async def test_the_garbage_collector_has_little_to_look_at() -> None:
    """A million tracked objects would make each of its full rounds a pause."""
    store = MemoryStateStore()
    for number in range(5_000):
        await admit(store, number)
        await store.finish(f"m{number}", NOW)
    gc.collect()
    tables = (store._claims, store._windows._entries, store._windows._newest)
    assert not any(gc.is_tracked(shard) for table in tables for shard in table._shards)
    assert sum(gc.is_tracked(generation.message_ids) for generation in store._generations) <= 1


CHATS = st.sampled_from(["group", "alice"])
STEPS = st.lists(st.tuples(st.sampled_from(["open", "close", "reopen"]), st.integers(0, 9), CHATS), max_size=60)


@given(STEPS)
def test_open_windows_hang_together_whatever_happens(steps: list[tuple[str, int, str]]) -> None:
    """Opened, closed and opened again at their place: each chat has its own, newest first."""
    windows = OpenWindows()
    expected: dict[str, ReplyWindow] = {}
    for time, (step, number, chat_id) in enumerate(steps):
        message_id = f"m{number}"
        # The newest of all when it opens; when it opens again, older than those, and among its like by its number.
        opened_at = NOW + time if step == "open" else NOW - 1 - number
        window = ReplyWindow(message_id, chat_id, "alice", f"https://x/{time}", opened_at, NOW + 3600, time % 2 == 0)
        if step == "close":
            assert windows.close(message_id) == (expected.pop(message_id, None) is not None)
            continue
        if step == "open":
            windows.open(window, windows.encode(window))
        else:
            windows.reopen(window)
        expected[message_id] = window
    assert len(windows) == len(expected)
    for chat_id in ("group", "alice"):
        found = list(windows.of_chat(chat_id))
        of_chat = [window for window in expected.values() if window.chat_id == chat_id]
        assert [window.opened_at for window in found] == sorted((w.opened_at for w in of_chat), reverse=True)
        assert {window.message_id: window for window in found} == {window.message_id: window for window in of_chat}
    for window in expected.values():
        assert windows.get(window.message_id) == window
        windows.close(window.message_id)
    assert windows.size_bytes == 0
