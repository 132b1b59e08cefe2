"""The content block made of a media item: its size limit, its type, and its base64 data."""

import posixpath
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

# By the extension of the name. The standard library's table differs between Python versions and machines, and lacks
# most of these.
_TEXTS = {
    "c": "text/x-c",
    "cpp": "text/x-c++",
    "cs": "text/x-csharp",
    "css": "text/css",
    "csv": "text/csv",
    "eml": "message/rfc822",
    "go": "text/x-golang",
    "h": "text/x-c",
    "htm": "text/html",
    "html": "text/html",
    "ics": "text/calendar",
    "java": "text/x-java",
    "js": "text/javascript",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "md": "text/markdown",
    "php": "text/x-php",
    "py": "text/x-python",
    "rb": "text/x-ruby",
    "rs": "text/x-rust",
    "sh": "application/x-sh",
    "svg": "image/svg+xml",
    "tex": "text/x-tex",
    "ts": "application/typescript",
    "tsv": "text/tab-separated-values",
    "vcf": "text/vcard",
    "xml": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    **dict.fromkeys(("bat", "cfg", "conf", "ini", "log", "properties", "sql", "toml", "txt"), "text/plain"),
}
# The first group are zip archives; one that is encrypted begins like the second, which are OLE files.
_DOCUMENTS = {
    "apk": "application/vnd.android.package-archive",
    "docm": "application/vnd.ms-word.document.macroEnabled.12",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "epub": "application/epub+zip",
    "jar": "application/java-archive",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odt": "application/vnd.oasis.opendocument.text",
    "pptm": "application/vnd.ms-powerpoint.presentation.macroEnabled.12",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "xlsm": "application/vnd.ms-excel.sheet.macroEnabled.12",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "doc": "application/msword",
    "msg": "application/vnd.ms-outlook",
    "ppt": "application/vnd.ms-powerpoint",
    "xls": "application/vnd.ms-excel",
}
_CONTAINED = {"application/zip": _DOCUMENTS, "application/xml": _TEXTS, "text/html": _TEXTS}


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
            message = (
                f"it was decrypted, but its type is {media_type or 'unknown'}; models take JPEG, PNG, GIF and WebP"
            )
            raise MediaUnavailable(message, reason="not_an_image", media_type=media_type or "")
        return ImageBlock(media_type=media_type, data=data.finish())
    return FileBlock(media_type=_file_type(media_type, name), name=name, data=data.finish())


def unavailable_block(item: MediaItem, reason: str, media_type: str = "") -> UnavailableBlock:
    """Return the block that reports a media item as unavailable."""
    return UnavailableBlock(kind=item.kind, reason=reason, media_type=media_type)


def _file_type(media_type: str | None, name: str) -> str:
    """Return the type of a file. Its name decides where its bytes tell nothing, or only what contains the content."""
    extension = posixpath.splitext(name)[1].removeprefix(".").lower()
    if media_type is None:
        return _TEXTS.get(extension) or _DOCUMENTS.get(extension) or _UNKNOWN_FILE_TYPE
    return _CONTAINED.get(media_type, {}).get(extension, media_type)
