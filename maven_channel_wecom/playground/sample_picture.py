"""Draws the sample picture of the playground: hills in the morning, a PNG."""

from __future__ import annotations

import math
import struct
import zlib
from functools import cache
from typing import Final

_WIDTH: Final = 320
_HEIGHT: Final = 200
_SUN: Final = (232, 62, 24)
_SKY: Final = ((86, 134, 205), (255, 214, 170))
_SUNLIGHT: Final = (255, 244, 214)
# From far to near: the height in pixels, how much and how often it changes, and the color.
_HILLS: Final = (
    (112, 16, 0.021, (132, 158, 190)),
    (136, 20, 0.015, (84, 122, 148)),
    (164, 14, 0.024, (44, 86, 96)),
)

_Color = tuple[int, int, int]


@cache
def sample_picture() -> bytes:
    """Return the picture."""
    rows = b"".join(b"\0" + b"".join(bytes(_color(x, y)) for x in range(_WIDTH)) for y in range(_HEIGHT))
    # 8 bits for each of red, green and blue. Each row begins with its filter type; 0 is none.
    head = struct.pack(">II", _WIDTH, _HEIGHT) + bytes((8, 2, 0, 0, 0))
    chunks = (_chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(rows, 9)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _color(x: int, y: int) -> _Color:
    for top, size, change, color in reversed(_HILLS):
        if y > top - size * (math.sin(x * change + top) + 0.4 * math.sin(x * change * 2.7)):
            return color
    sky = _mix(*_SKY, y / _HEIGHT * 1.5)
    center_x, center_y, radius = _SUN
    distance = math.hypot(x - center_x, y - center_y)
    return _mix(_SUNLIGHT, sky, (distance - radius) / (radius * 0.9) if distance > radius else 0.0)


def _mix(one: _Color, other: _Color, part: float) -> _Color:
    part = min(part, 1.0)
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
