"""Secrets of the form that WeCom's console generates."""

from __future__ import annotations

from maven_channel_wecom.protocol.cipher import decode_key
from tests.suite_watch import new_encoding_aes_key, new_token


def test_a_token_is_letters_and_digits() -> None:
    assert new_token().isalnum()
    assert len(new_token()) == 32


def test_a_key_decodes_to_32_bytes() -> None:
    assert len(decode_key(new_encoding_aes_key())) == 32


def test_no_two_are_the_same() -> None:
    assert len({new_token() for _ in range(10)}) == 10
    assert len({new_encoding_aes_key() for _ in range(10)}) == 10
