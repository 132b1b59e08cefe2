"""AES-256-CBC with WeCom's padding. Known answers of other implementations are in test_codec_vectors."""

from __future__ import annotations

import pytest

from maven_channel_wecom.protocol import cipher

KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        pytest.param("a" * 42, "43 characters, this one has 42", id="short"),
        pytest.param("a" * 44, "43 characters, this one has 44", id="long"),
        pytest.param("?" * 43, "base64", id="not-base64"),
        pytest.param("键" * 43, "base64", id="not-ascii"),
        pytest.param("a" * 42 + "=", "base64", id="padding-of-its-own"),
    ],
)
def test_a_wrong_key_is_described_and_not_shown(key: str, sentence: str) -> None:
    """The sentence helps without repeating what might be the secret."""
    with pytest.raises(ValueError, match=sentence) as raised:
        cipher.decode_key(key)
    assert key not in str(raised.value)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 1000])
def test_padding_fills_up_to_blocks_of_32_bytes_and_is_never_empty(length: int) -> None:
    ciphertext = cipher.encrypt(KEY, b"x" * length)
    assert len(ciphertext) == (length // 32 + 1) * 32
    assert cipher.decrypt(KEY, ciphertext) == b"x" * length


@pytest.mark.parametrize("length", [0, 16, 31, 33, 48])
def test_a_length_that_is_no_number_of_blocks_does_not_open(length: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        cipher.decrypt(KEY, b"x" * length)


def test_bytes_that_come_in_pieces_open_like_the_whole() -> None:
    ciphertext = cipher.encrypt(KEY, b"one after the other" * 10)
    decryption = cipher.Decryption(KEY)
    pieces = [decryption.update(ciphertext[start : start + 7]) for start in range(0, len(ciphertext), 7)]
    assert b"".join([*pieces, decryption.finalize()]) == b"one after the other" * 10
