"""Fetching of media items: from a URL to a content block, within a budget of bytes.

Every item becomes a block; one that cannot be fetched becomes an `unavailable` block with the reason.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.fairness import SharedLimit, SharedSemaphore
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
"""Maximum time to fetch one item, over all attempts, in seconds. Lower: large pictures fail over slow proxies. Higher:
the chat waits longer."""

MAX_ITEMS: Final = 32
"""Maximum number of items fetched for one message. Real messages have fewer; a forged one could list ten thousand."""

MAX_DOWNLOADS: Final = 16
"""Maximum number of simultaneous downloads of one channel. Lower: items wait longer under load. Higher: WeCom's storage
may refuse requests."""


class MediaUse(msgspec.Struct, eq=False):
    """The bytes that the media of one message use, from its first download until the message is finished."""

    chat: str
    used_bytes: int = 0
    released: bool = False


class MediaBudget:
    """Limits the bytes of all media in memory: a download starts only if its result is sure to fit.

    Each download reserves the size of the largest possible item. Once it has ended, the actual size is charged to its
    message instead, until the message releases it. An item waits if the budget is exhausted or its chat uses its share;
    chats are served in turn. An item whose message has already been charged waits only while downloads are running,
    because two messages that each hold bytes would otherwise wait for each other. Then it is granted more than the
    share if no other chat waits and the item of another chat still fits afterwards, else refused.

    Args:
        limit_bytes: the limit for all media together (`mediaLimitBytes`).
    """

    def __init__(self, limit_bytes: int) -> None:
        self._bytes = SharedLimit(limit_bytes)
        self._downloads = SharedLimit(MAX_DOWNLOADS)
        self._semaphore = SharedSemaphore(
            (self._downloads, 1), (self._bytes, BLOCK_BYTES), served=self._grant_or_refuse
        )
        self._waiting: dict[asyncio.Future[None], MediaUse] = {}

    @property
    def used_bytes(self) -> int:
        """The bytes charged and reserved now; never above the limit."""
        return self._bytes.used

    async def reserve(self, use: MediaUse) -> None:
        """Wait until an item of a message may be downloaded, and reserve its bytes. `charge` must follow.

        Raises:
            MediaUnavailable: the message already uses bytes and no running download could free any; reason `no_room`.
        """
        granted = asyncio.get_running_loop().create_future()
        self._waiting[granted] = use
        try:
            await self._semaphore.acquire(use.chat, granted)
        finally:
            del self._waiting[granted]

    def charge(self, use: MediaUse, used_bytes: int) -> None:
        """End a download: replace its reservation with the bytes that it actually uses."""
        if not use.released:
            use.used_bytes += used_bytes
            self._bytes.reserve(use.chat, used_bytes)
        self._semaphore.release(use.chat)

    def release(self, use: MediaUse) -> None:
        """Release the bytes of a message. Downloads of the message that end later are charged nothing."""
        use.released = True
        self._bytes.release(use.chat, use.used_bytes)
        use.used_bytes = 0
        self._semaphore.serve()

    def _grant_or_refuse(self) -> None:
        """Decide about waiting items whose messages already use bytes, once no running download could free any."""
        if self._downloads.used:
            return
        waiting = [(granted, use) for granted, use in self._waiting.items() if not granted.done()]
        is_alone = len({use.chat for _, use in waiting}) == 1
        for granted, use in waiting:
            if not use.used_bytes:
                continue
            if is_alone and self._bytes.free >= 2 * BLOCK_BYTES and self._downloads.allows(use.chat):
                self._semaphore.grant(use.chat, granted)
            elif not self._downloads.used:
                granted.set_exception(MediaUnavailable(reason="no_room"))


class MediaFetcher:
    """Downloads and decrypts the media of one channel, and recognizes their types.

    Args:
        client: downloads from URLs.
        keys: the AES keys to try, the most likely first.
        budget: limits the bytes of all media in memory.
        emit: receives telemetry events.
        clock: the clock of the channel.
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
        """Fetch the media items of a message concurrently and return their blocks; those beyond MAX_ITEMS are refused.

        The bytes of the blocks are charged to `use`.
        """
        blocks = await asyncio.gather(
            *(self.fetch(item, use, received_at=received_at, message_id=message_id) for item in items[:MAX_ITEMS])
        )
        for item in items[MAX_ITEMS:]:
            blocks.append(unavailable_block(item, "too_many"))
            self._emit(events.MediaEnded(message_id=message_id, kind=item.kind, outcome="too_many"))
            # There may be ten thousand.
            await asyncio.sleep(0)
        return blocks

    async def fetch(self, item: MediaItem, use: MediaUse, *, received_at: float, message_id: str) -> ContentBlock:
        """Fetch a media item and return its block. Its URL expires MEDIA_URL_SECONDS after `received_at`.

        `received_at` is in seconds since the epoch. The bytes of the block are charged to `use`.
        """
        seconds, detail = None, ""
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
            block = unavailable_block(item, unavailable.reason, unavailable.media_type)
            outcome = unavailable.reason
            detail = "" if str(unavailable) == outcome else str(unavailable)
        except Exception as error:  # noqa: BLE001 - a bug in handling one item must not lose the rest of the message
            self._emit(events.MediaFailed(message_id=message_id, error=type(error).__name__))
            block, outcome = unavailable_block(item, "error"), "error"
        only_id = bool(item.media_id and not item.url)
        self._emit(
            events.MediaEnded(
                message_id=message_id,
                kind=item.kind,
                outcome=outcome,
                detail=detail,
                seconds=seconds,
                only_id=only_id,
            )
        )
        return block

    async def _reserve(self, item: MediaItem, use: MediaUse, received_at: float) -> None:
        if item.kind == "video":
            # No model accepts videos, and one may have 100 MB.
            raise MediaUnavailable(reason="unsupported")
        if not item.url:
            raise MediaUnavailable(reason="no_url")
        seconds_left = _seconds_left(received_at, self._clock.now())
        if seconds_left <= 0:
            # The timeout below ends only a wait, and an item that fits the budget does not wait.
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
    """The sink of one download attempt, which decrypts and encodes data as it arrives.

    This keeps each loop iteration short and stores no content twice.
    """

    def __init__(self, keys: Sequence[bytes], kind: MediaKind) -> None:
        self.decryptor = media.MediaDecryptor(keys, kind)
        self.data = BlockData()

    def write(self, content: bytes) -> None:
        self.data.add(self.decryptor.update(content))

    async def finish(self) -> None:
        """Decrypt what is left, which is everything if only the end of the data shows which key is right.

        Raises:
            MediaUnavailable: no key opens the item.
        """
        for piece in self.decryptor.finalize():
            self.data.add(piece)
            await asyncio.sleep(0)


def _seconds_left(received_at: float, now: float) -> float:
    return received_at + limits.MEDIA_URL_SECONDS - now
