"""Decryption, type detection and names of media items. WeCom stores them encrypted with the bot's AES key, unframed."""

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
"""The image types that every multimodal model accepts."""

# `filetype` reads 8,192 bytes, and the last block received so far may be padding.
_DETECTION_BYTES = 8_192 + limits.PADDING_BLOCK_BYTES
_CHUNK_BYTES = 64 * 1024
_MAX_NAME_CHARACTERS = 255
# RFC 6266. The standard library's email package fails on malformed headers and is slow on long ones.
_EXTENDED_NAME = re.compile(r";\s*filename\*\s*=\s*([^';]*)'[^';]*'([^;\s]*)", re.IGNORECASE)
_PLAIN_NAME = re.compile(r';\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]*))', re.IGNORECASE)
_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)


def media_type(content: bytes) -> str | None:
    """Return the MIME type detected from the first bytes of a file, such as `image/png`, or None if it is unknown."""
    mime = filetype.guess_mime(content)
    # An animated PNG is a valid PNG.
    return "image/png" if mime == "image/apng" else mime


class _PlainReader:
    """Reader of unencrypted bytes, with the interface of `cipher.Decryption`."""

    def update(self, content: bytes) -> bytes:
        return content

    def finalize(self) -> bytes:
        return b""


@dataclass(frozen=True, slots=True, repr=False)
class _Candidate:
    """One possible reading of an item: its key, or None for plain bytes, and the type detected under that key."""

    key: bytes | None
    media_type: str | None

    def reader(self) -> cipher.Decryption | _PlainReader:
        return _PlainReader() if self.key is None else cipher.Decryption(self.key)

    def fits(self, content: bytearray) -> bool:
        """Return whether the whole item can be read with this key. Only the padding at its end can be wrong."""
        if self.key is None:
            return True
        try:
            # In CBC a decrypted block depends only on its own ciphertext and that of the previous block.
            cipher.decrypt(self.key, bytes(content[-2 * limits.PADDING_BLOCK_BYTES :]))
        except ValueError:
            return False
        return len(content) % limits.PADDING_BLOCK_BYTES == 0


def _read(reader: cipher.Decryption | _PlainReader, content: bytearray) -> Iterator[bytes]:
    for start in range(0, len(content), _CHUNK_BYTES):
        yield reader.update(bytes(content[start : start + _CHUNK_BYTES]))
    yield reader.finalize()


class MediaDecryptor:
    """Incremental decryption of one media item: call `update` with each part of its bytes, then `finalize`.

    The right key is unknown, and one wrong key in 256 passes the padding check. So a key whose plaintext begins like a
    known file type wins over one whose plaintext does not, and plain bytes that begin like a known type are returned
    as they are. An item of kind `image` must have a known type. If the first bytes leave several candidates, as for a
    file of unknown type during a key rotation, the bytes are buffered until the padding at the end decides.

    Args:
        keys: the possible AES keys, the most likely first.
        kind: the kind of item according to its callback.
    """

    def __init__(self, keys: Iterable[bytes], kind: MediaKind) -> None:
        self._keys = tuple(dict.fromkeys(keys))
        self._kind = kind
        self._buffer = bytearray()
        self._candidates: list[_Candidate] | None = None
        self._reader: cipher.Decryption | _PlainReader | None = None
        self.media_type: str | None = None
        """The type detected by the function `media_type`. It is final once the iterator of `finalize` has ended."""

    def update(self, content: bytes) -> bytes:
        """Add the next bytes and return the plaintext available so far."""
        if self._reader is not None:
            return self._reader.update(content)
        self._buffer += content
        if self._candidates is None and len(self._buffer) >= _DETECTION_BYTES:
            self._candidates = self._find_candidates(is_complete=False)
            if len(self._candidates) == 1:
                buffered, self._buffer = bytes(self._buffer), bytearray()
                return self._start(self._candidates[0]).update(buffered)
        return b""

    def finalize(self) -> Iterator[bytes]:
        """Yield the rest of the plaintext in chunks.

        Raises:
            MediaUnavailable: no key opens the item; the reason is `undecipherable`.
        """
        reader = self._reader
        if reader is None:
            candidates = self._find_candidates(is_complete=True) if self._candidates is None else self._candidates
            reader = next((self._start(candidate) for candidate in candidates if candidate.fits(self._buffer)), None)
        try:
            if reader is not None:
                yield from _read(reader, self._buffer)
                return
        except ValueError:
            pass
        raise MediaUnavailable(reason="undecipherable")

    # https://developer.work.weixin.qq.com/document/path/100719
    def _find_candidates(self, *, is_complete: bool) -> list[_Candidate]:
        """Return the possible readings of the buffer, the most likely first; `is_complete`: it holds the whole item."""
        known: list[_Candidate] = []
        unknown: list[_Candidate] = []
        buffered = bytes(self._buffer)
        for key in self._keys:
            decryption = cipher.Decryption(key)
            try:
                plaintext = decryption.update(buffered) + (decryption.finalize() if is_complete else b"")
            except ValueError:
                continue
            type_ = media_type(plaintext)
            (unknown if type_ is None else known).append(_Candidate(key, type_))
        plain_type = media_type(buffered)
        if plain_type is not None:
            known.append(_Candidate(None, plain_type))
        return known if self._kind == "image" else known + unknown

    def _start(self, candidate: _Candidate) -> cipher.Decryption | _PlainReader:
        self.media_type = candidate.media_type
        self._reader = candidate.reader()
        return self._reader


def decode_item_key(aes_key: str) -> bytes | None:
    """Decode the AES key sent with a media item: base64 with or without padding, or hex. Return None if it is neither.

    UNDOCUMENTED for callbacks: the long connection sends one key per resource (101463), and other implementations have
    received all three forms.
    """
    if _HEX_KEY.fullmatch(aes_key):
        return bytes.fromhex(aes_key)
    try:
        key = base64.b64decode(aes_key.rstrip("=") + "=", validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == limits.AES_KEY_BYTES else None


def file_name(content_disposition: str) -> str:
    """Return the file name from a Content-Disposition header, without folders and control characters; may be empty.

    UNDOCUMENTED: the JSON of a callback holds no file name; WeCom's storage sends it in this header.
    """
    header = _one_line(content_disposition)
    name = ""
    if extended := _EXTENDED_NAME.search(header):
        name = _percent_decoded(extended[2], extended[1])
    elif plain := _PLAIN_NAME.search(header):
        name = re.sub(r'\\(["\\])', r"\1", plain[1] or plain[2] or "")
    name = posixpath.basename(_one_line(name).replace("\\", "/")).strip(". ")
    return name[:_MAX_NAME_CHARACTERS]


def _percent_decoded(value: str, charset: str) -> str:
    try:
        return unquote(value, charset)
    except (LookupError, ValueError):
        return unquote(value)


def _one_line(text: str) -> str:
    printable = text.encode("utf-8", "replace").decode()
    return "".join(character for character in printable if unicodedata.category(character)[0] != "C")
