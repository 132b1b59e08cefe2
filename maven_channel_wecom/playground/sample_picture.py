"""Draws the sample picture of the playground: hills in the morning, a PNG."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.simulator.picture import draw_png

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.picture import Color

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


@cache
def sample_picture() -> bytes:
    """Return the picture."""
    return draw_png(_WIDTH, _HEIGHT, _color)


def _color(x: int, y: int) -> Color:
    for top, size, change, color in reversed(_HILLS):
        if y > top - size * (math.sin(x * change + top) + 0.4 * math.sin(x * change * 2.7)):
            return color
    sky = _mix(*_SKY, y / _HEIGHT * 1.5)
    center_x, center_y, radius = _SUN
    distance = math.hypot(x - center_x, y - center_y)
    return _mix(_SUNLIGHT, sky, (distance - radius) / (radius * 0.9) if distance > radius else 0.0)


def _mix(one: Color, other: Color, part: float) -> Color:
    part = min(part, 1.0)
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue
