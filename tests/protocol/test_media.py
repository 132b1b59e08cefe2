"""Opening what lies in WeCom's storage, and naming it."""

import base64
import contextlib

import pytest

from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.protocol import cipher, media
from tests.fakes.decrypted import decrypted

KEY, OTHER_KEY = bytes(range(32)), bytes(range(32, 64))
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
TEXT = b"id,name\n1,alice\n"


def fitting_by_chance(ciphertext: bytes) -> bytes:
    """Return a wrong key under which a ciphertext has right padding, as one in 256 has."""
    for number in range(10_000):
        key = number.to_bytes(32, "big")
        with contextlib.suppress(ValueError):
            if media.media_type(cipher.decrypt(key, ciphertext)) is None:
                return key
    pytest.fail("no key fits by chance")


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
        pytest.param(b"<svg onload='x'/>", None, id="svg"),
    ],
)
def test_a_type_is_told_by_the_bytes(content: bytes, type_: str | None) -> None:
    """Whatever any header says."""
    assert media.media_type(content) == type_


@pytest.mark.parametrize("keys", [(KEY,), (OTHER_KEY, KEY)], ids=["one-key", "second-key"])
@pytest.mark.parametrize("content", [PNG, JPEG], ids=["png", "jpeg"])
def test_an_encrypted_image_opens_with_one_of_the_keys(content: bytes, keys: tuple[bytes, ...]) -> None:
    """While keys are being changed, older media still open."""
    assert decrypted(cipher.encrypt(KEY, content), keys, "image") == content


def test_a_plain_image_is_taken_as_it_is() -> None:
    """Some storage serves it so; its first bytes say it is one, whatever its length."""
    for length in range(40, 73):
        plain = PNG[:8] + bytes(length)
        assert decrypted(plain, [KEY], "image") == plain


@pytest.mark.parametrize("content", [TEXT, TEXT * 2_000], ids=["short", "long"])
def test_an_encrypted_file_of_no_known_type_opens(content: bytes) -> None:
    """A table of values begins with nothing in particular: its padding tells the key."""
    assert decrypted(cipher.encrypt(KEY, content), [OTHER_KEY, KEY], "file") == content


@pytest.mark.parametrize("kind", ["image", "file"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(cipher.encrypt(OTHER_KEY, PNG), id="another-key"),
        pytest.param(bytes(range(48)), id="noise"),
        pytest.param(b"<html>expired</html>", id="an-error-page"),
        pytest.param(cipher.encrypt(KEY, PNG)[:-5], id="cut-short"),
    ],
)
def test_what_does_not_open_is_unavailable(content: bytes, kind: str) -> None:
    """It is never passed on as if it were a picture."""
    with pytest.raises(MediaUnavailable) as raised:
        decrypted(content, [KEY], "image" if kind == "image" else "file")
    assert raised.value.reason == "undecipherable"


def test_padding_that_fits_by_chance_does_not_make_an_image() -> None:
    """One wrong key in 256 passes the padding: what comes out must begin like a picture."""
    looks_padded = cipher.encrypt(KEY, b"not a picture at all")
    with pytest.raises(MediaUnavailable):
        decrypted(looks_padded, [KEY], "image")


@pytest.mark.parametrize("content", [PNG, PNG + bytes(20_000)], ids=["short", "long"])
def test_known_first_bytes_win_over_a_key_that_fits_by_chance(content: bytes) -> None:
    """Whichever of the two is tried first."""
    encrypted = cipher.encrypt(KEY, content)
    chance = fitting_by_chance(encrypted)
    assert decrypted(encrypted, [chance, KEY], "file") == content
    assert decrypted(encrypted, [KEY, chance], "file") == content


@pytest.mark.parametrize("content", [TEXT, TEXT * 2_000], ids=["short", "long"])
def test_of_two_keys_that_fit_a_file_of_no_known_type_the_first_is_believed(content: bytes) -> None:
    """The current key comes first, and most files were encrypted with it."""
    encrypted = cipher.encrypt(KEY, content)
    assert decrypted(encrypted, [KEY, fitting_by_chance(encrypted)], "file") == content


def test_a_long_item_is_opened_while_it_comes() -> None:
    """All but its last bytes are there before its end is."""
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
def test_a_key_of_an_item_comes_in_three_forms(text: str) -> None:
    """All have been met in the field."""
    assert media.decode_item_key(text) == KEY


def test_stray_bits_at_the_end_of_a_key_are_no_error() -> None:
    """WeCom's own keys carry them: 43 characters hold two bits more than 32 bytes."""
    assert media.decode_item_key("A" * 42 + "X") == media.decode_item_key("A" * 42 + "U") == bytes(31) + b"\x05"


@pytest.mark.parametrize("text", ["", "?", "abc", "00" * 31, "é" * 43, "a" * 44, "A" * 20 + "\n" + "A" * 23])
def test_a_key_of_an_item_that_is_none_is_left_aside(text: str) -> None:
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
        pytest.param("attachment; filename*=UTF-8''b.txt; filename=\"a.txt\"", "b.txt", id="both-the-other-way-round"),
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
        pytest.param("attachment; filename*0=\"a\"; filename*=UTF-8''b.txt", "b.txt", id="in-pieces-and-extended"),
        pytest.param("attachment; filename*=\x00''b.txt", "b.txt", id="no-charset"),
        pytest.param("attachment; filename*=b.txt; filename=c.txt", "c.txt", id="extended-in-name-only"),
        pytest.param('attachment; filename="a \\"b\\" c.txt"', 'a "b" c.txt', id="quotes"),
        pytest.param("attachment; filename=a.txt; size=1", "a.txt", id="without-quotes"),
        pytest.param('attachment; filename="a.txt', "", id="half-a-quote"),
        pytest.param("attachment; filename=" + "(" * 5000, "(" * 255, id="nested-comments"),
        pytest.param('inline; filename="' + "a" * 300 + '"', "a" * 255, id="long"),
    ],
)
def test_a_file_name_is_harmless_text(header: str, name: str) -> None:
    """No folder, no control character, no surprise."""
    assert media.file_name(header) == name
