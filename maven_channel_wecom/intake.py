"""What becomes of a callback that opened: admitted into the state and the inbox, or not."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.inbox import AdmittedCallback
from maven_channel_wecom.later import Later, settled
from maven_channel_wecom.policy import admission, reply_window
from maven_channel_wecom.protocol.callback import EVENT, EVENT_TYPES, MESSAGE_TYPES, STREAM
from maven_channel_wecom.state.port import KeptCallback

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.callback_log import CallbackLog
    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.inbox import Inbox
    from maven_channel_wecom.metrics.series import ChannelMetrics
    from maven_channel_wecom.policy.admission import AdmissionRules
    from maven_channel_wecom.protocol.callback import Callback
    from maven_channel_wecom.state.port import StateStore


class Intake:
    """Admits the callbacks of one channel. Only what is in the state is acknowledged.

    Args:
        rules: who may talk to the bot.
        inbox: where messages go.
        state: where they are kept.
        metrics: the channel's.
        clock: the channel's.
        log: the channel's.
    """

    def __init__(
        self,
        rules: AdmissionRules,
        *,
        inbox: Inbox,
        state: StateStore,
        metrics: ChannelMetrics,
        clock: Clock,
        log: CallbackLog,
    ) -> None:
        self._rules = rules
        self._inbox = inbox
        self._state = state
        self._metrics = metrics
        self._clock = clock
        self._log = log

    @property
    def is_full(self) -> bool:
        """Whether there is no place for another message."""
        return self._inbox.is_full

    def take(self, callback: Callback, message: bytes) -> str | Later[str]:
        """Admit a callback, for which `is_full` said that there is a place, and return the outcome."""
        if callback.type == STREAM:
            # WeCom asks for more of an answer streamed by passive reply, which this channel never starts.
            self._metrics.count_inbound_message("stream", "unsupported")
            return "accepted"
        if refused := admission.refusal(callback, self._rules):
            self._log.refused(callback, refused)
            return "refused"
        if callback.type == EVENT:
            return Later(asyncio.ensure_future(self._admit_event(callback, message))).then(_outcome)
        if callback.type not in MESSAGE_TYPES:
            self._metrics.count_inbound_message("unknown", "unsupported")
            self._log.unknown_type(callback)
            return "accepted"
        return self._admit_message(callback, message)

    def _admit_message(self, callback: Callback, message: bytes) -> str | Later[str]:
        now = self._clock.now()
        kept = KeptCallback(callback.message_id, callback.chat_id, now, message)
        try:
            new = self._state.admit(kept, reply_window.open_window(callback, now), now)
        except StateUnavailable as unavailable:
            return unavailable.reason
        if isinstance(new, Later):
            self._inbox.reserve()
            return new.then(partial(self._admit_message_later, callback, now))
        return self._put(callback, now, new=new)

    def _admit_message_later(self, callback: Callback, now: float, result: Callable[[], bool]) -> str:
        self._inbox.give_back()
        return _outcome(lambda: self._put(callback, now, new=result()))

    def _put(self, callback: Callback, now: float, *, new: bool) -> str:
        if not new:
            return self._duplicate(callback)
        self._log.admitted(callback)
        self._inbox.put(AdmittedCallback(callback, now))
        return "accepted"

    async def _admit_event(self, callback: Callback, message: bytes) -> str:
        now = self._clock.now()
        kept = KeptCallback(callback.message_id, callback.chat_id, now, message)
        if not await settled(self._state.admit(kept, None, now)):
            return self._duplicate(callback)
        event = callback.event
        type_ = event.type if event and event.type in EVENT_TYPES else "other_event"
        self._metrics.count_inbound_message(type_, "acknowledged")
        self._log.event_acknowledged(callback, type_, event.details if event else {})
        await self._state.finish(callback.message_id, now)
        return "accepted"

    def _duplicate(self, callback: Callback) -> str:
        self._metrics.dedup_hits.inc()
        self._log.repeated(callback)
        return "duplicate"


def _outcome(result: Callable[[], str]) -> str:
    """Return the outcome of a callback that the state took, or did not, or not in time."""
    try:
        return result()
    except StateUnavailable as unavailable:
        return unavailable.reason
    except TimeoutError:
        return StateUnavailable.reason
