"""Room for the media of messages in hand: so many bytes, so many downloads at once, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import msgspec

from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.policy.media_blocks import BLOCK_BYTES

FETCHES_AT_ONCE: Final = 16
"""Downloads of one channel. Lower: a busy morning takes longer; higher: WeCom's storage may say no."""


class MediaShare(msgspec.Struct, eq=False):
    """What the media of one message take up, from its first download until the host has dealt with it."""

    held_bytes: int = 0
    over: bool = False


class MediaRoom:
    """Counts the bytes of media in hand and lets nobody start a download whose end would not fit.

    A download takes up what the largest item would, and after it what the item really has. A message holds that until
    it leaves.

    An item whose message holds nothing waits as long as its caller does. One whose message holds some already waits
    for downloads under way only: two messages that wait with something in hand might wait for each other.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._fetches = 0
        self._waiting: deque[tuple[MediaShare, asyncio.Future[None]]] = deque()

    @property
    def taken_bytes(self) -> int:
        """What is taken up now; never above the limit."""
        return self._held_bytes + self._fetches * BLOCK_BYTES

    async def take(self, share: MediaShare) -> None:
        """Wait for room for one more item of a message. It is taken until `settle`, which must follow.

        Raises:
            MediaUnavailable: there is none and will be none, with reason `no_room`.
        """
        place = asyncio.get_running_loop().create_future()
        self._waiting.append((share, place))
        self._serve()
        if share.held_bytes and not place.done() and not self._fetches:
            place.set_exception(MediaUnavailable(reason="no_room"))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                # Granted in the same instant.
                self.settle(share, 0)
            raise

    def settle(self, share: MediaShare, held_bytes: int) -> None:
        """End a download of a message: from now on it takes up what it brought."""
        self._fetches -= 1
        if not share.over:
            share.held_bytes += held_bytes
            self._held_bytes += held_bytes
        self._serve()
        if not self._fetches:
            self._refuse_holders()

    def leave(self, share: MediaShare) -> None:
        """End a message: it holds nothing any more, whatever it still brings."""
        share.over = True
        self._held_bytes -= share.held_bytes
        share.held_bytes = 0
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            _, place = self._waiting[0]
            if not place.done():
                if self._fetches >= FETCHES_AT_ONCE or self.taken_bytes + BLOCK_BYTES > self._limit_bytes:
                    return
                self._fetches += 1
                place.set_result(None)
            self._waiting.popleft()

    def _refuse_holders(self) -> None:
        """Refuse those whose message holds something, now that no download under way can make room for them."""
        for share, place in self._waiting:
            if share.held_bytes and not place.done():
                place.set_exception(MediaUnavailable(reason="no_room"))
