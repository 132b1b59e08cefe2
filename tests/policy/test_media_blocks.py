"""Content blocks made of decrypted media items."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maven_channel_wecom.contract.messages import ContentBlock, FileBlock, ImageBlock
from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.policy.media_blocks import BlockData, media_block, unavailable_block
from maven_channel_wecom.protocol.callback import MediaItem
from maven_channel_wecom.protocol.media import media_type

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
IMAGE = MediaItem(kind="image", url="https://x/")
FILE = MediaItem(kind="file", url="https://x/")


def block(item: MediaItem, content: bytes, name: str) -> ContentBlock:
    data = BlockData()
    data.add(content)
    return media_block(item, data, media_type(content), name)


@pytest.mark.parametrize(
    ("content", "type_"),
    [
        pytest.param(PNG, "image/png", id="png"),
        pytest.param(b"\xff\xd8\xff\xe0" + bytes(40), "image/jpeg", id="jpeg"),
        pytest.param(b"GIF89a" + bytes(20), "image/gif", id="gif"),
        pytest.param(b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(20), "image/webp", id="webp"),
    ],
)
def test_an_image_becomes_a_block_with_the_type_of_its_bytes(content: bytes, type_: str) -> None:
    """The type is not taken from the file name."""
    image = block(IMAGE, content, "photo.bmp")
    assert image == ImageBlock(media_type=type_, data=base64.b64encode(content).decode())


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"%PDF-1.7", id="pdf"),
        pytest.param(b"BM" + bytes(30), id="bitmap"),
        pytest.param(b"<svg/>", id="svg"),
        pytest.param(b"", id="empty"),
        pytest.param(b"MZ" + bytes(30), id="program"),
    ],
)
def test_an_image_of_an_unsupported_type_is_unavailable(content: bytes) -> None:
    """The error names the type that was recognized."""
    with pytest.raises(MediaUnavailable) as raised:
        block(IMAGE, content, "")
    assert raised.value.reason == "not_an_image"
    assert raised.value.media_type == (media_type(content) or "")
    assert (media_type(content) or "its type is unknown") in str(raised.value)
    assert unavailable_block(IMAGE, "not_an_image", raised.value.media_type).media_type == raised.value.media_type


def test_a_file_becomes_a_block_with_its_name_type_and_content() -> None:
    pdf = block(FILE, b"%PDF-1.7", "a.pdf")
    assert isinstance(pdf, FileBlock)
    assert (pdf.name, pdf.media_type) == ("a.pdf", "application/pdf")
    assert base64.b64decode(pdf.data) == b"%PDF-1.7"


ZIP = b"PK\x03\x04" + bytes(60)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
OFFICE = "application/vnd.openxmlformats-officedocument."


@pytest.mark.parametrize(
    ("name", "content", "type_"),
    [
        ("notes.md", b"# Notes", "text/markdown"),
        ("t.csv", b"\xef\xbb\xbfa,b", "text/csv"),
        ("T.CSV", "季,度".encode("gbk"), "text/csv"),
        ("a.json", b"{}", "application/json"),
        ("a.txt", b"text", "text/plain"),
        ("app.log", b"line", "text/plain"),
        ("a.py", b"import os", "text/x-python"),
        ("a.yaml", b"a: 1", "application/yaml"),
        ("a.html", b"<p>", "text/html"),
        ("a.html", b"<!DOCTYPE html><p>", "text/html"),
        ("a.php", b"<!DOCTYPE html><?php", "text/x-php"),
        ("picture.svg", b"<?xml version='1.0'?><svg/>", "image/svg+xml"),
        ("a.xml", b"<?xml version='1.0'?><a/>", "application/xml"),
        ("a.ts", b"let x", "application/typescript"),
        ("a.docx", ZIP, OFFICE + "wordprocessingml.document"),
        ("a.xlsx", ZIP, OFFICE + "spreadsheetml.sheet"),
        ("a.odt", ZIP, "application/vnd.oasis.opendocument.text"),
        ("a.xlsm", ZIP, "application/vnd.ms-excel.sheet.macroEnabled.12"),
        ("a.xls", OLE, "application/vnd.ms-excel"),
        ("a.zip", ZIP, "application/zip"),
        ("a.csv", ZIP, "application/zip"),
        ("a.docx", b"%PDF-1.7", "application/pdf"),
        ("a.png", b"no picture", "application/octet-stream"),
        ("md", b"a name without extension", "application/octet-stream"),
        ("", b"a,b", "application/octet-stream"),
        ("a.", b"a,b", "application/octet-stream"),
        ("a.klingon", b"a,b", "application/octet-stream"),
    ],
)
def test_the_name_of_a_file_decides_its_type_where_the_bytes_do_not(name: str, content: bytes, type_: str) -> None:
    """Bytes that say only that they are an archive or XML do not contradict the name of what these contain."""
    made = block(FILE, content, name)
    assert isinstance(made, FileBlock)
    assert made.media_type == type_


def test_an_item_over_ten_mebibytes_is_unavailable() -> None:
    """The limit is on the decrypted bytes."""
    ten_mebibytes = 10 * 2**20
    assert isinstance(block(FILE, bytes(ten_mebibytes), ""), FileBlock)
    with pytest.raises(MediaUnavailable) as raised:
        block(FILE, bytes(ten_mebibytes + 1), "")
    assert raised.value.reason == "too_large"


@given(st.lists(st.tuples(st.binary(max_size=200), st.sampled_from([1, 2, 1_000, 5_000])), max_size=20))
def test_data_is_the_base64_of_all_added_parts(parts: list[tuple[bytes, int]]) -> None:
    data = BlockData()
    contents = [part * times for part, times in parts]
    for content in contents:
        data.add(content)
    whole = b"".join(contents)
    assert (data.finish(), data.size_bytes) == (base64.b64encode(whole).decode(), len(whole))


@pytest.mark.parametrize("part_bytes", [1_000_001, 300_000, 262_144, 65_537])
def test_a_large_item_in_parts_of_any_size_is_encoded_like_the_whole(part_bytes: int) -> None:
    content = bytes(range(256)) * 3_907
    data = BlockData()
    for start in range(0, len(content), part_bytes):
        data.add(content[start : start + part_bytes])
    assert data.size_bytes == len(content)
    assert data.finish() == base64.b64encode(content).decode()
