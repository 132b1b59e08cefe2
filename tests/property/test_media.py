"""Incremental decryption of a media item gives the same result as decrypting it as a whole."""

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

# The bytes and the type of an item, or the reason why it does not open and the type of what came in its place.
Result = tuple[bytes | str, str | None]

KEYS = [bytes([number]) * 32 for number in range(4)]
PNG = b"\x89PNG\r\n\x1a\n"
TAR = bytes(257) + b"ustar"
MARKUP = {"text/html", "image/svg+xml", "application/xml"}
BEGINNINGS = [
    PNG,
    b"\xff\xd8\xff",
    b"%PDF-1.7",
    b"BM",
    b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1",
    TAR,
    b"<!doctype html",
    b"\xef\xbb\xbf \n<HTML>",
    b"<?xml version='1.0'?><!-- x --><svg>",
    b"a,b\n",
]
# Sizes around those at which the type is detected and at which a chunk ends.
SIZES = [0, 1, 31, 32, 33, 8_160, 8_191, 8_192, 8_193, 8_223, 8_224, 8_225, 65_536, 140_000]


def decrypt_whole(key: bytes, content: bytes) -> bytes | None:
    try:
        decryptor = Cipher(algorithms.AES256(key), modes.CBC(key[:16])).decryptor()
        padded = decryptor.update(content) + decryptor.finalize()
        unpadder = PKCS7(256).unpadder()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        return None


def open_whole(content: bytes, keys: Sequence[bytes], kind: MediaKind) -> Result:
    """Open an item as a whole: the reference implementation."""
    plain_type = media_type(content)
    if plain_type in MARKUP:
        return "not_an_image" if kind == "image" else "undecipherable", plain_type
    decrypted = [plaintext for key in keys if (plaintext := decrypt_whole(key, content)) is not None]
    typed = [each for each in (*decrypted, content) if media_type(each)]
    candidates = typed or decrypted if kind == "image" else [*typed, *decrypted]
    return (candidates[0], media_type(candidates[0])) if candidates else ("undecipherable", "")


def open_in_parts(parts: Sequence[bytes], keys: Sequence[bytes], kind: MediaKind) -> Result:
    decryptor = MediaDecryptor(keys, kind)
    opened = [decryptor.update(part) for part in parts]
    try:
        opened += decryptor.finalize()
    except MediaUnavailable as unavailable:
        return unavailable.reason, unavailable.media_type
    return b"".join(opened), decryptor.media_type


def zero_padded(beginning: bytes, size: int) -> bytes:
    return beginning[:size] + bytes(max(0, size - len(beginning)))


sizes = st.sampled_from(SIZES) | st.integers(0, 300)
contents = st.builds(zero_padded, st.sampled_from(BEGINNINGS), sizes)


@st.composite
def downloads(draw: st.DrawFn) -> bytes:
    content = draw(contents)
    if draw(st.booleans()):
        content = cipher.encrypt(draw(st.sampled_from(KEYS)), content)
    match draw(st.sampled_from(["whole", "whole", "cut", "damaged"])):
        case "cut":
            return content[: -draw(st.sampled_from([1, 16, 32]))]
        case "damaged":
            position = draw(
                st.sampled_from([0, len(content) // 2, max(0, len(content) - 33), max(0, len(content) - 1)])
            )
            return content[:position] + bytes([draw(st.integers(0, 255))]) + content[position + 1 :]
    return content


@given(
    downloads(),
    st.lists(st.sampled_from(KEYS), max_size=3),
    st.sampled_from(["image", "file"]),
    st.lists(sizes | st.integers(0, 140_000), max_size=6),
)
@example(cipher.encrypt(KEYS[0], zero_padded(TAR, 9_000)), KEYS[:1], "file", [250, 8_224])
@example(cipher.encrypt(KEYS[0], zero_padded(TAR, 300)), KEYS[:1], "file", [250, 260])
def test_an_item_in_parts_opens_like_the_whole(
    content: bytes, keys: list[bytes], kind: MediaKind, cuts: list[int]
) -> None:
    """The item is encrypted or plain, whole, cut short or damaged, and its key is among the given ones or is not."""
    positions = sorted({0, *(min(cut, len(content)) for cut in cuts), len(content)})
    parts = [content[start:end] for start, end in pairwise(positions)]
    assert open_in_parts(parts, keys, kind) == open_whole(content, keys, kind)


@given(st.binary(max_size=300), st.lists(st.sampled_from(KEYS), max_size=2), st.sampled_from(["image", "file"]))
@example(b"", KEYS[:1], "file")
@example(b"<!doctype html", KEYS[:1], "image")
def test_random_bytes_one_by_one_open_like_the_whole(content: bytes, keys: list[bytes], kind: MediaKind) -> None:
    single_bytes = [content[index : index + 1] for index in range(len(content))]
    assert open_in_parts(single_bytes, keys, kind) == open_whole(content, keys, kind)


@given(st.integers(0, 64), st.integers(1, 255), st.sampled_from(["image", "file"]))
def test_only_1_to_32_equal_bytes_are_valid_padding(count: int, last: int, kind: MediaKind) -> None:
    padded = zero_padded(PNG, 16_384 - count) + bytes([last]) * count
    encryptor = Cipher(algorithms.AES256(KEYS[0]), modes.CBC(KEYS[0][:16])).encryptor()
    content = encryptor.update(padded + bytes(-len(padded) % 16)) + encryptor.finalize()
    expected = open_whole(content, KEYS[:1], kind)
    assert open_in_parts([content[:9_000], content[9_000:]], KEYS[:1], kind) == expected
    assert (expected != ("undecipherable", "")) == (1 <= last <= 32 and count >= last)
