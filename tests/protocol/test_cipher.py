"""AES-256-CBC with WeCom's padding. Vectors from other implementations are in test_codec_vectors."""

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
        pytest.param("a" * 42 + "=", "base64", id="with-padding"),
    ],
)
def test_the_error_for_an_invalid_key_does_not_contain_the_key(key: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        cipher.decode_key(key)
    assert key not in str(raised.value)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 1000])
def test_padding_fills_blocks_of_32_bytes_and_is_never_empty(length: int) -> None:
    ciphertext = cipher.encrypt(KEY, b"x" * length)
    assert len(ciphertext) == (length // 32 + 1) * 32
    assert cipher.decrypt(KEY, ciphertext) == b"x" * length


@pytest.mark.parametrize("length", [0, 16, 31, 33, 48])
def test_a_ciphertext_must_be_a_positive_number_of_32_byte_blocks(length: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        cipher.decrypt(KEY, b"x" * length)


def test_decrypting_in_parts_gives_the_same_plaintext() -> None:
    ciphertext = cipher.encrypt(KEY, b"one after the other" * 10)
    decryption = cipher.Decryption(KEY)
    parts = [decryption.update(ciphertext[start : start + 7]) for start in range(0, len(ciphertext), 7)]
    assert b"".join([*parts, decryption.finalize()]) == b"one after the other" * 10
