"""Envelopes against wechatpy, and media against wecom-aibot-sdk. tests/protocol/test_codec_peer.py has a third peer."""

from __future__ import annotations

import os

import pytest
import xmltodict
from wechatpy.enterprise.crypto import WeChatCrypto
from wecom_aibot_sdk.crypto import decrypt_file

from maven_channel_wecom.protocol import cipher, envelope
from maven_channel_wecom.protocol.envelope import Credentials, SignedQuery
from tests.fakes.decrypted import decrypted
from tests.suite_watch import new_encoding_aes_key, new_token

TIMESTAMP, NONCE = "1700000000", "1597212914"

# Around the blocks of 16 and 32 bytes: the frame has 20 bytes besides message and receive id.
SIZES = [0, 1, 11, 12, 13, 27, 28, 29, 31, 32, 33, 43, 44, 45, 5000]

RECEIVE_IDS = ["", "ww0123456789abcdef", "企业"]


@pytest.mark.parametrize("receive_id", RECEIVE_IDS)
def test_wechatpy_opens_our_envelopes(receive_id: str) -> None:
    token, key = new_token(), new_encoding_aes_key()
    peer = WeChatCrypto(token, key, receive_id)
    credentials = Credentials(token, cipher.decode_key(key))
    for message in [*("x" * size for size in SIZES), "你好，企业微信 👋🏽"]:
        sealed = envelope.seal(
            credentials,
            message.encode(),
            receive_id=receive_id,
            timestamp=int(TIMESTAMP),
            nonce=NONCE,
            random=os.urandom(16),
        )
        found = peer.decrypt_message({"Encrypt": sealed.encrypt}, sealed.msgsignature, TIMESTAMP, NONCE)
        assert found == message


@pytest.mark.parametrize("receive_id", RECEIVE_IDS)
def test_we_open_the_envelopes_of_wechatpy(receive_id: str) -> None:
    token, key = new_token(), new_encoding_aes_key()
    peer = WeChatCrypto(token, key, receive_id)
    credentials = Credentials(token, cipher.decode_key(key))
    for message in [*("x" * size for size in SIZES), "你好，企业微信 👋🏽"]:
        document = xmltodict.parse(peer.encrypt_message(message, NONCE, TIMESTAMP))["xml"]
        query = SignedQuery(document["MsgSignature"], TIMESTAMP, NONCE)
        opened = envelope.open_envelope([credentials], query, document["Encrypt"])
        assert (opened.message.decode(), opened.receive_id) == (message, receive_id)


@pytest.mark.parametrize("size", SIZES)
def test_the_sdk_and_we_decrypt_media_alike(size: int) -> None:
    aes_key = new_encoding_aes_key()
    content = os.urandom(size)
    key = cipher.decode_key(aes_key)
    encrypted = cipher.encrypt(key, content)
    assert decrypt_file(encrypted, aes_key) == decrypted(encrypted, [key], "file") == content
