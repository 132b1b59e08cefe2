"""The picture that the simulator draws."""

from __future__ import annotations

import struct
import zlib

import filetype
import pytest

from maven_channel_wecom.simulator.picture import draw_png


@pytest.mark.parametrize(("width", "height"), [(1, 1), (8, 3), (256, 256)])
def test_the_picture_is_a_png_of_the_given_size(width: int, height: int) -> None:
    picture = draw_png(width, height)
    assert filetype.guess_mime(picture) == "image/png"
    assert struct.unpack(">II", picture[16:24]) == (width, height)


def test_every_chunk_has_a_valid_checksum_and_every_pixel_its_color() -> None:
    picture = draw_png(8, 3, lambda x, y: (x, y, 255))
    chunks, at = {}, 8
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        chunk, checksum = picture[at + 4 : at + 8 + length], picture[at + 8 + length : at + 12 + length]
        assert struct.pack(">I", zlib.crc32(chunk)) == checksum
        chunks[chunk[:4]] = chunk[4:]
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    rows = b"".join(bytes((0, *(each for x in range(8) for each in (x, y, 255)))) for y in range(3))
    assert zlib.decompress(chunks[b"IDAT"]) == rows
