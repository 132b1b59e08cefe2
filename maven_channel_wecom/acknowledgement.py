"""The answer that tells WeCom a callback was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.protocol import envelope, limits
from maven_channel_wecom.transport.callback_answer import CallbackAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.protocol.envelope import OpenedEnvelope

# The original's acknowledgement: the JSON text "success", sealed. WeCom takes it as an empty reply.
_SUCCESS: Final = b'"success"'


class Acknowledgements:
    """Seals acknowledgements; `random` returns bytes nobody can guess.

    All of one second share their ciphertext: it hides a word everybody knows, under random bytes of that second. The
    signature is each one's own, as it covers the nonce of the callback.
    """

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._second = 0
        self._encrypted: dict[tuple[bytes, str], str] = {}

    def answer(self, opened: OpenedEnvelope, *, nonce: str, second: int) -> CallbackAnswer:
        """Return the answer to a callback that opened, sealed as that was; `second` is the Unix time."""
        if second != self._second:
            self._second = second
            self._encrypted.clear()
        credentials, receive_id = opened.credentials, opened.receive_id
        encrypted = self._encrypted.get((credentials.key, receive_id))
        if encrypted is None:
            random = self._random(limits.FRAME_RANDOM_BYTES)
            encrypted = envelope.encrypt(credentials, receive_id, _SUCCESS, random)
            self._encrypted[credentials.key, receive_id] = encrypted
        sealed = envelope.sign(credentials, encrypted, timestamp=second, nonce=nonce)
        return CallbackAnswer(status=200, body=msgspec.json.encode(sealed), content_type="application/json")
