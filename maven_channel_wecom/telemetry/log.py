"""The log lines of a channel: each is a fixed text with fields. docs/operations.md lists them all."""

from __future__ import annotations

import logging
from logging import DEBUG, ERROR, INFO, WARNING
from typing import TYPE_CHECKING, Final, get_args

from maven_channel_wecom.telemetry import events
from maven_channel_wecom.telemetry.log_limit import LogLimit
from maven_channel_wecom.telemetry.trail import is_trail, pseudonym, trail_id

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_BODY_DETAILS: Final[dict[str, str]] = {
    "too_large": "the body is too large",
    "slow": "the body took too long",
    "aborted": "the body ended early or could not be decoded",
    "crowded": "too many bodies are being received",
    "method": "only GET, HEAD and POST are answered",
}
_ONLY_ID: Final = "WeCom sent only a media_id: fetching it needs an access token, which API-mode bots lack"

_PSEUDONYMOUS_FIELDS: Final = frozenset({"sender", "chat"})
_MESSAGE_TYPES: Final = get_args(events.MessageType)
_EVENT_TYPES: Final = get_args(events.EventType)


class LogListener:
    """Writes a log line for each event of one channel. Lines that clients can cause at will are limited by a LogLimit.

    Args:
        channel: the value of the field `channel`.
        listen: registers a listener for one class of events.
        now: returns the time in seconds.
        on_suppressed: called for each line that the LogLimit suppresses.
    """

    def __init__(
        self, channel: str, listen: events.Listen, *, now: Callable[[], float], on_suppressed: Callable[[], object]
    ) -> None:
        self._channel = channel
        self._limit = LogLimit(now, on_suppressed)
        self._listen_to_channel(listen)
        self._listen_to_callbacks(listen)
        self._listen_to_messages(listen)
        self._listen_to_streams(listen)
        self._listen_to_replies(listen)

    def _write(self, level: int, text: str, message_id: str | None = None, /, **fields: object) -> None:
        """Write a line. `sender` and `chat` are passed as ids. If the level is off, no field is computed."""
        if logger.isEnabledFor(level):
            logger.log(level, text, extra={"fields": self._named(message_id, fields)})

    def _write_limited(self, level: int, text: str, message_id: str | None = None, /, **fields: object) -> None:
        """Write a line that clients can cause at will."""
        if logger.isEnabledFor(level):
            if message_id is not None:
                fields = {"message_id": message_id, **fields}
            self._limit.log(logger, level, text, **self._named(message_id, fields))

    def _named(self, message_id: str | None, fields: dict[str, object]) -> dict[str, object]:
        """Return all fields of a line: the channel, the trail of the message, and ids replaced by pseudonyms."""
        named: dict[str, object] = {"channel": self._channel}
        if message_id is not None:
            named["trail"] = trail_id(self._channel, message_id)
        for name, value in fields.items():
            named[name] = pseudonym(str(value)) if name in _PSEUDONYMOUS_FIELDS else value
        return named

    def _listen_to_channel(self, listen: events.Listen) -> None:
        write = self._write

        def listening(event: events.ListeningStarted) -> None:
            # Without the field `channel`, like the original.
            logger.info("wecom callback server listening", extra={"fields": {"port": event.port}})

        def state_changed(event: events.StateChanged) -> None:
            if event.problem is None:
                write(INFO, "wecom state back")
            else:
                write(WARNING, "wecom state away", detail=event.problem)

        def state_operation_ended(event: events.StateOperationEnded) -> None:
            if event.operation == "take_over" and event.failure is not None:
                write(DEBUG, "wecom state unavailable", reason=event.failure)

        listen(events.ListeningStarted, listening)
        listen(events.ChannelStopped, lambda e: write(INFO, "wecom channel stopped", unfinished=e.unfinished))
        listen(events.SettingObsolete, lambda e: write(WARNING, "wecom setting obsolete", key=e.key))
        listen(events.StateChanged, state_changed)
        listen(events.StateOperationEnded, state_operation_ended)

    def _listen_to_callbacks(self, listen: events.Listen) -> None:
        limited = self._write_limited

        def request_rejected(event: events.RequestRejected) -> None:
            if detail := _BODY_DETAILS.get(event.reason):
                limited(WARNING, "wecom callback rejected", reason=event.reason, status=event.status, detail=detail)
            else:
                limited(WARNING, "wecom request rejected", reason=event.reason, status=event.status)

        def rejected(event: events.CallbackInvalid) -> None:
            fields = {"reason": event.reason, "status": event.status, "detail": event.detail}
            limited(WARNING, "wecom callback rejected", **fields)

        listen(events.RequestRejected, request_rejected)
        listen(events.CallbackInvalid, rejected)
        listen(events.CallbackAnswered, self._callback_answered)
        listen(events.CallbackUnavailable, lambda e: limited(ERROR, "wecom callback turned away", reason=e.reason))
        listen(events.CallbackFailed, lambda e: limited(ERROR, "wecom callback failed", error=e.error))
        listen(events.UrlChecked, lambda _: limited(INFO, "wecom callback url checked"))

    def _callback_answered(self, event: events.CallbackAnswered) -> None:
        limited = self._write_limited
        if event.outcome == "accepted":
            self._callback_accepted(event)
        elif event.outcome == "duplicate":
            limited(INFO, "wecom callback repeated", event.message_id)
        elif event.outcome == "refused":
            fields = {"reason": event.reason, "sender": event.sender_id}
            limited(INFO, "wecom callback refused", event.message_id, **fields)
        else:
            limited(ERROR, "wecom callback turned away", event.message_id, reason=event.outcome)

    def _callback_accepted(self, event: events.CallbackAnswered) -> None:
        message_id = event.message_id
        fields: dict[str, object] = {"message_id": message_id}
        if event.kind == "event":
            fields["event"] = event.event if event.event in _EVENT_TYPES else "other_event"
            self._write(INFO, "wecom event acknowledged", message_id, **fields, **event.event_details)
        elif event.type in _MESSAGE_TYPES:
            # A line costs a third as much as its callback, and at `info` the line of the reply is enough.
            fields |= {"type": event.type, "sender": event.sender_id, "chat": event.chat_id}
            self._write(DEBUG, "wecom callback admitted", message_id, **fields)
        elif event.type != "stream":
            self._write_limited(WARNING, "wecom message type unknown", message_id)

    def _listen_to_messages(self, listen: events.Listen) -> None:
        write = self._write

        def recovered(event: events.MessageRecovered) -> None:
            write(INFO, "wecom message taken up", event.message_id, message_id=event.message_id)

        def all_recovered(event: events.MessagesRecovered) -> None:
            write(INFO, "wecom messages taken up", messages=event.messages, over=event.skipped)

        def media_ended(event: events.MediaEnded) -> None:
            if event.outcome == "opened":
                write(DEBUG, "wecom media opened", event.message_id, kind=event.kind)
            else:
                fields = {"kind": event.kind, "reason": event.outcome}
                if detail := _ONLY_ID if event.outcome == "no_url" and event.only_id else event.detail:
                    fields["detail"] = detail
                write(WARNING, "wecom media unavailable", event.message_id, **fields)

        def late(event: events.MessageLate) -> None:
            fields = {"chat": event.chat_id, "type": event.type, "seconds": round(event.seconds)}
            write(WARNING, "wecom message late", event.message_id, **fields)

        def ended(event: events.MessageEnded) -> None:
            if event.outcome == "failed":
                write(ERROR, "wecom message failed", event.message_id, reason=event.reason)
            else:
                write(DEBUG, "wecom message finished", event.message_id, outcome=event.outcome)

        listen(events.EventHookFailed, lambda e: write(ERROR, "wecom event hook failed", e.message_id, error=e.error))
        listen(events.MessageRecovered, recovered)
        listen(events.MessagesRecovered, all_recovered)
        listen(events.RecoveryFailed, lambda e: write(ERROR, "wecom messages not taken up", error=e.error))
        listen(events.MediaEnded, media_ended)
        listen(events.MediaFailed, lambda e: write(ERROR, "wecom media failed", e.message_id, error=e.error))
        listen(
            events.MessageNormalized, lambda e: write(DEBUG, "wecom message normalized", e.message_id, blocks=e.blocks)
        )
        listen(events.MessagePublishing, lambda e: write(DEBUG, "wecom message published", e.message_id))
        listen(events.MessageLate, late)
        listen(events.MessageEnded, ended)
        listen(
            events.MessageGivenUp, lambda e: write(ERROR, "wecom message given up", e.message_id, failures=e.failures)
        )
        listen(events.MessageNotRecorded, lambda e: write(ERROR, "wecom message failed", e.message_id, reason=e.reason))

    def _listen_to_streams(self, listen: events.Listen) -> None:
        def ended(event: events.StreamEnded) -> None:
            if event.outcome == "fetched":
                # At `info` the line of the reply is enough.
                self._write(DEBUG, "wecom stream ended", event.message_id, outcome=event.outcome)
            else:
                self._write(INFO, "wecom stream ended", event.message_id, outcome=event.outcome)

        listen(events.StreamEnded, ended)

    def _listen_to_replies(self, listen: events.Listen) -> None:
        write = self._write

        def attempt_ended(event: events.AttemptEnded) -> None:
            message_id = event.message_id
            if event.failure:
                write(WARNING, "wecom reply failed", message_id, reason=event.failure, detail=event.detail)
            # 0 is success.
            if event.errcode:
                fields = {"errcode": event.errcode, "meaning": event.meaning}
                write(WARNING, "wecom reply not accepted", message_id, **fields)
            write(DEBUG, "wecom reply attempted", message_id, attempt=event.attempt, outcome=event.outcome)

        def retried(event: events.AttemptRetried) -> None:
            write(INFO, "wecom reply retried", event.message_id, reason=event.reason, attempt=event.attempt)

        def ended(event: events.ReplyEnded) -> None:
            fields: dict[str, object] = {"chat": event.chat_id}
            if event.seconds is not None:
                fields["seconds"] = round(event.seconds, 3)
            fields |= {"attempts": event.attempts, "truncated_bytes": event.truncated_bytes}
            if event.outcome == "delivered":
                write(INFO, "wecom reply delivered", event.message_id, **fields)
            elif event.reason == "silent":
                write(DEBUG, "wecom reply withheld", event.message_id, chat=event.chat_id)
            else:
                fields |= {"outcome": event.outcome, "reason": event.reason}
                write(WARNING, "wecom reply not delivered", event.message_id, **fields)

        listen(events.WindowClaimed, lambda e: write(DEBUG, "wecom reply window claimed", e.message_id))

        def feedback_received(event: events.FeedbackReceived) -> None:
            # The trail of the answered message, so that its lines and this one are found together.
            fields: dict[str, object] = {"trail": event.feedback_id} if is_trail(event.feedback_id) else {}
            fields |= {"message_id": event.message_id, "kind": event.kind, "reasons": list(event.reasons)}
            write(INFO, "wecom feedback received", **fields)

        listen(events.FeedbackReceived, feedback_received)
        listen(
            events.PersonExplained,
            lambda e: self._write_limited(INFO, "wecom explanation sent", e.message_id, reason=e.reason),
        )
        listen(events.AttemptEnded, attempt_ended)
        listen(events.AttemptRetried, retried)
        listen(events.ReplyEnded, ended)
        listen(
            events.ReplyNotRecorded, lambda e: write(ERROR, "wecom reply not recorded", e.message_id, reason=e.reason)
        )
