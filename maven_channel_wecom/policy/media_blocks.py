"""The content block of a media item: what is passed on, and in what form."""

from binascii import b2a_base64
from typing import Final

from maven_channel_wecom.contract.messages import FileBlock, ImageBlock, UnavailableBlock
from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.protocol.callback import MediaItem
from maven_channel_wecom.protocol.media import IMAGE_TYPES

MEDIA_BYTES: Final = 10 * 1024 * 1024
"""The largest image or file passed on. Higher: one message costs more memory, and models refuse it anyway."""

BLOCK_BYTES: Final = -(-MEDIA_BYTES // 3) * 4
"""What the largest one takes in a block, in base64."""

MediaBlock = ImageBlock | FileBlock

_PIECE_BYTES = 256 * 1024
_UNKNOWN_FILE_TYPE = "application/octet-stream"


class BlockData:
    """The `data` of a block, encoded as its bytes arrive: `add` them, then `finish` once."""

    def __init__(self) -> None:
        self.size_bytes = 0
        """Of what was added, before it is encoded."""
        self._rest = bytearray()
        self._text = ""

    def add(self, content: bytes) -> None:
        """Take the next bytes of the item."""
        self.size_bytes += len(content)
        self._rest += content
        if len(self._rest) >= _PIECE_BYTES:
            self._encode(len(self._rest) // 3 * 3)

    def finish(self) -> str:
        """Return everything in standard base64."""
        self._encode(len(self._rest))
        return self._text

    def _encode(self, size: int) -> None:
        piece = b2a_base64(self._rest[:size], newline=False).decode("ascii")
        del self._rest[:size]
        # CPython lengthens a string in place when nothing else refers to it. Joining pieces at the end would need the
        # memory twice, and touch 14 MB of it for the first time in one step: 10 ms without a breath for the event loop.
        text, self._text = self._text, ""
        text += piece
        self._text = text


def media_block(item: MediaItem, data: BlockData, media_type: str | None, name: str) -> MediaBlock:
    """Return the block of a decrypted media item; `media_type` is what its bytes say, None when they say nothing.

    Raises:
        MediaUnavailable: it is too large, or said to be an image and none that models take.
    """
    if data.size_bytes > MEDIA_BYTES:
        raise MediaUnavailable(reason="too_large")
    if item.kind == "image":
        if media_type not in IMAGE_TYPES:
            raise MediaUnavailable(reason="not_an_image")
        return ImageBlock(media_type=media_type, data=data.finish())
    return FileBlock(media_type=media_type or _UNKNOWN_FILE_TYPE, name=name, data=data.finish())


def unavailable_block(item: MediaItem, reason: str) -> UnavailableBlock:
    """Return the block that says a media item could not be had."""
    return UnavailableBlock(kind=item.kind, reason=reason)
