"""Decryption, type detection and names of media items. WeCom stores them encrypted with the bot's AES key, unframed."""

import base64
import binascii
import codecs
import contextlib
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
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
# RFC 6266, also without a disposition type. A value in quotes may contain semicolons; other values end at one. The
# standard library's email package fails on malformed headers.
_PARAMETER = re.compile(r'(?:^|;)\s*(?P<name>[\w*]+)\s*=\s*(?P<value>"(?:[^"\\]|\\.)*"(?=\s*(?:;|$))|[^;]*)')
# The standard library decodes RFC 2047 in quadratic time.
_MAX_ENCODED_CHARACTERS = 1_024

# The types that `filetype` does not know, by their first bytes: JPEG XL and JPEG 2000, each as a file and as a stream.
_SIGNATURES = {
    b"\x00\x00\x00\x0cJXL \r\n\x87\n": "image/jxl",
    b"\xff\x0a": "image/jxl",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n": "image/jp2",
    b"\xff\x4f\xff\x51": "image/j2c",
}
_MARKUP_TYPES = frozenset({"image/svg+xml", "text/html", "application/xml"})
_MARKUP_BYTES = 1_024
_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)


def media_type(content: bytes) -> str | None:
    """Return the MIME type detected from the first bytes of a file, such as `image/png`, or None if it is unknown."""
    mime = filetype.guess_mime(content)
    if mime is None:
        known = (type_ for signature, type_ in _SIGNATURES.items() if content.startswith(signature))
        return next(known, None) or _markup_type(content)
    # An animated PNG is a valid PNG.
    return "image/png" if mime == "image/apng" else mime


def _markup_type(content: bytes) -> str | None:
    head = content[:_MARKUP_BYTES].removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "text/html"
    if head.startswith((b"<svg", b"<!doctype svg")) or (head.startswith((b"<?xml", b"<!--")) and b"<svg" in head):
        return "image/svg+xml"
    return "application/xml" if head.startswith(b"<?xml") else None


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
    as they are. If the first bytes leave several candidates, as for a file of unknown type during a key rotation, the
    bytes are buffered until the padding at the end decides. Plain HTML or XML is a page of the storage and no item.

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
            MediaUnavailable: no key opens the item; the reason is `undecipherable`, or for a page in place of an image
                `not_an_image`.
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
        raise self._undecipherable()

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
        if plain_type in _MARKUP_TYPES:
            return []
        if plain_type is not None:
            known.append(_Candidate(None, plain_type))
        # An image has a known type. One without a type is opened nevertheless, so that it is not taken for a wrong key.
        return known or unknown if self._kind == "image" else known + unknown

    def _undecipherable(self) -> MediaUnavailable:
        if self._reader is None and not self._buffer:
            return MediaUnavailable("the media storage sent nothing", reason="undecipherable")
        type_ = _markup_type(bytes(self._buffer[:_MARKUP_BYTES])) if self._reader is None else None
        if type_ is None:
            return MediaUnavailable(reason="undecipherable")
        return MediaUnavailable(
            f"the media storage sent a page ({type_}) that is not encrypted, in place of the item",
            reason="not_an_image" if self._kind == "image" else "undecipherable",
            media_type=type_,
        )

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

    UNDOCUMENTED: the JSON of a callback holds no file name; WeCom's storage sends it in this header. WeCom's SDKs
    percent-decode `filename` too. RFC 2047 and the bytes of GB 18030 are decoded because other servers send them.
    """
    values: dict[str, str] = {}
    for parameter in _PARAMETER.finditer(_one_line(_decoded(content_disposition))):
        values.setdefault(parameter["name"].lower(), parameter["value"].strip())
    plain = values.get("filename", "")
    match values.get("filename*", "").strip('"').split("'", 2):
        case [charset, _, encoded]:
            name = _percent_decoded(encoded, charset) or _plain_name(plain)
        case [encoded, *_]:
            name = _plain_name(plain) or _percent_decoded(encoded, "utf-8")
    name = posixpath.basename(_one_line(name).replace("\\", "/")).strip(". ")
    return name[:_MAX_NAME_CHARACTERS]


def _decoded(header: str) -> str:
    """Decode a header whose bytes are not UTF-8. aiohttp has made lone surrogates of those bytes."""
    try:
        header.encode()
    except UnicodeEncodeError:
        with contextlib.suppress(ValueError):
            return header.encode("utf-8", "surrogateescape").decode("gb18030")
    return header


def _plain_name(value: str) -> str:
    name = _unquoted(value)
    if "=?" in name and len(name) <= _MAX_ENCODED_CHARACTERS:
        with contextlib.suppress(ValueError, LookupError, HeaderParseError):
            name = str(make_header(decode_header(name)))
    try:
        return unquote(name, errors="strict")
    except ValueError:
        return name


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r'\\(["\\])', r"\1", value[1:-1])
    return value.strip("\"'")


def _percent_decoded(value: str, charset: str) -> str:
    try:
        return unquote(value, charset)
    except (LookupError, ValueError):
        return unquote(value)


def _one_line(text: str) -> str:
    printable = text.encode("utf-8", "replace").decode()
    return "".join(character for character in printable if unicodedata.category(character)[0] != "C")
