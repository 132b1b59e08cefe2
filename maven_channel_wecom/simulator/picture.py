"""Draws a small PNG to send as a picture."""

import struct
import zlib
from collections.abc import Callable
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_EIGHT_BIT_RGB: Final = bytes((8, 2, 0, 0, 0))

Color = tuple[int, int, int]
"""Red, green and blue, each from 0 to 255."""


def gradient(x: int, y: int) -> Color:
    """Return a color that differs from pixel to pixel."""
    return x % 256, y % 256, 128


def draw_png(width: int, height: int, color: Callable[[int, int], Color] = gradient) -> bytes:
    """Return a PNG with the color of each pixel, by its distance from the left and from the top."""
    # Each row of a PNG begins with its filter type; 0 is none.
    rows = b"".join(b"\0" + b"".join(bytes(color(x, y)) for x in range(width)) for y in range(height))
    head = struct.pack(">II", width, height) + _EIGHT_BIT_RGB
    return _SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
