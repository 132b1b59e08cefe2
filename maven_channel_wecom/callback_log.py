"""What the log says about callbacks. Strangers can cause most of it, so most of it passes the limit."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from maven_channel_wecom.trail import Trail, pseudonym, trail_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maven_channel_wecom.errors import CallbackRejected
    from maven_channel_wecom.log_limit import LogLimit
    from maven_channel_wecom.protocol.callback import Callback

logger = logging.getLogger(__name__)


class CallbackLog:
    """Writes what became of the callbacks of one channel."""

    def __init__(self, channel: str, limit: LogLimit) -> None:
        self._channel = channel
        self._limit = limit
        self._trail = Trail(channel, logger)

    def admitted(self, callback: Callback) -> None:
        """A new message is in the state and in the inbox."""
        # A line costs a third of what the callback costs; at `info` the receipt tells who was answered, and when.
        if logger.isEnabledFor(logging.DEBUG):
            message_id = callback.message_id
            sender, chat = pseudonym(callback.sender_id), pseudonym(callback.chat_id)
            self._trail.step(
                logging.DEBUG,
                "wecom callback admitted",
                message_id,
                message_id=message_id,
                type=callback.type,
                sender=sender,
                chat=chat,
            )

    def event_acknowledged(self, callback: Callback, type_: str, details: Mapping[str, object]) -> None:
        """An event is over with its acknowledgement."""
        message_id = callback.message_id
        self._trail.step(
            logging.INFO, "wecom event acknowledged", message_id, message_id=message_id, event=type_, **details
        )

    def repeated(self, callback: Callback) -> None:
        """A callback was claimed before."""
        self._log(logging.INFO, "wecom callback repeated", callback)

    def refused(self, callback: Callback, reason: str) -> None:
        """Somebody or something is not on a list."""
        self._log(logging.INFO, "wecom callback refused", callback, reason=reason, sender=pseudonym(callback.sender_id))

    def unknown_type(self, callback: Callback) -> None:
        """WeCom has a new type of message, or says so."""
        self._log(logging.WARNING, "wecom message type unknown", callback)

    def turned_away(self, reason: str, callback: Callback | None = None) -> None:
        """WeCom is asked to come again: one of UNAVAILABILITIES."""
        self._log(logging.ERROR, "wecom callback turned away", callback, reason=reason)

    def rejected(self, rejection: CallbackRejected) -> None:
        """It is no callback of ours."""
        reason, status, detail = rejection.reason, rejection.status, str(rejection)
        self._log(logging.WARNING, "wecom callback rejected", reason=reason, status=status, detail=detail)

    def failed(self, error: Exception) -> None:
        """A bug of ours; its text stays out, as it may hold what a user wrote."""
        self._log(logging.ERROR, "wecom callback failed", error=type(error).__name__)

    def url_checked(self) -> None:
        """The console saved the URL."""
        self._log(logging.INFO, "wecom callback url checked")

    def _log(self, level: int, event: str, callback: Callback | None = None, **fields: object) -> None:
        named: dict[str, object] = {"channel": self._channel}
        if callback is not None:
            named |= {"trail": trail_id(self._channel, callback.message_id), "message_id": callback.message_id}
        self._limit.log(logger, level, event, **named, **fields)
