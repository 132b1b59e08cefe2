"""The content block made of a media item: its size limit, its type, and its base64 data."""

from binascii import b2a_base64
from typing import Final

from maven_channel_wecom.contract.messages import FileBlock, ImageBlock, UnavailableBlock
from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.protocol.callback import MediaItem
from maven_channel_wecom.protocol.media import IMAGE_TYPES

MEDIA_BYTES: Final = 10 * 1024 * 1024
"""Maximum size of an image or file, in bytes. Lower: large photos become unavailable. Higher: one message needs more
memory, and models reject larger items anyway."""

BLOCK_BYTES: Final = -(-MEDIA_BYTES // 3) * 4
"""Size of MEDIA_BYTES in base64."""

MediaBlock = ImageBlock | FileBlock

_CHUNK_BYTES = 256 * 1024
_UNKNOWN_FILE_TYPE = "application/octet-stream"


class BlockData:
    """Incremental base64 encoding of the `data` of a block: call `add` with each part, then `finish` once."""

    def __init__(self) -> None:
        self.size_bytes = 0
        """Total size of the added bytes, before encoding."""
        self._unencoded = bytearray()
        self._text = ""

    def add(self, content: bytes) -> None:
        """Add the next bytes of the item."""
        self.size_bytes += len(content)
        self._unencoded += content
        if len(self._unencoded) >= _CHUNK_BYTES:
            self._encode(len(self._unencoded) // 3 * 3)

    def finish(self) -> str:
        """Return all added bytes in standard base64."""
        self._encode(len(self._unencoded))
        return self._text

    def _encode(self, size: int) -> None:
        chunk = b2a_base64(self._unencoded[:size], newline=False).decode("ascii")
        del self._unencoded[:size]
        # CPython extends a string in place if it has no other reference. Joining chunks at the end would double the
        # memory, and touching 14 MB of new memory at once would block the event loop for 10 ms.
        text, self._text = self._text, ""
        text += chunk
        self._text = text


def media_block(item: MediaItem, data: BlockData, media_type: str | None, name: str) -> MediaBlock:
    """Return the block of a decrypted media item; `media_type` is detected from its bytes, None if unknown.

    Raises:
        MediaUnavailable: the item is too large, or is of kind `image` but not of a type that models accept.
    """
    if data.size_bytes > MEDIA_BYTES:
        raise MediaUnavailable(reason="too_large")
    if item.kind == "image":
        if media_type not in IMAGE_TYPES:
            raise MediaUnavailable(reason="not_an_image")
        return ImageBlock(media_type=media_type, data=data.finish())
    return FileBlock(media_type=media_type or _UNKNOWN_FILE_TYPE, name=name, data=data.finish())


def unavailable_block(item: MediaItem, reason: str) -> UnavailableBlock:
    """Return the block that reports a media item as unavailable."""
    return UnavailableBlock(kind=item.kind, reason=reason)
