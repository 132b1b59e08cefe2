"""The sample picture."""

from __future__ import annotations

import struct

from maven_channel_wecom.playground.form import picture_type
from maven_channel_wecom.playground.sample_picture import sample_picture


def test_it_is_a_png_of_the_size_of_a_phone_screen_at_most() -> None:
    assert picture_type(sample_picture()) == "image/png"
    width, height = struct.unpack_from(">II", sample_picture(), 16)
    assert 0 < height < width <= 320
