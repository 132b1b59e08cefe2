"""What is known about each message that a person sent: requests, answers, replies and offences."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.protocol import limits
from maven_channel_wecom.simulator.exchanges import ReplyExchange

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.exchanges import CallbackExchange, HttpExchange
    from maven_channel_wecom.simulator.offences import OffenceKind

MAX_REFRESHES: Final = 400
"""Maximum number of refreshes that are kept of a message: six minutes of one a second. Lower: the first ones of a long
answer are missing. Higher: more memory."""


@dataclass(kw_only=True)
class MessageRecord:
    """What travelled for one message or event.

    Attributes:
        sent_at: when it was sent, in seconds since the epoch.
        has_window: whether it came with a `response_url`.
        fault: the name of the fault that was armed for it, empty for none.
        callbacks: the callback, and its repetitions.
        refreshes: the newest refreshes of its stream.
        refresh_count: the number of all refreshes.
        replies: the POSTs to its `response_url`.
        offences: the rules that were broken.
        spent_after: seconds from its callback to the reply that was accepted, None if there was none.
        downloads: the number of downloads of its media.
        size_bytes: the size of callbacks, refreshes and replies with their answers.
    """

    sent_at: float
    has_window: bool
    fault: str = ""
    callbacks: list[CallbackExchange] = field(default_factory=list)
    refreshes: deque[CallbackExchange] = field(default_factory=deque)
    refresh_count: int = 0
    replies: list[ReplyExchange] = field(default_factory=list)
    offences: list[OffenceKind] = field(default_factory=list)
    spent_after: float | None = None
    downloads: int = 0
    size_bytes: int = 0

    @property
    def window_ends_at(self) -> float:
        """The end of the reply window, in seconds since the epoch."""
        return self.sent_at + limits.RESPONSE_URL_SECONDS

    def add(self, exchange: HttpExchange) -> None:
        """Record a request and its answer."""
        self.size_bytes += _size_bytes(exchange)
        if isinstance(exchange, ReplyExchange):
            self.replies.append(exchange)
        elif exchange.kind == "refresh":
            self.refreshes.append(exchange)
            self.refresh_count += 1
            if len(self.refreshes) > MAX_REFRESHES:
                self.size_bytes -= _size_bytes(self.refreshes.popleft())
        else:
            self.callbacks.append(exchange)


def _size_bytes(exchange: HttpExchange) -> int:
    if isinstance(exchange, ReplyExchange):
        return len(exchange.body) + len(exchange.answer)
    sent = len(exchange.plaintext) + len(exchange.request.query) + len(exchange.request.body)
    return sent + len(exchange.answer.body) + len(exchange.opened or b"")
