"""One media item's way from its URL to a content block, within a budget of bytes.

It always becomes a block, if only one that says why the item is not available.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.policy.media_blocks import (
    BLOCK_BYTES,
    MEDIA_BYTES,
    BlockData,
    media_block,
    unavailable_block,
)
from maven_channel_wecom.protocol import limits, media
from maven_channel_wecom.telemetry import events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.contract.messages import ContentBlock
    from maven_channel_wecom.egress.media_client import MediaClient
    from maven_channel_wecom.errors import MediaFailure
    from maven_channel_wecom.policy.media_blocks import MediaBlock
    from maven_channel_wecom.protocol.callback import MediaItem, MediaKind
    from maven_channel_wecom.telemetry.events import Emit

FETCH_SECONDS: Final = 60.0
"""For one item, all attempts together. Lower: large pictures over slow proxies fail; higher: the chat waits longer."""

MAX_ITEMS: Final = 32
"""In one message. Nobody sends more; whoever forges a message could name ten thousand."""

MAX_DOWNLOADS: Final = 16
"""At once, in one channel. Lower: a busy morning takes longer; higher: WeCom's storage may refuse."""


class MediaUse(msgspec.Struct, eq=False):
    """The bytes that the media of one message use, from its first download until the message is dealt with."""

    used_bytes: int = 0
    released: bool = False


class MediaBudget:
    """Counts the bytes of all media in memory, and starts no download whose result might not fit.

    A download reserves what the largest item would use, and then uses what the item really has, until its message
    releases it. An item whose message uses nothing yet waits as long as its caller does. One whose message uses some
    already waits for running downloads only: two messages that hold something could wait for each other.

    Args:
        limit_bytes: for all together; `mediaLimitBytes`.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._used_bytes = 0
        self._downloads = 0
        self._waiting: deque[tuple[MediaUse, asyncio.Future[None]]] = deque()

    @property
    def used_bytes(self) -> int:
        """What is used and reserved now; never above the limit."""
        return self._used_bytes + self._downloads * BLOCK_BYTES

    async def reserve(self, use: MediaUse) -> None:
        """Wait until one more item of a message may be downloaded. `charge` must follow.

        Raises:
            MediaUnavailable: there is no room and will be none, with reason `no_room`.
        """
        granted = asyncio.get_running_loop().create_future()
        self._waiting.append((use, granted))
        self._grant()
        if use.used_bytes and not granted.done() and not self._downloads:
            granted.set_exception(MediaUnavailable(reason="no_room"))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                # Granted in the same iteration of the loop.
                self.charge(use, 0)
            raise

    def charge(self, use: MediaUse, used_bytes: int) -> None:
        """End a download: its reservation is replaced by what it brought."""
        self._downloads -= 1
        if not use.released:
            use.used_bytes += used_bytes
            self._used_bytes += used_bytes
        self._grant()
        if not self._downloads:
            # No running download can make room any more for messages that hold some already.
            for waiting, granted in self._waiting:
                if waiting.used_bytes and not granted.done():
                    granted.set_exception(MediaUnavailable(reason="no_room"))

    def release(self, use: MediaUse) -> None:
        """End a message: it uses nothing any more, whatever its downloads still bring."""
        use.released = True
        self._used_bytes -= use.used_bytes
        use.used_bytes = 0
        self._grant()

    def _grant(self) -> None:
        while self._waiting:
            _, granted = self._waiting[0]
            if not granted.done():
                if self._downloads >= MAX_DOWNLOADS or self.used_bytes + BLOCK_BYTES > self._limit_bytes:
                    return
                self._downloads += 1
                granted.set_result(None)
            self._waiting.popleft()


class MediaFetcher:
    """Fetches, decrypts and recognizes the media of one channel.

    Args:
        client: downloads.
        keys: the AES keys that may be right, the likeliest first.
        budget: for the bytes of all media in memory.
        emit: reports what happened.
        clock: the channel's.
    """

    def __init__(
        self, client: MediaClient, keys: Sequence[bytes], *, budget: MediaBudget, emit: Emit, clock: Clock
    ) -> None:
        self._client = client
        self._keys = tuple(keys)
        self._budget = budget
        self._emit = emit
        self._clock = clock

    async def fetch_all(
        self, items: Sequence[MediaItem], use: MediaUse, *, received_at: float, message_id: str
    ) -> list[ContentBlock]:
        """Return the block of each media item of a message, all fetched at once; beyond MAX_ITEMS they are left out.

        Their bytes are charged to `use` until the message releases it.
        """
        blocks = await asyncio.gather(
            *(self.fetch(item, use, received_at=received_at, message_id=message_id) for item in items[:MAX_ITEMS])
        )
        return [*blocks, *(unavailable_block(item, "too_many") for item in items[MAX_ITEMS:])]

    async def fetch(self, item: MediaItem, use: MediaUse, *, received_at: float, message_id: str) -> ContentBlock:
        """Return the block of a media item; `received_at`, in seconds since the epoch, is when its URL began to age."""
        seconds = None
        outcome: Literal["opened", MediaFailure]
        block: ContentBlock
        try:
            await self._reserve(item, use, received_at)
            started_at = self._clock.now()
            used_bytes = 0
            try:
                downloaded = await self._download(item, min(FETCH_SECONDS, _seconds_left(received_at, started_at)))
                used_bytes = len(downloaded.data)
            finally:
                self._budget.charge(use, used_bytes)
                seconds = self._clock.now() - started_at
            block, outcome = downloaded, "opened"
        except MediaUnavailable as unavailable:
            block, outcome = unavailable_block(item, unavailable.reason), unavailable.reason
        except Exception as error:  # noqa: BLE001 - a bug met by one picture must not cost the words around it
            self._emit(events.MediaFailed(message_id=message_id, error=type(error).__name__))
            block, outcome = unavailable_block(item, "error"), "error"
        only_id = bool(item.media_id and not item.url)
        self._emit(
            events.MediaEnded(message_id=message_id, kind=item.kind, outcome=outcome, seconds=seconds, only_id=only_id)
        )
        return block

    async def _reserve(self, item: MediaItem, use: MediaUse, received_at: float) -> None:
        if item.kind == "video":
            # No model takes one, and it may have 100 MB.
            raise MediaUnavailable(reason="unsupported")
        if not item.url:
            raise MediaUnavailable(reason="no_url")
        seconds_left = _seconds_left(received_at, self._clock.now())
        if seconds_left <= 0:
            # A timeout ends nothing but a wait, and where there is room nobody waits.
            raise MediaUnavailable(reason="expired")
        try:
            async with asyncio.timeout(seconds_left):
                await self._budget.reserve(use)
        except TimeoutError:
            raise MediaUnavailable(reason="expired") from None

    async def _download(self, item: MediaItem, timeout_seconds: float) -> MediaBlock:
        item_key = media.decode_item_key(item.aes_key) if item.aes_key else None
        keys = (item_key, *self._keys) if item_key else self._keys
        download = await self._client.get(
            item.url,
            lambda: _Decryption(keys, item.kind),
            limit_bytes=MEDIA_BYTES + limits.PADDING_BLOCK_BYTES,
            timeout_seconds=timeout_seconds,
        )
        decryption = download.sink
        await decryption.finish()
        name = media.file_name(download.content_disposition)
        return media_block(item, decryption.data, decryption.decryptor.media_type, name)


class _Decryption:
    """One attempt at an item: decrypted and encoded as it arrives, so no step is long and nothing is kept twice."""

    def __init__(self, keys: Sequence[bytes], kind: MediaKind) -> None:
        self.decryptor = media.MediaDecryptor(keys, kind)
        self.data = BlockData()

    def write(self, content: bytes) -> None:
        self.data.add(self.decryptor.update(content))

    async def finish(self) -> None:
        """Decrypt what is left: little, or everything when only the end told how. Raises MediaUnavailable."""
        for piece in self.decryptor.finalize():
            self.data.add(piece)
            await asyncio.sleep(0)


def _seconds_left(received_at: float, now: float) -> float:
    return received_at + limits.MEDIA_URL_SECONDS - now
