"""Callbacks that are sealed before a measurement begins, and a check of the acknowledgements to them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from maven_channel_wecom.policy.stream import stream_id
from maven_channel_wecom.protocol import cipher
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator.acknowledgements import read_acknowledgement
from maven_channel_wecom.simulator.callbacks import seal_callback
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maven_channel_wecom.simulator.callbacks import SealedRequest

PATH = "/wecom/bot"
_USERS = 500
_TEXT = "请问今天下午三点的会议在哪个会议室？ Please send me the agenda, too."


class Bot:
    """A token and a key, the matching configuration of a channel, and callbacks sealed with them."""

    def __init__(self) -> None:
        self._token, self._encoding_aes_key = new_token(), new_encoding_aes_key()
        self.credentials = Credentials(self._token, cipher.decode_key(self._encoding_aes_key))
        self._sealed_before = 0

    def entry(self, **settings: object) -> dict[str, object]:
        return {
            "token": self._token,
            "encodingAESKey": self._encoding_aes_key,
            "host": "127.0.0.1",
            "port": 0,
            "allowPrivateNetwork": True,
            **settings,
        }

    def new_message_id(self) -> str:
        self._sealed_before += 1
        return f"{os.urandom(12).hex()}{self._sealed_before}"

    def seal(self, *, picture_url: str = "", response_url: str = "", message_id: str = "") -> SealedRequest:
        """Seal one new message: a text of about 400 bytes as JSON, or a picture."""
        message_id = message_id or self.new_message_id()
        content: dict[str, Any] = {"msgtype": "text", "text": {"content": _TEXT}}
        if picture_url:
            content = {"msgtype": "image", "image": {"url": picture_url}}
        message = {
            "response_url": response_url
            or f"http://127.0.0.1:1/cgi-bin/aibot/response?response_code={os.urandom(24).hex()}",
            **content,
        }
        return self._seal(message_id, self._user_of(message_id), message)

    def seal_refresh(self, message_id: str) -> SealedRequest:
        """Seal the question for the newest frame of the stream that answers a message of the channel `wecom`."""
        content = {"msgtype": "stream", "stream": {"id": stream_id("wecom", message_id)}}
        return self._seal(self.new_message_id(), self._user_of(message_id), content)

    @staticmethod
    def _user_of(message_id: str) -> str:
        return f"user{int(message_id[24:]) % _USERS}"

    def _seal(self, message_id: str, user: str, content: Mapping[str, Any]) -> SealedRequest:
        callback = {
            "msgid": message_id,
            "aibotid": "aib1",
            "chattype": "single",
            "from": {"userid": user},
            **content,
        }
        return seal_callback(
            msgspec.json.encode(callback),
            self.credentials,
            receive_id="",
            timestamp=int(time.time()),
            random=os.urandom,
        )


def as_http(sealed: SealedRequest) -> bytes:
    """Return a complete HTTP request. The host name is constant, so that all servers receive the same bytes."""
    head = (
        f"POST {PATH}?{sealed.query} HTTP/1.1\r\nHost: wecom.example\r\nUser-Agent: Mozilla/4.0\r\nAccept: */*\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(sealed.body)}\r\n\r\n"
    )
    return head.encode() + sealed.body


def check_answers(requests: Sequence[SealedRequest], sample: Mapping[int, bytes]) -> None:
    """Verify the signature, the nonce and the decrypted "success" of each answer in a sample, as WeCom would.

    Raises:
        RuntimeError: an answer is not the acknowledgement of its request.
    """
    for number, body in sample.items():
        found = read_acknowledgement(body, requests[number], "")
        if found.form != "success":
            message = f"the answer to request {number} is wrong: {found}"
            raise RuntimeError(message)
