"""The signature over four strings. Vectors from other implementations are in test_codec_vectors."""

from __future__ import annotations

import hashlib

import pytest

from maven_channel_wecom.protocol import signature

PARTS = {"token": "zebra", "timestamp": "1700000000", "nonce": "Apple", "ciphertext": "+/="}


def test_the_parts_are_sorted_by_bytes_and_hashed_without_a_separator() -> None:
    joined = b"+/=1700000000Applezebra"
    assert signature.sign(**PARTS) == hashlib.sha1(joined, usedforsecurity=False).hexdigest()


def test_a_signature_matches_its_parts() -> None:
    assert signature.matches(signature.sign(**PARTS), **PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_a_signature_does_not_match_a_changed_part(part: str) -> None:
    assert not signature.matches(signature.sign(**PARTS), **PARTS | {part: "other"})


@pytest.mark.parametrize("given", ["", "é" * 40, signature.sign(**PARTS).upper(), signature.sign(**PARTS) + "0"])
def test_an_invalid_signature_does_not_match(given: str) -> None:
    assert not signature.matches(given, **PARTS)
