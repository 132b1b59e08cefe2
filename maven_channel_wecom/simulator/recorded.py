"""Records replies, bubbles, acknowledgements, downloads and offences, and notifies listeners of what people see."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import msgspec

from maven_channel_wecom.simulator.offences import Offence

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.simulator.bubbles import Bubble, BubbleFrame
    from maven_channel_wecom.simulator.exchanges import HttpExchange
    from maven_channel_wecom.simulator.offences import OffenceKind

AcknowledgementForm = Literal["success", "empty_body", "empty_object", "welcome", "stream"]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One POST to a `response_url`.

    `content` is the markdown or the JSON of a template card, and empty if the body is neither. `after_seconds` counts
    from the creation of the callback. `feedback_id` is empty if the reply cannot be rated.
    """

    message_id: str
    content: str
    after_seconds: float
    accepted: bool
    feedback_id: str = ""

    def __repr__(self) -> str:
        return f"<Reply {'accepted' if self.accepted else 'not accepted'}, {len(self.content.encode())} bytes>"


class Recorded:
    """Everything recorded so far, in order of arrival.

    Attributes:
        offences: the broken rules.
        attempts: every POST to a known `response_url` whose request was read.
        replies: the accepted attempts.
        bubbles: the bubble of each message that was answered with a stream, by message id.
        feedback_ids: what people can rate, oldest first.
        posts: the number of POSTs for each message id, including those that were cut off before reading.
        acknowledged_ids: the messages answered with status 200, which WeCom does not send again.
        acknowledgements: the number of answers with each form; refreshes of open streams are not counted.
        media_requests: the number of download requests for each message id.
        listeners: called with each offence, each attempt and each change of a bubble when it is recorded.
        observers: called with each request and its answer once it is over. Nothing of them is kept here.
    """

    def __init__(self) -> None:
        self.offences: list[Offence] = []
        self.attempts: list[Reply] = []
        self.replies: list[Reply] = []
        self.bubbles: dict[str, Bubble] = {}
        self.feedback_ids: list[str] = []
        self.posts: Counter[str] = Counter()
        self.acknowledged_ids: set[str] = set()
        self.acknowledgements: Counter[AcknowledgementForm] = Counter()
        self.media_requests: Counter[str] = Counter()
        self.listeners: list[Callable[[Offence | Reply | BubbleFrame], None]] = []
        self.observers: list[Callable[[HttpExchange], None]] = []

    def offence(self, kind: OffenceKind, message_id: str = "") -> None:
        """Record an offence."""
        offence = Offence(kind, message_id)
        self.offences.append(offence)
        self._notify(offence)

    def attempt(self, reply: Reply) -> None:
        """Record a POST to a `response_url`, accepted or not."""
        self.attempts.append(reply)
        if reply.accepted:
            self.replies.append(reply)
            if reply.feedback_id:
                self.feedback_ids.append(reply.feedback_id)
        self._notify(reply)

    def change(self, bubble: Bubble, frame: BubbleFrame) -> None:
        """Record a change of a bubble."""
        if bubble.feedback_id and frame is bubble.frames[0]:
            self.feedback_ids.append(bubble.feedback_id)
        self._notify(frame)

    def exchange(self, exchange: HttpExchange) -> None:
        """Pass a request and its answer to the observers."""
        for observer in self.observers:
            observer(exchange)

    def forget(self, message_id: str) -> None:
        """Drop the texts that the bot sent for one message. Counts and offences are kept.

        So is a bubble that still grows: the next frame would open another one, which refreshes would never finish.
        """
        if (bubble := self.bubbles.get(message_id)) and bubble.is_finished:
            del self.bubbles[message_id]
        self.attempts = [attempt for attempt in self.attempts if attempt.message_id != message_id]
        self.replies = [reply for reply in self.replies if reply.message_id != message_id]

    def replies_to(self, message_id: str) -> list[Reply]:
        """Return the accepted replies to one message."""
        return [reply for reply in self.replies if reply.message_id == message_id]

    def _notify(self, item: Offence | Reply | BubbleFrame) -> None:
        for listener in self.listeners:
            listener(item)
