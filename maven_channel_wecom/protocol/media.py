"""Media as WeCom stores it: the file's bytes, encrypted with the bot's own AES key and without any frame."""

import base64
import binascii
import posixpath
import re
import unicodedata
from collections.abc import Iterable
from email.message import EmailMessage
from typing import Final

import filetype

from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.protocol import cipher, limits
from maven_channel_wecom.protocol.callback import MediaKind

IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""The image types every multimodal model takes."""

_NAME_CHARACTERS = 255
# RFC 6266 prefers filename* when both are there; the standard library takes whichever comes first.
_PLAIN_NAME = re.compile(r';\s*filename\s*=\s*("[^"]*"|[^;]*)', re.IGNORECASE)
_EXTENDED_NAME = re.compile(r";\s*filename\*\s*=", re.IGNORECASE)
_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)


def media_type(content: bytes) -> str | None:
    """Tell the type of a file by its first bytes, such as `image/png`; None when they say nothing."""
    mime = filetype.guess_mime(content)
    # An animated PNG is a PNG to everyone who does not ask.
    return "image/png" if mime == "image/apng" else mime


def open_media(content: bytes, keys: Iterable[bytes], kind: MediaKind) -> bytes:
    """Decrypt what was downloaded.

    The padding alone lets one wrong key in 256 pass, so a result whose first bytes are known wins over one whose
    bytes are not, and plain bytes with a known beginning are taken as they are. An image must be one.

    Raises:
        MediaUnavailable: nothing opens it, with reason `undecipherable`.
    """
    # https://developer.work.weixin.qq.com/document/path/100719
    unrecognized = None
    for key in keys:
        try:
            opened = cipher.decrypt(key, content)
        except ValueError:
            continue
        if media_type(opened) is not None:
            return opened
        unrecognized = opened if unrecognized is None else unrecognized
    if media_type(content) is not None:
        return content
    if unrecognized is not None and kind != "image":
        return unrecognized
    raise MediaUnavailable(reason="undecipherable")


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
    if not content_disposition:
        return ""
    header = _one_line(content_disposition)
    if _EXTENDED_NAME.search(header):
        header = _PLAIN_NAME.sub("", header)
    message = EmailMessage()
    try:
        message["Content-Disposition"] = header
        name = message.get_filename() or ""
    except (ValueError, LookupError, RecursionError):
        return ""
    name = posixpath.basename(_one_line(name).replace("\\", "/")).strip(". ")
    return name[:_NAME_CHARACTERS]


def _one_line(text: str) -> str:
    printable = text.encode("utf-8", "replace").decode()
    return "".join(character for character in printable if unicodedata.category(character)[0] != "C")
