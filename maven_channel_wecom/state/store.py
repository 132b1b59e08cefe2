"""The one interface of the state. Nothing above this folder knows which backend is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec

from maven_channel_wecom.errors import StateClosed, StateUnavailable
from maven_channel_wecom.policy.reply_window import ReplyWindow  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from maven_channel_wecom.clock import Clock

CLAIM_SECONDS: Final = 3_600.0
"""How long a message is recognized after it was admitted. WeCom repeats within seconds, but whoever saw a callback
pass may send it again: for as long as it could still be answered, it is no new message. Lower: less memory."""

STATE_RETRY_SECONDS: Final = 300.0
"""How long a step waits for a state that is away. Lower: an answer is lost while its database is being restarted.
Higher: a message that cannot be saved holds its place in the inbox for longer."""

_FIRST_DELAY_SECONDS: Final = 0.05
_LONGEST_DELAY_SECONDS: Final = 0.5

_T = TypeVar("_T")


class StoredCallback(msgspec.Struct, frozen=True):
    """An admitted callback as it is stored until it is finished. `received_at` is in seconds since the epoch."""

    message_id: str
    received_at: float
    message: bytes

    def __repr__(self) -> str:
        return f"<StoredCallback of {len(self.message)} bytes>"


class Admission(msgspec.Struct, frozen=True):
    """What admitting one message stores: its callback, and its reply window if it has one."""

    callback: StoredCallback
    window: ReplyWindow | None


class StateStore(Protocol):
    """Claims, reply windows and unfinished callbacks of one channel.

    One interface and not one for each concern, because admitting is one atomic step over all three. `now` is in seconds
    since the epoch. Every method that changes or reads entries raises StateUnavailable when nothing can be promised.
    """

    async def admit(self, batch: Sequence[Admission], now: float) -> list[bool]:
        """Claim messages, open their windows and store their callbacks: each message all or nothing.

        Returns:
            One value for each admission, in order: True when its message is new; False when it is claimed already, and
            nothing was changed. Of two with the same message id the first is new and the second is not.

        Raises:
            StateUnavailable: of no admission in the batch is anything known. What was stored all the same, here or
                after the caller was cancelled, has no owner: `take_over` returns it later.
        """
        ...

    async def release(self, message_id: str, now: float) -> None:
        """Give a claim back: forget the message and close its window, so that a repeat is new again.

        A message whose window is claimed or spent may have been answered, so it is finished and not released.
        """
        ...

    async def finish(self, message_id: str, now: float) -> None:
        """Stop storing the callback. The claim stays for CLAIM_SECONDS, an unspent window until it expires."""
        ...

    async def take_over(self, now: float, *, most: int = 1_000) -> list[StoredCallback]:
        """Take over the callbacks that processes which died left unfinished, oldest first, some at a time.

        At most `most`, perhaps fewer though there are more; an empty list when there is none. Each is given to one
        caller only, who works on it as if it had admitted it. One whose window is spent was answered: it is finished
        instead. A window that was claimed when its process died is opened again, as `repeated`: to give it up would
        lose a message whose process died twice, and WeCom refuses a reply to a window that was used. Called at start
        and again and again; a backend that dies with its process has nothing to give.
        """
        ...

    async def claim_window(
        self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        """Claim a window, so that nobody else can: that of the message `reply_to`, or the newest one of a chat.

        Args:
            chats: chat keys (`policy.reply_window.chat_key`), the likeliest first: one, or two when nobody knows
                whether a chat id names a person or a group. The window of `reply_to` must belong to one of them;
                without `reply_to` the first chat that has an open window counts.
            reply_to: the id of the message to be answered.
            now: the time.
            spare_of: the id of a sender: only windows of that sender's finished messages count, for which nobody is
                writing an answer.

        Returns:
            The window, to be spent or restored by the caller; None when none is open. A claim whose caller is
            cancelled is undone.
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
        """Return None when an admission would succeed, else a sentence that says why not. Within a second."""
        ...

    async def close(self) -> None:
        """Close what is open. Nothing is called afterwards."""
        ...


async def retry_while_unavailable(step: Callable[[], Awaitable[_T]], clock: Clock) -> _T:
    """Repeat a step of the state until it succeeds.

    Raises:
        StateUnavailable: there was no success for STATE_RETRY_SECONDS, or the state is closed.
    """
    try:
        return await step()
    except StateClosed:
        raise
    except StateUnavailable:
        until = clock.now() + STATE_RETRY_SECONDS
    delay = _FIRST_DELAY_SECONDS
    while True:
        await clock.sleep(delay)
        delay = min(2 * delay, _LONGEST_DELAY_SECONDS)
        try:
            return await step()
        except StateUnavailable as unavailable:
            if isinstance(unavailable, StateClosed) or clock.now() + delay > until:
                raise
