"""The interface of the state, `StateStore`, which every backend implements, and how callers retry its operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec

from maven_channel_wecom.errors import StateClosed, StateUnavailable
from maven_channel_wecom.policy.reply_window import ReplyWindow  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from maven_channel_wecom.clock import Clock

CLAIM_SECONDS: Final = 3_600.0
"""Time for which a message id stays claimed after its admission, in seconds. WeCom repeats a callback within seconds,
but an attacker who recorded one can replay it at any time: as long as its message could still be answered, a replay
must be recognized. Lower: less memory, but a replay may be answered again."""

FIRST_DELAY_SECONDS: Final = 0.05
"""Delay before the first retry of an operation on an unavailable state, in seconds. It doubles with each retry."""

LONGEST_DELAY_SECONDS: Final = 2.0
"""Maximum delay between retries, in seconds. Lower: many waiting operations keep a full disk busy. Higher: a reply goes
out later after the state has come back."""

STREAM_SECONDS: Final = 390.0
"""Time after its admission until which the stream of a message is stored, in seconds: the 330 s of its life and the
FRAME_REPEAT_SECONDS of its last frame. Lower: a refresh that comes late finds no stream. Higher: what users read is
stored for longer."""

FETCH_RESERVATION_SECONDS: Final = 2.0
"""Time for which a process that has read a last frame may give it out, in seconds. Lower: a slow process gives it out
after the answer was sent another way, and the user sees two. Higher: after a process died with it, the answer waits."""

FRAME_REPEAT_SECONDS: Final = 60.0
"""Time for which a last frame is given again after a refresh fetched it, in seconds, because WeCom repeats a refresh
whose answer was lost. Lower: a late repeat ends with a sentence instead. Higher: the text is stored for longer."""

_T = TypeVar("_T")


class StoredCallback(msgspec.Struct, frozen=True):
    """An admitted callback, stored until its message is finished. `received_at` is in seconds since the epoch."""

    message_id: str
    received_at: float
    message: bytes

    def __repr__(self) -> str:
        return f"<StoredCallback of {len(self.message)} bytes>"


class Admission(msgspec.Struct, frozen=True):
    """What is stored when a message is admitted: its callback, and its reply window if it has one.

    `stream_id` is the id of the stream that its acknowledgement opens, empty if it opens none. Only a message with a
    reply window can have a stream, which belongs to the chat of that window. `stream_text` is what it shows at first.
    """

    callback: StoredCallback
    window: ReplyWindow | None
    stream_id: str = ""
    stream_text: str = ""


class StreamFrame(msgspec.Struct, frozen=True):
    """The text that a stream shows, the whole of it.

    `is_last` is True if the stream ends with it. `is_answer` is False for a last frame that ends the stream before the
    answer, which then goes out through the reply window.
    """

    content: str
    is_last: bool = False
    is_answer: bool = True

    def __repr__(self) -> str:
        return f"<StreamFrame of {len(self.content)} characters>"


class StateStore(Protocol):
    """The claims, reply windows and stored callbacks of one channel.

    An admitted message is in progress until it is finished. Its claim makes a repeat of its callback
    recognizable as a duplicate, and its reply window is open, then claimed while a reply is being sent, then spent.
    One interface covers all three because admission changes them in one atomic operation.

    The process that admitted a message with a stream answers the refreshes of that stream from its own memory. If the
    state is shared by several processes, it also stores the newest frame for the others. The methods for streams
    therefore have a default body, which suits a state that is not shared: it stores no stream.

    `now` is in seconds since the epoch. Every method that reads or changes entries may raise StateUnavailable: the
    backend cannot guarantee the result.
    """

    async def admit(self, batch: Sequence[Admission], now: float) -> list[bool]:
        """Claim messages, open their reply windows and store their callbacks, atomically for each message.

        Returns:
            One value for each admission, in order: True if the message is new, False if it was already claimed, in
            which case nothing was changed. If a message id occurs twice in the batch, only the first one is new.

        Raises:
            StateUnavailable: it is unknown which admissions of the batch were stored, if any. A message that was
                stored after all, or for a caller that was cancelled, has no owner; `take_over` returns it later.
        """
        ...

    async def release(self, message_id: str, now: float) -> bool:
        """Give up a message in progress whose processing failed, so that `take_over` returns it again.

        A message whose window is spent, or whose answer was fetched from its stream, was already answered, so it is
        finished instead.

        Returns:
            False if a reply holds the window of the message or its last frame is reserved, in which case nothing was
            changed: release it later.
        """
        ...

    async def finish(self, message_id: str, now: float) -> None:
        """End a message: remove its callback. Its claim lasts for CLAIM_SECONDS, an unspent window until it expires."""
        ...

    async def take_over(self, now: float, *, limit: int = 1_000) -> list[StoredCallback]:
        """Return messages in progress that were released or whose process has died, oldest first.

        The caller becomes their owner.

        Each message is returned to one caller only, which handles it as if it had admitted it. A message whose window
        is spent, or whose answer was fetched from its stream, was already answered: it is finished and not returned.
        Otherwise its stream is removed, so its answer goes out through its window. A window that was claimed by the
        dead process is opened again and marked `repeated`, because it is unknown whether the reply arrived; if it did,
        WeCom refuses the second one.

        The channel calls this at start and at regular intervals.

        Args:
            now: the current time.
            limit: maximum number of messages returned. Fewer may be returned although there are more; an empty
                list means that none are left.
        """
        ...

    async def claim_window(
        self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        """Claim an open reply window, so that no other reply can use it.

        Args:
            chats: chat keys (`policy.reply_window.chat_key`), the most likely first: one, or two if it is unknown
                whether a chat id names a person or a group. Only windows of these chats can be claimed.
            reply_to: id of the message to be answered, whose window is claimed. None claims the newest open window of
                the first chat that has one.
            now: the current time.
            spare_of: id of a sender. Only windows of finished messages of this sender can be claimed, since no turn is
                working on these.

        Returns:
            The window, which the caller must spend or restore; None if no window is open. If the caller is cancelled,
            the claim is undone.
        """
        ...

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        """Record that a reply was, or may have been, sent through a claimed window. It is never opened again."""
        ...

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        """Open a claimed window again because its reply was not delivered, and record whether it is `repeated`."""
        ...

    @property
    def shared(self) -> bool:
        """Whether several processes may use this state at the same time."""
        return False

    async def write_frame(self, message_id: str, frame: StreamFrame, now: float) -> None:  # noqa: ARG002 - nothing is stored
        """Store the newest frame of the stream that this process opened for a message.

        It changes nothing after `take_over` returned the message to another process, nor once a last frame is reserved
        or fetched. Of calls that overlap, the last one counts.
        """
        return

    async def read_frame(self, stream_id: str, chat: str, now: float) -> StreamFrame | None:  # noqa: ARG002 - nothing is stored
        """Return the newest frame of a stream, for a refresh that reached a process which did not open it.

        A last frame is reserved: for FETCH_RESERVATION_SECONDS its stream cannot be closed. The caller gives it out
        within that time and then calls `confirm_fetch`.

        Args:
            stream_id: id of the stream.
            chat: chat key of the refresh.
            now: the current time.

        Returns:
            The frame, whose content is empty until the first `write_frame`; None if no stream of this id is open in
            this chat, or its last frame was fetched more than FRAME_REPEAT_SECONDS ago.
        """
        return None

    async def confirm_fetch(self, stream_id: str, now: float) -> None:  # noqa: ARG002 - nothing is stored
        """Record that the last frame of a stream was written to a refresh. If it is the answer, its message has one."""
        return

    async def is_fetched(self, message_id: str, now: float) -> bool:  # noqa: ARG002 - nothing is stored
        """Return whether a process confirmed that it gave out the last frame of the stream of a message.

        Only the process that opened the stream may call it.
        """
        return False

    async def close_stream(self, message_id: str, now: float) -> bool:  # noqa: ARG002 - nothing is stored
        """End the stream that this process opened for a message, so that `read_frame` does not find it any more.

        Returns:
            False if its last frame was fetched or is reserved, in which case nothing was changed: ask `is_fetched` a
            little later. True if no other process can give out a frame of this stream from now on.
        """
        return True

    @property
    def open_windows(self) -> int:
        """Number of open windows as last seen by this process. It may include a few that have just expired."""
        ...

    @property
    def expired_windows(self) -> int:
        """Number of windows that this process saw expire unspent. It never decreases.

        A window is counted when it is removed, some time after it expired, or when it is restored after it expired. If
        several processes share the state, the one that removes a window counts it; the count is lost if the answer of
        the database is lost.
        """
        ...

    async def health(self) -> str | None:
        """Return None if an admission would succeed and be kept, otherwise a sentence with the reason.

        It takes a second at most.
        """
        ...

    async def close(self) -> None:
        """Close the store. No method may be called afterwards."""
        ...


async def retry_while_unavailable(operation: Callable[[], Awaitable[_T]], clock: Clock, *, until: float) -> _T:
    """Call an operation of the state until it succeeds, and return its result.

    It is called at least once, and for the last time at `until`, in seconds since the epoch.

    Raises:
        StateUnavailable: the operation failed until then, or the state is closed.
    """
    delay = FIRST_DELAY_SECONDS
    while True:
        try:
            return await operation()
        except StateUnavailable as unavailable:
            if isinstance(unavailable, StateClosed) or clock.now() >= until:
                raise
        await clock.sleep(min(delay, until - clock.now()))
        delay = min(2 * delay, LONGEST_DELAY_SECONDS)
