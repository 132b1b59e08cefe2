"""A message as tests admit it: with a window of an hour, written by Alice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maven_channel_wecom.later import settled
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.port import KeptCallback

if TYPE_CHECKING:
    from maven_channel_wecom.state.port import StateStore

NOW: Final = 1_700_000_000.0
HOUR: Final = 3600.0


def kept(message_id: str) -> KeptCallback:
    return KeptCallback(message_id, "chat", NOW, b"message")


def window(message_id: str, opened_at: float = NOW) -> ReplyWindow:
    return ReplyWindow(message_id, "chat", "alice", f"https://x/{message_id}", opened_at, opened_at + HOUR)


async def all_unfinished(store: StateStore, now: float = NOW) -> list[KeptCallback]:
    """Take over until there is nothing left."""
    taken: list[KeptCallback] = []
    while some := await store.unfinished(now):
        taken += some
    return taken


async def admit(store: StateStore, message_id: str, now: float = NOW) -> bool:
    return await settled(store.admit(kept(message_id), window(message_id, now), now))
