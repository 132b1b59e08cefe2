"""Our codec against vectors from independent implementations."""

import base64
from typing import Any

import pytest

from maven_channel_wecom.errors import SignatureMismatch
from maven_channel_wecom.protocol import cipher, envelope, media, signature
from maven_channel_wecom.protocol.envelope import Credentials, SignedQuery
from tests.fakes.decrypted import decrypted
from tests.vectors.loading import VECTORS, by_id


def credentials_of(vector: dict[str, Any]) -> Credentials:
    return Credentials(vector["token"], cipher.decode_key(vector["encoding_aes_key"]))


@pytest.mark.parametrize("vector", by_id(VECTORS["envelopes"] + VECTORS["signatures"]))
def test_a_signature_equals_the_published_one(vector: dict[str, Any]) -> None:
    signed = signature.sign(vector["token"], vector["timestamp"], vector["nonce"], vector["ciphertext"])
    assert signed == vector["signature"]


@pytest.mark.parametrize("vector", by_id(VECTORS["envelopes"]))
def test_an_envelope_opens_to_the_published_message(vector: dict[str, Any]) -> None:
    query = SignedQuery(vector["signature"], vector["timestamp"], vector["nonce"])
    opened = envelope.open_envelope(
        [credentials_of(vector)], query, vector["ciphertext"], receive_id=vector["receive_id"]
    )
    assert opened.message.decode() == vector["message"]
    assert opened.receive_id == vector["receive_id"]


@pytest.mark.parametrize("vector", by_id(VECTORS["envelopes"]))
def test_sealing_with_the_same_random_bytes_gives_the_published_ciphertext(vector: dict[str, Any]) -> None:
    sealed = envelope.seal(
        credentials_of(vector),
        vector["message"].encode(),
        receive_id=vector["receive_id"],
        timestamp=int(vector["timestamp"]),
        nonce=vector["nonce"],
        random=vector["random"].encode(),
    )
    assert sealed.encrypt == vector["ciphertext"]
    assert sealed.msgsignature == vector["signature"]


@pytest.mark.parametrize("vector", by_id(VECTORS["envelopes"]))
def test_the_padding_has_the_published_length(vector: dict[str, Any]) -> None:
    """The lengths range from 1 to 32."""
    frame_bytes = 20 + len(vector["message"].encode()) + len(vector["receive_id"])
    assert len(base64.b64decode(vector["ciphertext"])) - frame_bytes == vector["padding_bytes"]


def test_a_signature_does_not_match_another_nonce() -> None:
    vector = next(vector for vector in VECTORS["envelopes"] if vector["id"] == "F")
    query = SignedQuery(vector["signature"], vector["timestamp"], str(int(vector["nonce"]) - 1))
    with pytest.raises(SignatureMismatch):
        envelope.open_envelope([credentials_of(vector)], query, vector["ciphertext"])


@pytest.mark.parametrize("vector", by_id(VECTORS["media"]))
def test_a_media_file_is_encrypted_and_decrypted_to_the_known_bytes(vector: dict[str, Any]) -> None:
    key = cipher.decode_key(vector["encoding_aes_key"])
    content, ciphertext = bytes.fromhex(vector["content"]), bytes.fromhex(vector["ciphertext"])
    assert decrypted(ciphertext, [key], "file") == content
    decryptor = media.MediaDecryptor([key], "file")
    by_byte = [decryptor.update(ciphertext[place : place + 1]) for place in range(len(ciphertext))]
    assert b"".join((*by_byte, *decryptor.finalize())) == content
    assert cipher.encrypt(key, content) == ciphertext
    assert len(ciphertext) - len(content) == vector["padding_bytes"]
