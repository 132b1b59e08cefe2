"""What the simulator saw, for tests to ask and for a console to listen to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import msgspec

from maven_channel_wecom.simulator.offences import Offence

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.simulator.offences import OffenceKind

AcknowledgementForm = Literal["success", "empty_body", "empty_object"]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One POST to a `response_url`.

    `content` is the markdown, or the JSON of a template card, and empty when the body was neither.
    `after_seconds` counts from the moment the callback was made.
    """

    message_id: str
    content: str
    after_seconds: float
    accepted: bool

    def __repr__(self) -> str:
        return f"<Reply {'accepted' if self.accepted else 'not accepted'}, {len(self.content.encode())} bytes>"


class Recorded:
    """Everything seen so far, in the order it came.

    Attributes:
        offences: what was done wrong.
        attempts: every POST to a known `response_url` whose request was read.
        replies: the accepted ones among them.
        posts: how many POSTs each message id got, those included that were cut off before reading.
        acknowledged_ids: messages answered with status 200: WeCom will not send these again.
        acknowledgements: how many answers had which form of an empty reply.
        media_requests: how many downloads were tried for each message id.
        listeners: called with each offence and each attempt as it is recorded.
    """

    def __init__(self) -> None:
        self.offences: list[Offence] = []
        self.attempts: list[Reply] = []
        self.replies: list[Reply] = []
        self.posts: Counter[str] = Counter()
        self.acknowledged_ids: set[str] = set()
        self.acknowledgements: Counter[AcknowledgementForm] = Counter()
        self.media_requests: Counter[str] = Counter()
        self.listeners: list[Callable[[Offence | Reply], None]] = []

    def offence(self, kind: OffenceKind, message_id: str = "") -> None:
        """Record an offence."""
        found = Offence(kind, message_id)
        self.offences.append(found)
        self._tell(found)

    def attempt(self, reply: Reply) -> None:
        """Record a POST, and the reply when it was accepted."""
        self.attempts.append(reply)
        if reply.accepted:
            self.replies.append(reply)
        self._tell(reply)

    def replies_to(self, message_id: str) -> list[Reply]:
        """Return the accepted replies to one message."""
        return [reply for reply in self.replies if reply.message_id == message_id]

    def _tell(self, news: Offence | Reply) -> None:
        for listener in self.listeners:
            listener(news)
