"""What only the backend in memory does: staying small."""

import gc
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.later import settled
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.protocol import limits
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.memory_entries import Table
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
    assert store._size_bytes == store._claims == 0
    assert not store._in_hand
    assert [generation.message_ids for generation in store._generations] == [{}]
    for table in (store._entries, store._chats._newest):
        assert not any(table.shards)


async def test_each_call_expires_only_a_few_entries() -> None:
    """There is no sweep a caller could feel; yet expiring keeps up with admitting."""
    store = MemoryStateStore()
    for number in range(1000):
        await admit(store, number)
        await store.finish(f"m{number}", NOW)
    await store.finish("nothing", NOW + 4000)
    assert 990 <= store.open_windows < 1000
    assert 990 <= store._claims < 1000
    for number in range(1000, 1500):
        await admit(store, number, now=NOW + 4000)
    assert store._claims == 500
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
    assert store._claims == store.open_windows == 1
    assert store.expired_windows == 100
    assert not await admit(store, 99, now=later)


async def test_the_garbage_collector_has_little_to_look_at() -> None:
    """A million tracked objects would make each of its full rounds a pause."""
    store = MemoryStateStore()
    for number in range(5_000):
        await admit(store, number)
        await store.finish(f"m{number}", NOW)
    assert not any(gc.is_tracked(shard) for table in (store._entries, store._chats._newest) for shard in table.shards)
    assert not any(gc.is_tracked(generation.message_ids) for generation in store._generations)


def test_each_key_of_a_table_has_its_hash_beside_it() -> None:
    """So that looking for one reads no other: by their size, as Python does not tell."""
    shard, plain = Table[None]().shards[0], dict[str, None]()
    for number in range(1_000):
        shard[f"m{number}"] = plain[f"m{number}"] = None
    assert sys.getsizeof(shard) > sys.getsizeof(plain)


async def test_no_message_is_kept_by_another() -> None:
    """They hang together in their chat, and the garbage collector does not look at them."""
    before = sys.getallocatedblocks()
    for last in ("expires", "is closed"):
        store = MemoryStateStore()
        for number in range(5_000):
            await admit(store, number)
            if number % 2:
                await store.claim_window("chat", f"m{number - 1}", NOW)
            await store.finish(f"m{number}", NOW)
        if last == "expires":
            for _ in range(5_000):
                await store.finish("nothing", NOW + CLAIM_SECONDS)
        else:
            await store.close()
            assert await store.claim_window("chat", "m2", NOW) is None
        del store
    assert sys.getallocatedblocks() - before < 1_000


def test_no_window_outlives_the_claim_of_its_message() -> None:
    """They are dropped together."""
    assert limits.RESPONSE_URL_SECONDS <= CLAIM_SECONDS


class Plain:
    """What the windows of a state are to do, written down without any thought of speed or room."""

    def __init__(self) -> None:
        self.until: dict[str, float] = {}
        self.open: dict[str, ReplyWindow] = {}
        self.claimed: dict[str, ReplyWindow] = {}
        self.in_hand: set[str] = set()

    def admit(self, window: ReplyWindow, now: float) -> bool:
        message_id = window.message_id
        if message_id in self.in_hand or self.until.get(message_id, now) > now:
            return False
        self.claimed.pop(message_id, None)
        self.until[message_id] = now + CLAIM_SECONDS
        self.open[message_id] = window
        self.in_hand.add(message_id)
        return True

    def claim(self, chat_id: str, message_id: str | None, now: float) -> ReplyWindow | None:
        found = [
            window
            for window in self.open.values()
            if window.chat_id == chat_id and window.expires_at > now and message_id in {None, window.message_id}
        ]
        if not found:
            return None
        newest = max(found, key=lambda window: window.opened_at)
        self.claimed[newest.message_id] = self.open.pop(newest.message_id)
        return newest

    def restore(self, message_id: str) -> ReplyWindow | None:
        window = self.claimed.pop(message_id, None)
        if window:
            self.open[message_id] = window
        return window

    def release(self, message_id: str) -> None:
        if message_id in self.in_hand and message_id not in self.claimed:
            del self.until[message_id], self.open[message_id]
        self.in_hand.discard(message_id)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["admit"] * 4 + ["claim", "claim newest", "restore", "release", "finish", "wait"]),
        st.integers(0, 9),
        st.sampled_from(["group", "alice"]),
    ),
    max_size=80,
)


async def take_step(store: MemoryStateStore, plain: Plain, step: str, window: ReplyWindow) -> None:
    """Take a step on both, and hold what they return side by side."""
    message_id, chat_id, now = window.message_id, window.chat_id, window.opened_at
    if step == "admit":
        assert store.admit(KeptCallback(message_id, chat_id, now, b"x"), window, now) == plain.admit(window, now)
    elif step == "restore" and (restored := plain.restore(message_id)):
        await store.restore_window(restored, now)
    elif step == "release":
        await store.release(message_id, now)
        plain.release(message_id)
    elif step == "finish":
        await store.finish(message_id, now)
        plain.in_hand.discard(message_id)
    elif step in {"claim", "claim newest"}:
        named = message_id if step == "claim" else None
        assert await store.claim_window(chat_id, named, now) == plain.claim(chat_id, named, now)


# Restored when the one it stood beside is gone.
CLAIMED_AGAIN = [("admit", 0), ("admit", 1), ("claim", 0), ("claim", 1), ("restore", 0), ("claim", 0)]


@given(STEPS)
@example([("admit", 0, "group"), ("finish", 0, "group"), ("release", 0, "group")])
@example([(step, number, "group") for step, number in CLAIMED_AGAIN])
async def test_windows_are_found_whatever_happened_before(steps: list[tuple[str, int, str]]) -> None:
    """Admitted, claimed, opened again at their place, given back, over, admitted anew: each chat has its own."""
    store, plain, now = MemoryStateStore(), Plain(), NOW
    for step, number, chat_id in steps:
        now += 1000.0 if step == "wait" else 1.0
        window = ReplyWindow(f"m{number}", chat_id, "alice", f"https://x/{now}", now, now + 3600, number % 2 == 0)
        await take_step(store, plain, step, window)
    for chat_id in ("group", "alice"):
        while (expected := plain.claim(chat_id, None, now)) is not None:
            assert await store.claim_window(chat_id, None, now) == expected
        assert await store.claim_window(chat_id, None, now) is None
    for number in range(10):
        await store.finish(f"m{number}", now)
    for number in range(200):
        await store.finish("nothing", now + CLAIM_SECONDS + number)
    assert store.open_windows == store._size_bytes == store._claims == 0
    assert not any(shard for table in (store._entries, store._chats._newest) for shard in table.shards)
