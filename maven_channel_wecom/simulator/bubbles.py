"""What a person sees of a streamed answer: one bubble for each message, whose text every frame replaces."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from maven_channel_wecom.simulator.stream_rules import frame_offences, is_blank

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.offences import OffenceKind
    from maven_channel_wecom.simulator.stream_rules import AnsweredFrame


class BubbleFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a bubble. `after_seconds` counts from the sending of the message."""

    message_id: str
    content: str
    finish: bool
    after_seconds: float

    def __repr__(self) -> str:
        return f"<BubbleFrame of {len(self.content.encode('utf-8', 'replace'))} bytes, finish {self.finish}>"


class Bubble:
    """The bubble that answers one message.

    Attributes:
        message_id: the message.
        stream_id: the id that the first frame had.
        frames: the frames that changed something, oldest first. Equal frames in a row are one.
        feedback_id: what an event names when a person rates the answer, empty if nobody can.
        refreshes: the number of refreshes that were answered with a frame.
    """

    def __init__(self, message_id: str, stream_id: str) -> None:
        self.message_id = message_id
        self.stream_id = stream_id
        self.frames: list[BubbleFrame] = []
        self.feedback_id = ""
        self.refreshes = 0
        self._finished: asyncio.Future[BubbleFrame] = asyncio.get_running_loop().create_future()

    @property
    def text(self) -> str:
        """The last visible text, empty if there was none yet."""
        return next((frame.content for frame in reversed(self.frames) if not is_blank(frame.content)), "")

    @property
    def is_finished(self) -> bool:
        """Whether a frame finished the stream."""
        return self._finished.done()

    async def finished(self) -> BubbleFrame:
        """Wait for the frame that finishes the stream."""
        # Several callers may wait: cancelling one must not cancel the shared future.
        return await asyncio.shield(self._finished)

    def take(
        self, frame: AnsweredFrame, *, after_seconds: float, is_refresh: bool
    ) -> tuple[BubbleFrame | None, list[OffenceKind]]:
        """Show a frame. Return the change of the bubble, None if nothing changed, and what is wrong with the frame.

        A frame of another stream and a frame after the last one change nothing.
        """
        shown = self.frames[-1].content if self.is_finished else self.text
        offences = list(
            frame_offences(
                frame, stream_id=self.stream_id, shown=shown, is_finished=self.is_finished, is_refresh=is_refresh
            )
        )
        self.refreshes += is_refresh
        if self.is_finished or frame.stream_id != self.stream_id:
            return None, offences
        if frame.feedback_id and not is_refresh:
            self.feedback_id = frame.feedback_id
        last = self.frames[-1] if self.frames else None
        if last and (last.content, last.finish) == (frame.content, frame.finish):
            return None, offences
        change = BubbleFrame(
            message_id=self.message_id, content=frame.content, finish=frame.finish, after_seconds=after_seconds
        )
        self.frames.append(change)
        if change.finish:
            self._finished.set_result(change)
        return change, offences

    def __repr__(self) -> str:
        return f"<Bubble of {len(self.frames)} frames, {'finished' if self.is_finished else 'open'}>"
