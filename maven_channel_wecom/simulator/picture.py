"""Draws a small PNG to send as a picture."""

import struct
import zlib
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_EIGHT_BIT_RGB: Final = bytes((8, 2, 0, 0, 0))


def draw_png(width: int, height: int) -> bytes:
    """Return a PNG of a color gradient, at most 256 pixels wide and high."""
    # Each row of a PNG begins with its filter type; 0 is none.
    rows = b"".join(b"\0" + b"".join(bytes((x, y, 128)) for x in range(width)) for y in range(height))
    head = struct.pack(">II", width, height) + _EIGHT_BIT_RGB
    return _SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
