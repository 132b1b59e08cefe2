"""The sample picture."""

from __future__ import annotations

import struct
import zlib

from maven_channel_wecom.playground.form import picture_type
from maven_channel_wecom.playground.sample_picture import sample_picture


def test_it_is_a_complete_png() -> None:
    content = sample_picture()
    width, height = struct.unpack_from(">II", content, 16)
    assert picture_type(content) == "image/png"
    size = struct.unpack_from(">I", content, 33)[0]
    assert len(zlib.decompress(content[41 : 41 + size])) == height * (1 + width * 3)
    assert content.endswith(b"IEND" + struct.pack(">I", zlib.crc32(b"IEND")))
