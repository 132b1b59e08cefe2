"""One media item's way from its URL to a content block. It always becomes one: what cannot be had is said so.

`MediaOpener.open` is all of it, download included; a benchmark needs no more than a MediaClient on an Egress, the keys,
a MediaRoom, and metrics of a registry of its own.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.contract.messages import UnavailableBlock
from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.policy.media_blocks import MEDIA_BYTES, BlockData, media_block, unavailable_block
from maven_channel_wecom.protocol import limits, media
from maven_channel_wecom.trail import Trail
from maven_channel_wecom.transport import media_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.contract.messages import ContentBlock
    from maven_channel_wecom.media_room import MediaRoom, MediaShare
    from maven_channel_wecom.metrics.series import ChannelMetrics
    from maven_channel_wecom.policy.media_blocks import MediaBlock
    from maven_channel_wecom.protocol.callback import MediaItem, MediaKind
    from maven_channel_wecom.transport.media_client import MediaClient

logger = logging.getLogger(__name__)

FETCH_SECONDS: Final = 60.0
"""For one item, all attempts together. Lower: large pictures over slow proxies fail; higher: the chat waits longer."""

ITEMS: Final = 32
"""Of one message. Nobody sends more; whoever forges a message could name ten thousand."""

_ONLY_ID: Final = "only a media_id came: fetching it needs an access token, which API-mode bots lack"

OUTCOMES: Final = (
    "opened",
    "unsupported",
    "no_url",
    "expired",
    "no_room",
    "error",
    "not_an_image",
    "undecipherable",
    *media_client.REASONS,
)


class MediaOpener:
    """Fetches, decrypts and recognizes the media of one channel."""

    def __init__(
        self,
        channel: str,
        client: MediaClient,
        keys: Sequence[bytes],
        *,
        room: MediaRoom,
        metrics: ChannelMetrics,
        clock: Clock,
    ) -> None:
        self._trail = Trail(channel, logger)
        self._client = client
        self._keys = tuple(keys)
        self._room = room
        self._metrics = metrics
        self._clock = clock

    async def open_all(
        self, items: Sequence[MediaItem], share: MediaShare, *, received_at: float, message_id: str
    ) -> list[ContentBlock]:
        """Return the block of each media item of a message, all fetched at once; beyond ITEMS they are left out.

        They take up their room in `share` until the message leaves.
        """
        opened = await asyncio.gather(
            *(self.open(item, share, received_at=received_at, message_id=message_id) for item in items[:ITEMS])
        )
        return [*opened, *(unavailable_block(item, "too_many") for item in items[ITEMS:])]

    async def open(self, item: MediaItem, share: MediaShare, *, received_at: float, message_id: str) -> ContentBlock:
        """Return the block of a media item; `received_at`, in seconds since the epoch, is when its URL began to age."""
        try:
            block: ContentBlock = await self._open(item, share, received_at)
        except MediaUnavailable as unavailable:
            block = unavailable_block(item, unavailable.reason)
        except Exception as error:  # noqa: BLE001 - a bug met by one picture must not cost the words around it
            # Without its text, which may hold what a user sent.
            self._trail.step(logging.ERROR, "wecom media failed", message_id, error=type(error).__name__)
            block = unavailable_block(item, "error")
        outcome = block.reason if isinstance(block, UnavailableBlock) else "opened"
        self._metrics.count_media_fetch(outcome)
        if outcome == "opened":
            self._trail.step(logging.DEBUG, "wecom media opened", message_id, kind=item.kind)
        else:
            detail = {"detail": _ONLY_ID} if outcome == "no_url" and item.media_id else {}
            self._trail.step(
                logging.WARNING, "wecom media unavailable", message_id, kind=item.kind, reason=outcome, **detail
            )
        return block

    async def _open(self, item: MediaItem, share: MediaShare, received_at: float) -> ContentBlock:
        if item.kind == "video":
            # No model takes one, and it may have 100 MB.
            raise MediaUnavailable(reason="unsupported")
        if not item.url:
            raise MediaUnavailable(reason="no_url")
        seconds_left = received_at + limits.MEDIA_URL_SECONDS - self._clock.now()
        if seconds_left <= 0:
            # Free room is taken without waiting, and a timeout ends nothing but a wait.
            raise MediaUnavailable(reason="expired")
        try:
            async with asyncio.timeout(seconds_left):
                await self._room.take(share)
        except TimeoutError:
            raise MediaUnavailable(reason="expired") from None
        started = self._clock.now()
        held_bytes = 0
        try:
            block = await self._fetch(item, min(FETCH_SECONDS, received_at + limits.MEDIA_URL_SECONDS - started))
            held_bytes = 0 if isinstance(block, UnavailableBlock) else len(block.data)
            return block
        finally:
            self._room.settle(share, held_bytes)
            self._metrics.media_fetch_seconds.observe(self._clock.now() - started)

    async def _fetch(self, item: MediaItem, timeout_seconds: float) -> MediaBlock:
        item_key = media.decode_item_key(item.aes_key) if item.aes_key else None
        keys = (item_key, *self._keys) if item_key else self._keys
        download = await self._client.get(
            item.url,
            lambda: _Arriving(keys, item.kind),
            limit_bytes=MEDIA_BYTES + limits.PADDING_BLOCK_BYTES,
            timeout_seconds=timeout_seconds,
        )
        arrived = download.sink
        await arrived.finish()
        name = media.file_name(download.content_disposition)
        return media_block(item, arrived.data, arrived.opening.media_type, name)


class _Arriving:
    """One attempt at an item: opened and encoded as it comes, so that no step takes long and nothing is kept twice."""

    def __init__(self, keys: Sequence[bytes], kind: MediaKind) -> None:
        self.opening = media.Opening(keys, kind)
        self.data = BlockData()

    def write(self, content: bytes) -> None:
        self.data.add(self.opening.update(content))

    async def finish(self) -> None:
        """Open what is left: little, or everything when only the end told how. Raises MediaUnavailable."""
        for piece in self.opening.finalize():
            self.data.add(piece)
            await asyncio.sleep(0)
