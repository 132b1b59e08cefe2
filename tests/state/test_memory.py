"""Behavior that only the in-memory backend has: a limit on its size, and expiry in small portions."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.store import CLAIM_SECONDS, Admission
from tests.state.messages import CHAT, NOW, admission, admit, claim, stored


async def test_messages_beyond_the_limit_are_refused_until_others_are_removed() -> None:
    store = MemoryStateStore(max_claims=5)
    for number in range(5):
        assert await admit(store, f"m{number}")
    with pytest.raises(StateUnavailable) as raised:
        await admit(store, "m5")
    assert raised.value.reason == "state_full"
    assert await store.health() == str(raised.value)
    assert not await admit(store, "m4")
    for number in range(5):
        await store.finish(f"m{number}", NOW)
    await store.finish("nothing", NOW + CLAIM_SECONDS)
    assert await store.health() is None
    assert await admit(store, "m5", NOW + CLAIM_SECONDS)


async def test_a_batch_that_exceeds_the_limit_is_refused_as_a_whole() -> None:
    store = MemoryStateStore(max_claims=5)
    await admit(store, "m0")
    with pytest.raises(StateUnavailable):
        await store.admit([admission(f"m{number}") for number in range(6)], NOW)
    assert store.open_windows == 1
    batch = [admission(name) for name in ("m0", "m1", "m1", "m2", "m3", "m4")]
    assert await store.admit(batch, NOW) == [False, True, False, True, True, True]


async def test_a_full_store_can_be_filled_again_after_an_hour_however_its_messages_ended() -> None:
    store = MemoryStateStore(max_claims=400)
    for number in range(400):
        await admit(store, f"m{number}")
    for number in range(0, 400, 4):
        await store.finish(f"m{number}", NOW)
        await store.finish(f"m{number + 1}", NOW)
        await store.finish(f"m{number + 2}", NOW)
        await store.restore_window(await claim(store, f"m{number + 2}"), NOW)
        await claim(store, f"m{number + 3}")
        await store.finish(f"m{number + 3}", NOW)
    later = NOW + CLAIM_SECONDS
    for number in range(400):
        assert await admit(store, f"n{number}", later)
    assert store.open_windows == 400
    assert store.expired_windows == 300


async def test_each_call_removes_a_few_expired_entries_and_expiry_keeps_up_with_admissions() -> None:
    store = MemoryStateStore()
    for number in range(1000):
        await admit(store, f"m{number}")
        await store.finish(f"m{number}", NOW)
    later = NOW + CLAIM_SECONDS
    await store.finish("nothing", later)
    assert 950 < store.open_windows < 1000
    for start in range(1000, 1500, 50):
        await store.admit([admission(f"m{number}", later) for number in range(start, start + 50)], later)
    assert store.open_windows == 500
    assert store.expired_windows == 1000


async def test_a_message_admitted_again_is_not_removed_with_its_expired_first_claim() -> None:
    store = MemoryStateStore()
    for number in range(100):
        await admit(store, f"m{number}")
        await store.finish(f"m{number}", NOW)
    later = NOW + CLAIM_SECONDS
    assert await admit(store, "m99", later)
    for _ in range(100):
        await store.finish("nothing", later)
    assert store.open_windows == 1
    assert store.expired_windows == 100
    assert not await admit(store, "m99", later)


async def test_a_closed_store_is_empty() -> None:
    store = MemoryStateStore()
    await admit(store, "m1")
    await store.close()
    assert store.open_windows == 0
    assert await store.claim_window([CHAT], "m1", NOW) is None


class WindowModel:
    """A simple model of claims and reply windows, without regard to speed or memory."""

    def __init__(self) -> None:
        self.until: dict[str, float] = {}
        self.open: dict[str, ReplyWindow] = {}
        self.claimed: dict[str, ReplyWindow] = {}
        self.in_progress: set[str] = set()

    def admit(self, window: ReplyWindow, now: float) -> bool:
        message_id = window.message_id
        if message_id in self.in_progress or self.until.get(message_id, now) > now:
            return False
        self.claimed.pop(message_id, None)
        self.until[message_id] = now + CLAIM_SECONDS
        self.open[message_id] = window
        self.in_progress.add(message_id)
        return True

    def claim(self, chat: str, message_id: str | None, now: float) -> ReplyWindow | None:
        found = [
            window
            for window in self.open.values()
            if window.chat == chat and window.expires_at > now and message_id in {None, window.message_id}
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


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["admit"] * 4 + ["claim", "claim newest", "restore", "release", "finish", "wait"]),
        st.integers(0, 9),
        st.sampled_from(["group:team", "single:alice"]),
    ),
    max_size=80,
)


async def run_on_both(store: MemoryStateStore, model: WindowModel, operation: str, window: ReplyWindow) -> None:
    """Run an operation on the store and on the model, and compare the results."""
    message_id, chat, now = window.message_id, window.chat, window.opened_at
    if operation == "admit":
        assert await store.admit([Admission(stored(message_id, now), window)], now) == [model.admit(window, now)]
    elif operation == "restore" and (restored := model.restore(message_id)):
        await store.restore_window(restored, now)
    elif operation == "release":
        # Neither a claim nor a window depends on it.
        await store.release(message_id, now)
    elif operation == "finish":
        await store.finish(message_id, now)
        model.in_progress.discard(message_id)
    elif operation in {"claim", "claim newest"}:
        named = message_id if operation == "claim" else None
        assert await store.claim_window([chat], named, now) == model.claim(chat, named, now)


# The first window is restored while the second one is claimed.
CLAIMED_AGAIN = [("admit", 0), ("admit", 1), ("claim", 0), ("claim", 1), ("restore", 0), ("claim", 0)]


@given(OPERATIONS)
@example([("admit", 0, "group:team"), ("finish", 0, "group:team"), ("release", 0, "group:team")])
@example([(operation, number, "group:team") for operation, number in CLAIMED_AGAIN])
async def test_the_store_behaves_like_the_model(operations: list[tuple[str, int, str]]) -> None:
    store, model, now = MemoryStateStore(), WindowModel(), NOW
    for operation, number, chat in operations:
        now += 1000.0 if operation == "wait" else 1.0
        window = ReplyWindow(f"m{number}", chat, "alice", f"https://x/{now}", now, now + 3600, number % 2 == 0)
        await run_on_both(store, model, operation, window)
    for chat in ("group:team", "single:alice"):
        while (expected := model.claim(chat, None, now)) is not None:
            assert await store.claim_window([chat], None, now) == expected
        assert await store.claim_window([chat], None, now) is None
    for _ in range(10):
        await store.finish("nothing", now + CLAIM_SECONDS)
    assert store.open_windows == 0
