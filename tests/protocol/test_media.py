"""Decryption, type detection and names of media items."""

import base64
import contextlib

import pytest

from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.protocol import cipher, media
from maven_channel_wecom.protocol.callback import MediaKind
from tests.fakes.decrypted import decrypted

KEY, OTHER_KEY = bytes(range(32)), bytes(range(32, 64))
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
TEXT = b"id,name\n1,alice\n"


def wrong_key_with_valid_padding(ciphertext: bytes) -> bytes:
    """Return a wrong key under which the padding of a ciphertext is valid, as it is for one key in 256."""
    for number in range(10_000):
        key = number.to_bytes(32, "big")
        with contextlib.suppress(ValueError):
            if media.media_type(cipher.decrypt(key, ciphertext)) is None:
                return key
    pytest.fail("no wrong key with valid padding")


@pytest.mark.parametrize(
    ("content", "type_"),
    [
        pytest.param(PNG, "image/png", id="png"),
        pytest.param(
            b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(17) + b"\x00\x00\x00\x08acTL" + bytes(12),
            "image/png",
            id="apng",
        ),
        pytest.param(JPEG, "image/jpeg", id="jpeg"),
        pytest.param(b"GIF89a" + bytes(20), "image/gif", id="gif"),
        pytest.param(b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(20), "image/webp", id="webp"),
        pytest.param(b"%PDF-1.7" + bytes(20), "application/pdf", id="pdf"),
        pytest.param(TEXT, None, id="text"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"<svg onload='x'/>", "image/svg+xml", id="svg"),
        pytest.param(b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- x -->\n<SVG>', "image/svg+xml", id="svg-after-xml"),
        pytest.param(b"\n<!DOCTYPE HTML><title>", "text/html", id="html"),
        pytest.param(b"<?xml version='1.0'?><Error/>", "application/xml", id="xml"),
        pytest.param(b"<p>", None, id="a-tag"),
        pytest.param(b"\xff\x0a" + bytes(20), "image/jxl", id="jpeg-xl-stream"),
        pytest.param(b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(20), "image/jxl", id="jpeg-xl"),
        pytest.param(b"\x00\x00\x00\x0cjP  \r\n\x87\n\x00\x00\x00\x14ftypjp2 ", "image/jp2", id="jpeg-2000"),
        pytest.param(b"\xff\x4f\xff\x51" + bytes(20), "image/j2c", id="jpeg-2000-stream"),
        pytest.param(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "image/heic", id="heic"),
        pytest.param(b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1" + bytes(9), "image/avif", id="avif"),
        pytest.param(b"BM" + bytes(30), "image/bmp", id="bmp"),
        pytest.param(b"II*\x00" + bytes(20), "image/tiff", id="tiff"),
    ],
)
def test_a_type_is_detected_from_the_bytes(content: bytes, type_: str | None) -> None:
    assert media.media_type(content) == type_


@pytest.mark.parametrize("keys", [(KEY,), (OTHER_KEY, KEY)], ids=["one-key", "second-key"])
@pytest.mark.parametrize("content", [PNG, JPEG], ids=["png", "jpeg"])
def test_an_encrypted_image_opens_with_one_of_the_keys(content: bytes, keys: tuple[bytes, ...]) -> None:
    assert decrypted(cipher.encrypt(KEY, content), keys, "image") == content


def test_a_plain_image_of_any_length_is_returned_unchanged() -> None:
    """Some storage serves images unencrypted."""
    for length in range(40, 73):
        plain = PNG[:8] + bytes(length)
        assert decrypted(plain, [KEY], "image") == plain


@pytest.mark.parametrize("content", [TEXT, TEXT * 2_000], ids=["short", "long"])
def test_an_encrypted_file_of_unknown_type_opens(content: bytes) -> None:
    """Only the padding tells which key is right."""
    assert decrypted(cipher.encrypt(KEY, content), [OTHER_KEY, KEY], "file") == content


@pytest.mark.parametrize("kind", ["image", "file"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(cipher.encrypt(OTHER_KEY, PNG), id="another-key"),
        pytest.param(bytes(range(48)), id="noise"),
        pytest.param(cipher.encrypt(KEY, PNG)[:-5], id="cut-short"),
    ],
)
def test_an_item_that_does_not_open_is_unavailable(content: bytes, kind: str) -> None:
    with pytest.raises(MediaUnavailable) as raised:
        decrypted(content, [KEY], "image" if kind == "image" else "file")
    assert raised.value.reason == "undecipherable"
    assert str(raised.value) == ("undecipherable" if content else "the media storage sent nothing")


@pytest.mark.parametrize(("kind", "reason"), [("image", "not_an_image"), ("file", "undecipherable")])
@pytest.mark.parametrize(
    ("page", "type_"),
    [
        (b"<html>expired</html>", "text/html"),
        (b"<!doctype html>" + b"x" * 17, "text/html"),
        (b"<!doctype html>" + b"x" * 20_000, "text/html"),
        (b"<?xml version='1.0'?><Error/>", "application/xml"),
    ],
    ids=["html", "html-of-32-bytes", "long-html", "xml"],
)
def test_a_page_of_the_storage_is_told_from_an_item_with_another_key(
    page: bytes, type_: str, kind: MediaKind, reason: str
) -> None:
    with pytest.raises(MediaUnavailable, match="not encrypted") as raised:
        decrypted(page, [KEY], kind)
    assert (raised.value.reason, raised.value.media_type) == (reason, type_)


@pytest.mark.parametrize("content", [b"not a picture at all", b"\xff\x0a" + bytes(20_000), b"<svg/>"])
def test_an_encrypted_image_of_an_unknown_or_unsupported_type_opens(content: bytes) -> None:
    """The key is right, so the type is what to report."""
    assert decrypted(cipher.encrypt(KEY, content), [OTHER_KEY, KEY], "image") == content


def test_an_image_that_begins_like_one_wins_over_one_of_unknown_type() -> None:
    """One wrong key in 256 passes the padding check."""
    encrypted = cipher.encrypt(KEY, PNG)
    assert decrypted(encrypted, [wrong_key_with_valid_padding(encrypted), KEY], "image") == PNG


@pytest.mark.parametrize("content", [PNG, PNG + bytes(20_000)], ids=["short", "long"])
def test_known_first_bytes_win_over_a_wrong_key_with_valid_padding(content: bytes) -> None:
    """The order of the keys does not matter."""
    encrypted = cipher.encrypt(KEY, content)
    wrong_key = wrong_key_with_valid_padding(encrypted)
    assert decrypted(encrypted, [wrong_key, KEY], "file") == content
    assert decrypted(encrypted, [KEY, wrong_key], "file") == content


@pytest.mark.parametrize("content", [TEXT, TEXT * 2_000], ids=["short", "long"])
def test_of_two_keys_with_valid_padding_the_first_opens_a_file_of_unknown_type(content: bytes) -> None:
    """The current key comes first, and most files were encrypted with it."""
    encrypted = cipher.encrypt(KEY, content)
    assert decrypted(encrypted, [KEY, wrong_key_with_valid_padding(encrypted)], "file") == content


def test_a_long_item_is_decrypted_as_it_arrives() -> None:
    decryptor = media.MediaDecryptor([KEY], "image")
    assert decryptor.media_type is None
    encrypted = cipher.encrypt(KEY, PNG + bytes(20_000))
    assert len(decryptor.update(encrypted[:8_223])) == 0
    assert len(decryptor.update(encrypted[8_223:-1])) >= 20_000
    with pytest.raises(MediaUnavailable):
        list(decryptor.finalize())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(base64.b64encode(KEY).decode(), id="base64"),
        pytest.param(base64.b64encode(KEY).decode().rstrip("="), id="base64-without-padding"),
        pytest.param(KEY.hex(), id="hex"),
        pytest.param(KEY.hex().upper(), id="hex-capitals"),
    ],
)
def test_the_key_of_an_item_may_have_three_forms(text: str) -> None:
    assert media.decode_item_key(text) == KEY


def test_unused_bits_at_the_end_of_a_key_are_ignored() -> None:
    """WeCom's own keys have them: 43 base64 characters hold two bits more than 32 bytes."""
    assert media.decode_item_key("A" * 42 + "X") == media.decode_item_key("A" * 42 + "U") == bytes(31) + b"\x05"


@pytest.mark.parametrize("text", ["", "?", "abc", "00" * 31, "é" * 43, "a" * 44, "A" * 20 + "\n" + "A" * 23])
def test_an_invalid_key_of_an_item_is_ignored(text: str) -> None:
    """The bot's own key may still open the item."""
    assert media.decode_item_key(text) is None


@pytest.mark.parametrize(
    ("header", "name"),
    [
        pytest.param("", "", id="none"),
        pytest.param('attachment; filename="report.pdf"', "report.pdf", id="plain"),
        pytest.param("attachment; filename*=UTF-8''%E6%8A%A5%E5%91%8A.pdf", "报告.pdf", id="extended"),
        pytest.param('attachment; filename="报告.pdf"', "报告.pdf", id="raw-utf-8"),
        pytest.param("attachment; filename=\"a.txt\"; filename*=UTF-8''b.txt", "b.txt", id="both"),
        pytest.param("attachment; filename*=UTF-8''b.txt; filename=\"a.txt\"", "b.txt", id="both-in-reverse-order"),
        pytest.param('attachment; filename="../../etc/passwd"', "passwd", id="folders"),
        pytest.param('attachment; filename="C:\\\\x\\\\y.doc"', "y.doc", id="windows-folders"),
        pytest.param('attachment; filename=".."', "", id="dots"),
        pytest.param('attachment; filename=" .X-ray.MAX. "', "X-ray.MAX", id="dots-and-spaces-around"),
        pytest.param('attachment; filename="a\udcff.txt"', "a?.txt", id="raw-bytes"),
        pytest.param("attachment; filename*=UTF-8''a%0d%0ab%00.txt", "ab.txt", id="control-characters"),
        pytest.param("attachment; filename*=GB18030''%B1%A8%B8%E6.pdf", "报告.pdf", id="another-charset"),
        pytest.param("attachment; filename*=KLINGON''%78", "x", id="unknown-charset"),
        pytest.param("attachment; filename*=UTF-8''%FF%FE", "\ufffd\ufffd", id="not-utf-8"),
        pytest.param(";;;=;*=", "", id="nonsense"),
        pytest.param("attachment; filename*0=\"a\"; filename*=UTF-8''b.txt", "b.txt", id="continued-and-extended"),
        pytest.param("attachment; filename*=\x00''b.txt", "b.txt", id="no-charset"),
        pytest.param("attachment; filename*=b.txt; filename=c.txt", "c.txt", id="extended-without-charset"),
        pytest.param('attachment; filename="a \\"b\\" c.txt"', 'a "b" c.txt', id="quotes"),
        pytest.param("attachment; filename=a.txt; size=1", "a.txt", id="without-quotes"),
        pytest.param('attachment; filename="a.txt', "a.txt", id="half-a-quote"),
        pytest.param('attachment; filename=a.txt"', "a.txt", id="the-other-half-of-a-quote"),
        pytest.param('attachment; filename=a"b.xlsx', 'a"b.xlsx', id="a-stray-quote"),
        pytest.param("attachment; filename='a.txt'", "a.txt", id="apostrophes"),
        pytest.param("attachment; filename=it's.txt", "it's.txt", id="an-apostrophe"),
        pytest.param('attachment; filename="%E5%AD%A3.xlsx"', "季.xlsx", id="percent-encoded"),
        pytest.param("attachment; filename=%E5%AD%A3.xlsx", "季.xlsx", id="percent-encoded-without-quotes"),
        pytest.param('attachment; filename="100%.txt"', "100%.txt", id="a-percent-sign"),
        pytest.param('attachment; filename="100%25.txt"', "100%.txt", id="an-encoded-percent-sign"),
        pytest.param('attachment; filename="%FF%FE.txt"', "%FF%FE.txt", id="percent-signs-that-are-not-utf-8"),
        pytest.param('attachment; filename="%2e%2e%2fetc%2fpasswd"', "passwd", id="encoded-folders"),
        pytest.param('attachment; filename="=?UTF-8?B?5a2jLnhsc3g=?="', "季.xlsx", id="rfc-2047-base64"),
        pytest.param("attachment; filename==?utf-8?Q?=E5=AD=A3.xlsx?=", "季.xlsx", id="rfc-2047-quoted"),
        pytest.param('attachment; filename="=?GBK?B?vL4ueGxzeA==?="', "季.xlsx", id="rfc-2047-gbk"),
        pytest.param('attachment; filename="=?klingon?B?vL4?="', "=?klingon?B?vL4?=", id="rfc-2047-of-no-charset"),
        pytest.param('attachment; filename="=?UTF-8?B?x?="', "=?UTF-8?B?x?=", id="rfc-2047-damaged"),
        pytest.param("attachment; filename*=UTF-8''; filename=\"good.xlsx\"", "good.xlsx", id="extended-is-empty"),
        pytest.param("attachment; filename=\"good.xlsx\"; filename*=UTF-8''", "good.xlsx", id="empty-extended-last"),
        pytest.param("attachment; filename*=\"UTF-8''%E5%AD%A3.xlsx\"", "季.xlsx", id="extended-in-quotes"),
        pytest.param("attachment; filename*=UTF-8''", "", id="nothing-but-a-charset"),
        pytest.param("attachment; filename*=UTF-8''it's.txt", "it's.txt", id="extended-with-an-apostrophe"),
        pytest.param("attachment; filename*=%E5%AD%A3.xlsx", "季.xlsx", id="only-extended-without-charset"),
        pytest.param("attachment; filename*=utf-8'en'it%27s.txt", "it's.txt", id="extended-with-language"),
        pytest.param("attachment; filename=my report.xlsx", "my report.xlsx", id="spaces-without-quotes"),
        pytest.param('filename="a.txt"', "a.txt", id="without-disposition"),
        pytest.param('attachment; x="; filename=evil"; filename=ok.txt', "ok.txt", id="inside-another-value"),
        pytest.param('attachment; filename="a; b.txt"', "a; b.txt", id="semicolon"),
        pytest.param('ATTACHMENT; FileName = "a.txt"', "a.txt", id="capitals-and-spaces"),
        pytest.param(
            b'attachment; filename="\xbc\xbe.xlsx"'.decode("utf-8", "surrogateescape"), "季.xlsx", id="raw-gbk"
        ),
        pytest.param('attachment; filename="' + "=?a?q?" * 1300 + '"', ("=?a?q?" * 1300)[:255], id="rfc-2047-long"),
        pytest.param("attachment; filename=" + "(" * 5000, "(" * 255, id="nested-comments"),
        pytest.param('inline; filename="' + "a" * 300 + '"', "a" * 255, id="long"),
    ],
)
def test_a_file_name_has_no_folder_and_no_control_character(header: str, name: str) -> None:
    assert media.file_name(header) == name
