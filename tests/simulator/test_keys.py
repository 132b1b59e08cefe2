"""Generated credentials."""

from __future__ import annotations

from maven_channel_wecom.protocol.cipher import decode_key
from tests.suite_watch import new_encoding_aes_key, new_token


def test_a_token_is_letters_and_digits() -> None:
    assert new_token().isalnum()
    assert len(new_token()) == 32


def test_a_key_has_43_letters_and_digits_that_decode_to_32_bytes() -> None:
    key = new_encoding_aes_key()
    assert (len(key), len(decode_key(key)), key.isalnum()) == (43, 32, True)


def test_each_call_gives_another_token_and_key() -> None:
    assert len({new_token() for _ in range(10)}) == 10
    assert len({new_encoding_aes_key() for _ in range(10)}) == 10
