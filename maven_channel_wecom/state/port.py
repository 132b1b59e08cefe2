"""The one port of the state. Nothing above this folder knows which backend is behind it."""

from typing import Final, Protocol

import msgspec

from maven_channel_wecom.later import Later
from maven_channel_wecom.policy.reply_window import ReplyWindow

CLAIM_SECONDS: Final = 3_600.0
"""How long a message is recognized after it was admitted. WeCom repeats within seconds, but whoever saw a callback
pass may send it again: for as long as it could still be answered, it is no new message. Lower: less memory."""


class KeptCallback(msgspec.Struct, frozen=True):
    """An admitted callback as it is kept until it is finished. `received_at` is in seconds since the epoch."""

    message_id: str
    chat_id: str
    received_at: float
    message: bytes

    def __repr__(self) -> str:
        return f"<KeptCallback of {len(self.message)} bytes>"


class StateStore(Protocol):
    """Claims, windows and unfinished callbacks of one channel.

    One port and not one for each concern, because admitting is one atomic step over all three. `now` is in seconds
    since the epoch. Every method that changes or reads entries raises StateUnavailable when nothing can be promised.
    """

    def admit(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> bool | Later[bool]:
        """Claim a message, open its window and keep its callback, all or nothing.

        Returns:
            True when it is new; False when it is claimed already, and nothing was changed. Later, where it takes
            waiting. What was kept for somebody who gave up meanwhile is unfinished work of nobody's.
        """
        ...

    async def release(self, message_id: str, now: float) -> None:
        """Give a claim back: forget the message and close its window, so that a repeat is new again.

        A message whose window is claimed or spent may have been answered, so it is finished and not released.
        """
        ...

    async def finish(self, message_id: str, now: float) -> None:
        """Stop keeping the callback. The claim stays for CLAIM_SECONDS, an unspent window until it expires."""
        ...

    async def unfinished(self, now: float, *, most: int = 1_000) -> list[KeptCallback]:
        """Take over the callbacks that processes which are gone left unfinished, oldest first, some at a time.

        At most `most`, perhaps fewer though there are more; an empty list when there is none. Each is given to one
        caller only, who works on it as if it had admitted it. One whose window is spent was answered: it is finished
        instead. A window that was claimed when its process died is opened again, as `repeated`: to give it up would
        lose a message whose process died twice, and WeCom refuses a reply to a window that was used. Called at start
        and again and again; a backend that dies with its process has nothing to give.
        """
        ...

    async def claim_window(
        self, chat_id: str, reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        """Claim a window, so that nobody else can: that of the message `reply_to`, or the newest one of the chat.

        With `spare_of`, a sender, only windows of that sender's finished messages count: those that no answer is
        being written for.

        Returns:
            The window, to be spent or restored by the caller; None when there is none that is open.
        """
        ...

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        """Record that a reply went through a claimed window, or may have: it is never opened again."""
        ...

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        """Open a claimed window again: its reply surely was not sent."""
        ...

    @property
    def open_windows(self) -> int:
        """How many windows are open, as far as this process knows, give or take some that have just expired."""
        ...

    @property
    def expired_windows(self) -> int:
        """How many windows this process saw expire unspent. It only rises.

        A window counts when it is dropped, some time after its end, or when it is restored after its end. What several
        processes share is counted by the one that drops it, and not at all when its answer is lost.
        """
        ...

    async def health(self) -> str | None:
        """Return None when promises can be made, else a sentence that says why not. Within a second."""
        ...

    async def close(self) -> None:
        """Close what is open. Nothing is called afterwards."""
        ...
