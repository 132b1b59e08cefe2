"""Media as WeCom stores it: the file's bytes, encrypted with the bot's own AES key and without any frame."""

import base64
import binascii
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import filetype

from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.protocol import cipher, limits
from maven_channel_wecom.protocol.callback import MediaKind

IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""The image types every multimodal model takes."""

# `filetype` looks at 8,192 bytes, and the last block of what came may be padding.
_TELLING_BYTES = 8_192 + limits.PADDING_BLOCK_BYTES
_PIECE_BYTES = 64 * 1024
_NAME_CHARACTERS = 255
# RFC 6266. Not the standard library's email: it trips over what is no header, and takes its time over long ones.
_EXTENDED_NAME = re.compile(r";\s*filename\*\s*=\s*([^';]*)'[^';]*'([^;\s]*)", re.IGNORECASE)
_PLAIN_NAME = re.compile(r';\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]*))', re.IGNORECASE)
_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)


def media_type(content: bytes) -> str | None:
    """Tell the type of a file by its first bytes, such as `image/png`; None when they say nothing."""
    mime = filetype.guess_mime(content)
    # An animated PNG is a PNG to everyone who does not ask.
    return "image/png" if mime == "image/apng" else mime


class _Plain:
    """Reads bytes that are not encrypted."""

    def update(self, content: bytes) -> bytes:
        return content

    def finalize(self) -> bytes:
        return b""


@dataclass(frozen=True, slots=True, repr=False)
class _Way:
    """How an item may be read: the key, None for plain bytes, and the type that comes out."""

    key: bytes | None
    media_type: str | None

    def reader(self) -> cipher.Decryption | _Plain:
        return _Plain() if self.key is None else cipher.Decryption(self.key)

    def fits(self, content: bytearray) -> bool:
        """Tell by its end whether the whole can be read this way: the padding alone can be wrong."""
        if self.key is None:
            return True
        try:
            # What comes out of a block depends on the block before it and on nothing else.
            cipher.decrypt(self.key, bytes(content[-2 * limits.PADDING_BLOCK_BYTES :]))
        except ValueError:
            return False
        return len(content) % limits.PADDING_BLOCK_BYTES == 0


def _read(reader: cipher.Decryption | _Plain, content: bytearray) -> Iterator[bytes]:
    for start in range(0, len(content), _PIECE_BYTES):
        yield reader.update(bytes(content[start : start + _PIECE_BYTES]))
    yield reader.finalize()


class MediaDecryptor:
    """Decrypts one media item as its bytes arrive: `update` with each part of them, `finalize` when all came.

    The padding alone lets one wrong key in 256 pass, so a result whose first bytes are known wins over one whose
    bytes are not, and plain bytes with a known beginning are taken as they are. An image must be one. So the first
    bytes tell how to read the others. Where they leave a choice, as for a file of no known type while keys are being
    changed, what comes is kept until the padding at its end tells.

    Args:
        keys: the AES keys that may be right, the likeliest first.
        kind: what the item is said to be.
    """

    def __init__(self, keys: Iterable[bytes], kind: MediaKind) -> None:
        self._keys = tuple(dict.fromkeys(keys))
        self._kind = kind
        self._kept = bytearray()
        self._ways: list[_Way] | None = None
        self._reader: cipher.Decryption | _Plain | None = None
        self.media_type: str | None = None
        """What the first bytes say, as `media_type` tells it. Certain once `finalize` has ended."""

    def update(self, content: bytes) -> bytes:
        """Take the next bytes and return what is opened by now."""
        if self._reader is not None:
            return self._reader.update(content)
        self._kept += content
        if self._ways is None and len(self._kept) >= _TELLING_BYTES:
            self._ways = self._find_ways(whole=False)
            if len(self._ways) == 1:
                first, self._kept = bytes(self._kept), bytearray()
                return self._start(self._ways[0]).update(first)
        return b""

    def finalize(self) -> Iterator[bytes]:
        """Return the rest, in pieces.

        Raises:
            MediaUnavailable: nothing opens the item, with reason `undecipherable`.
        """
        reader = self._reader
        if reader is None:
            ways = self._find_ways(whole=True) if self._ways is None else self._ways
            reader = next((self._start(way) for way in ways if way.fits(self._kept)), None)
        try:
            if reader is not None:
                yield from _read(reader, self._kept)
                return
        except ValueError:
            pass
        raise MediaUnavailable(reason="undecipherable")

    # https://developer.work.weixin.qq.com/document/path/100719
    def _find_ways(self, *, whole: bool) -> list[_Way]:
        """Return how the bytes kept can be read, the most trustworthy way first; `whole`: there are no others."""
        known: list[_Way] = []
        unknown: list[_Way] = []
        kept = bytes(self._kept)
        for key in self._keys:
            decryption = cipher.Decryption(key)
            try:
                opened = decryption.update(kept) + (decryption.finalize() if whole else b"")
            except ValueError:
                continue
            type_ = media_type(opened)
            (unknown if type_ is None else known).append(_Way(key, type_))
        plain_type = media_type(kept)
        if plain_type is not None:
            known.append(_Way(None, plain_type))
        return known if self._kind == "image" else known + unknown

    def _start(self, way: _Way) -> cipher.Decryption | _Plain:
        self.media_type = way.media_type
        self._reader = way.reader()
        return self._reader


def decode_item_key(aes_key: str) -> bytes | None:
    """Decode a key that came with a media item: base64 with or without its padding, or hex; None when it is neither.

    UNDOCUMENTED for callbacks: the long connection sends one for each resource (101463), and peers have met all
    three forms.
    """
    if _HEX_KEY.fullmatch(aes_key):
        return bytes.fromhex(aes_key)
    try:
        key = base64.b64decode(aes_key.rstrip("=") + "=", validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == limits.AES_KEY_BYTES else None


def file_name(content_disposition: str) -> str:
    """Take the file's name from a Content-Disposition header, without folders or control characters; may be empty.

    UNDOCUMENTED: the JSON of a callback holds no name, WeCom's storage sends it in this header.
    """
    header = _one_line(content_disposition)
    name = ""
    if extended := _EXTENDED_NAME.search(header):
        name = _unquoted(extended[2], extended[1])
    elif plain := _PLAIN_NAME.search(header):
        name = re.sub(r'\\(["\\])', r"\1", plain[1] or plain[2] or "")
    name = posixpath.basename(_one_line(name).replace("\\", "/")).strip(". ")
    return name[:_NAME_CHARACTERS]


def _unquoted(value: str, charset: str) -> str:
    try:
        return unquote(value, charset)
    except (LookupError, ValueError):
        return unquote(value)


def _one_line(text: str) -> str:
    printable = text.encode("utf-8", "replace").decode()
    return "".join(character for character in printable if unicodedata.category(character)[0] != "C")
