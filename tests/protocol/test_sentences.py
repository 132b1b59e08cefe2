"""The exact sentences that the log gives as `detail` of rejected callbacks: one for each cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.errors import MalformedCallback
from maven_channel_wecom.protocol import cipher, envelope
from maven_channel_wecom.protocol.callback import read_callback

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNED = {"msg_signature": "s", "timestamp": "1700000000", "nonce": "n"}


def query_without(name: str) -> dict[str, str]:
    return {key: value for key, value in SIGNED.items() if key != name}


@pytest.mark.parametrize(
    ("read", "sentence"),
    [
        pytest.param(
            lambda: envelope.read_query(query_without("msg_signature")),
            "the query parameter msg_signature is missing",
            id="no-signature",
        ),
        pytest.param(
            lambda: envelope.read_query(query_without("timestamp")),
            "the query parameter timestamp is missing or not ten digits",
            id="no-timestamp",
        ),
        pytest.param(
            lambda: envelope.read_query(query_without("nonce")),
            "the query parameter nonce is missing or not a short string of letters, digits, - and _",
            id="no-nonce",
        ),
        pytest.param(lambda: envelope.read_echo(SIGNED), "the query parameter echostr is missing", id="no-echo"),
        pytest.param(
            lambda: envelope.read_body(b" <xml></xml>"),
            "the body is XML: this URL was entered at a self-built app, not at an AI bot",
            id="xml",
        ),
        pytest.param(
            lambda: envelope.read_body(b"{}"), "the body is not a JSON object with a string under encrypt", id="no-json"
        ),
        pytest.param(
            lambda: read_callback(b'{"msgid":"","msgtype":"text"}'),
            "msgid or msgtype is missing, empty, too long or not a string",
            id="no-id",
        ),
        pytest.param(lambda: read_callback(b"[]"), "the callback is not a JSON object", id="no-callback"),
    ],
)
def test_each_rejection_has_its_own_sentence(read: Callable[[], object], sentence: str) -> None:
    with pytest.raises(MalformedCallback) as raised:
        read()
    assert str(raised.value) == sentence


def test_the_sentence_for_a_key_that_is_not_base64_explains_base64() -> None:
    """It continues a sentence that begins with the name of the setting."""
    with pytest.raises(ValueError, match=r"^must be base64: letters, digits, \+ and / only$"):
        cipher.decode_key("?" * 43)
