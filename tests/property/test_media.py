"""Media opened as they arrive give what the whole would give, whatever came and however it was cut."""

import contextlib
from collections.abc import Sequence
from itertools import pairwise

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from hypothesis import example, given
from hypothesis import strategies as st

from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.protocol import cipher
from maven_channel_wecom.protocol.callback import MediaKind
from maven_channel_wecom.protocol.media import MediaDecryptor, media_type

KEYS = [bytes([number]) * 32 for number in range(4)]
PNG = b"\x89PNG\r\n\x1a\n"
# Where the first bytes are enough to tell, and where a piece ends.
SIZES = [0, 1, 31, 32, 33, 8_160, 8_191, 8_192, 8_193, 8_223, 8_224, 8_225, 65_536, 140_000]


def decrypt_whole(key: bytes, content: bytes) -> bytes | None:
    try:
        decryptor = Cipher(algorithms.AES256(key), modes.CBC(key[:16])).decryptor()
        padded = decryptor.update(content) + decryptor.finalize()
        unpadder = PKCS7(256).unpadder()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        return None


def open_whole(content: bytes, keys: Sequence[bytes], kind: MediaKind) -> tuple[bytes, str | None] | None:
    """Say in the plainest way what opening means."""
    opened = [one for key in keys if (one := decrypt_whole(key, content)) is not None]
    typed = [one for one in (*opened, content) if media_type(one)]
    found = [*typed, *(opened if kind == "file" else [])]
    return (found[0], media_type(found[0])) if found else None


def open_in_parts(parts: Sequence[bytes], keys: Sequence[bytes], kind: MediaKind) -> tuple[bytes, str | None] | None:
    decryptor = MediaDecryptor(keys, kind)
    opened = [decryptor.update(part) for part in parts]
    with contextlib.suppress(MediaUnavailable):
        opened += decryptor.finalize()
        return b"".join(opened), decryptor.media_type
    return None


def filled(beginning: bytes, size: int) -> bytes:
    return beginning[:size] + bytes(max(0, size - len(beginning)))


contents = st.builds(
    filled, st.sampled_from([PNG, b"\xff\xd8\xff", b"%PDF-1.7", b"a,b\n", b"BM"]), st.sampled_from(SIZES)
)


@st.composite
def downloads(draw: st.DrawFn) -> bytes:
    content = draw(contents)
    if draw(st.booleans()):
        content = cipher.encrypt(draw(st.sampled_from(KEYS)), content)
    match draw(st.sampled_from(["whole", "whole", "cut", "spoiled"])):
        case "cut":
            return content[: -draw(st.sampled_from([1, 16, 32]))]
        case "spoiled":
            place = draw(st.sampled_from([0, len(content) // 2, max(0, len(content) - 33), max(0, len(content) - 1)]))
            return content[:place] + bytes([draw(st.integers(0, 255))]) + content[place + 1 :]
    return content


@given(
    downloads(),
    st.lists(st.sampled_from(KEYS), max_size=3),
    st.sampled_from(["image", "file"]),
    st.lists(st.integers(0, 140_000), max_size=6),
)
def test_an_item_opens_as_its_bytes_arrive_as_it_would_as_a_whole(
    content: bytes, keys: list[bytes], kind: MediaKind, cuts: list[int]
) -> None:
    """Encrypted or plain, whole, cut short or spoiled, with the right key among others or not at all."""
    places = sorted({0, *(min(cut, len(content)) for cut in cuts), len(content)})
    parts = [content[start:end] for start, end in pairwise(places)]
    assert open_in_parts(parts, keys, kind) == open_whole(content, keys, kind)


@given(st.binary(max_size=300), st.lists(st.sampled_from(KEYS), max_size=2), st.sampled_from(["image", "file"]))
@example(b"", KEYS[:1], "file")
def test_byte_by_byte_or_at_once_is_the_same(content: bytes, keys: list[bytes], kind: MediaKind) -> None:
    """Noise too."""
    one_by_one = [content[place : place + 1] for place in range(len(content))]
    assert open_in_parts(one_by_one, keys, kind) == open_whole(content, keys, kind)


@given(st.integers(0, 64), st.integers(1, 255), st.sampled_from(["image", "file"]))
def test_only_the_padding_of_wecom_is_a_padding(rest: int, last: int, kind: MediaKind) -> None:
    """From 1 to 32 equal bytes, to a multiple of 32; checked for what arrives in parts as for the rest."""
    padded = filled(PNG, 16_384 - rest) + bytes([last]) * rest
    encryptor = Cipher(algorithms.AES256(KEYS[0]), modes.CBC(KEYS[0][:16])).encryptor()
    content = encryptor.update(padded + bytes(-len(padded) % 16)) + encryptor.finalize()
    expected = open_whole(content, KEYS[:1], kind)
    assert open_in_parts([content[:9_000], content[9_000:]], KEYS[:1], kind) == expected
    assert (expected is not None) == (1 <= last <= 32 and rest >= last)
