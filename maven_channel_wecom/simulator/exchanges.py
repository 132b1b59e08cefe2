"""What travelled between WeCom and a bot, one value for each HTTP request, for an observer that shows it.

The values hold users' text and a `response_url`, and their reprs do not show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.callbacks import SealedRequest, SentKind
    from maven_channel_wecom.simulator.http_client import HttpAnswer


class CallbackExchange(msgspec.Struct, frozen=True, kw_only=True):
    """One callback and the bot's answer to it.

    Attributes:
        message_id: the message that it concerns: of a refresh, the one whose answer grows.
        kind: the kind of callback.
        plaintext: the callback before it was sealed.
        request: the callback as it was sent.
        answer: the answer; its status is 0 if none arrived.
        opened: the plaintext of the answer, None if there is none.
        lost: whether a fault dropped the answer, or the request on its way.
    """

    message_id: str
    kind: SentKind
    plaintext: bytes
    request: SealedRequest
    answer: HttpAnswer
    opened: bytes | None = None
    lost: bool = False

    def __repr__(self) -> str:
        return f"<CallbackExchange {self.kind}, {self.answer!r}>"


class ReplyExchange(msgspec.Struct, frozen=True, kw_only=True):
    """One POST to a `response_url` and WeCom's answer to it.

    Attributes:
        message_id: the message that it answers.
        body: the JSON of the bot, empty if a fault cut the connection before it was read.
        status: the HTTP status of the answer; 0 if there was none.
        answer: the body of the answer.
        after_seconds: the time from the callback to the answer.
        fault: the name of the fault that was played, empty for none.
    """

    message_id: str
    body: bytes
    status: int
    answer: bytes
    after_seconds: float
    fault: str = ""

    def __repr__(self) -> str:
        return f"<ReplyExchange {self.status}, {len(self.body)} bytes>"


HttpExchange = CallbackExchange | ReplyExchange
"""A request in either direction, with its answer."""
