"""Our codec against wx-crypt, an independent implementation on another cryptographic library."""

import base64
import json
import os
from typing import Any

import pytest
from wx_crypt import WXBizMsgCrypt, WxChannel_WecomAiBot

from maven_channel_wecom.protocol import cipher, envelope
from maven_channel_wecom.protocol.envelope import Credentials, SignedQuery
from tests.vectors.loading import VECTORS, by_id

TOKEN = "hJqcu3uJ9Tn2gXPmxx2w9kkCkCE2EPYo"
ENCODING_AES_KEY = "6qkdMrq68nTKduznJYO1A37W2oEgpkMUvkttRToqhUt"
NONCE = "1597212914"
TIMESTAMP = "1700000000"

MESSAGES = [
    pytest.param("x" * length, id=f"{length}-bytes") for length in (0, 1, 11, 12, 13, 27, 28, 29, 43, 44, 45, 5000)
] + [pytest.param("你好，企业微信 👋🏽", id="chinese")]


def peer() -> Any:  # noqa: ANN401 - the peer has no types
    return WXBizMsgCrypt(TOKEN, ENCODING_AES_KEY, "", WxChannel_WecomAiBot)


def credentials() -> Credentials:
    return Credentials(TOKEN, cipher.decode_key(ENCODING_AES_KEY))


@pytest.mark.parametrize("message", MESSAGES)
def test_the_peer_opens_our_envelopes(message: str) -> None:
    sealed = envelope.seal(
        credentials(), message.encode(), receive_id="", timestamp=int(TIMESTAMP), nonce=NONCE, random=os.urandom(16)
    )
    code, opened = peer().DecryptMsg(json.dumps({"encrypt": sealed.encrypt}), sealed.msgsignature, TIMESTAMP, NONCE)
    assert code == 0
    assert (opened.decode() if isinstance(opened, bytes) else opened) == message


@pytest.mark.parametrize("message", MESSAGES)
def test_we_open_the_envelopes_of_the_peer(message: str) -> None:
    code, sealed = peer().EncryptMsg(message.encode(), NONCE, TIMESTAMP)
    assert code == 0
    answer = json.loads(sealed)
    signed = answer.get("msgsignature") or answer.get("msg_signature")
    opened = envelope.open_envelope([credentials()], SignedQuery(signed, TIMESTAMP, NONCE), answer["encrypt"])
    assert opened.message.decode() == message
    assert opened.receive_id == ""


@pytest.mark.parametrize("vector", by_id([vector for vector in VECTORS["envelopes"] if vector["id"].startswith("S")]))
def test_the_peer_opens_the_vectors_computed_for_this_project(vector: dict[str, Any]) -> None:
    """Vectors S1 to S5 are our own, so an independent implementation must confirm them."""
    body = json.dumps({"encrypt": vector["ciphertext"]})
    code, opened = peer().DecryptMsg(body, vector["signature"], vector["timestamp"], vector["nonce"])
    assert code == 0
    assert (opened.decode() if isinstance(opened, bytes) else opened) == vector["message"]


def test_the_peer_answers_a_url_check_sealed_by_us() -> None:
    sealed = envelope.seal(
        credentials(), b"1616140317555161061", receive_id="", timestamp=int(TIMESTAMP), nonce=NONCE, random=bytes(16)
    )
    code, echo = peer().VerifyURL(sealed.msgsignature, TIMESTAMP, NONCE, sealed.encrypt)
    assert code == 0
    assert (echo.decode() if isinstance(echo, bytes) else echo) == "1616140317555161061"
    assert len(base64.b64decode(sealed.encrypt)) % 32 == 0
