"""Answers to people whom an allow-list refuses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.egress.egress import SendProgress
from maven_channel_wecom.outbound import attempt
from maven_channel_wecom.policy.delivery import ATTEMPT_SECONDS
from maven_channel_wecom.protocol.callback import is_message
from maven_channel_wecom.protocol.reply import markdown_body
from maven_channel_wecom.telemetry import events

if TYPE_CHECKING:
    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.errors import Refusal
    from maven_channel_wecom.outbound import Poster
    from maven_channel_wecom.policy.language import Languages
    from maven_channel_wecom.protocol.callback import Callback
    from maven_channel_wecom.sentences import Sentence
    from maven_channel_wecom.telemetry.events import Emit

REFUSAL_INTERVAL_SECONDS: Final = 3_600.0
"""Time for which a person is not answered again, in seconds. Lower: refused people can make the bot talk more often."""

REMEMBERED_REFUSALS: Final = 10_000
"""Maximum number of people answered in that time; others are refused in silence. Higher: more memory, and more requests
that refused people can cause."""

CONCURRENT_REFUSALS: Final = 20
"""Maximum number of these answers on their way; people refused in that time get theirs to a later message. Higher:
they can open more connections at the same time."""

_EXPLAINED: Final = frozenset({"sender", "group"})


class Refusals:
    """Sends one text to refused people, once an hour each and in one attempt. Nothing of it is stored.

    Args:
        text: the text; if it is empty, nobody is answered.
        poster: makes requests.
        languages: chooses the language for each person.
        emit: receives telemetry events.
        clock: the clock of the channel.
    """

    def __init__(self, text: Sentence, *, poster: Poster, languages: Languages, emit: Emit, clock: Clock) -> None:
        self._text = text
        self._poster = poster
        self._languages = languages
        self._emit = emit
        self._clock = clock
        # The message with which each person was answered and when, in that order.
        self._answered: dict[str, tuple[str, float]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def explanation(self, callback: Callback, refusal: Refusal, *, again: bool = False) -> str | None:
        """Return the text for a refused message, None if its sender gets none. The caller must answer with it.

        The sender then gets no other until the interval is over. `again`: a repeat of the same callback does.
        """
        can_answer = is_message(callback.type) and callback.response_url and refusal in _EXPLAINED
        if not any(self._text) or not can_answer:
            return None
        answered = self._answered_message(callback.sender_id)
        if answered is not None and not (again and answered == callback.message_id):
            return None
        if answered is None:
            if len(self._answered) >= REMEMBERED_REFUSALS or len(self._sending) >= CONCURRENT_REFUSALS:
                return None
            self._answered[callback.sender_id] = callback.message_id, self._clock.now()
            self._emit(events.PersonExplained(message_id=callback.message_id, reason="refused"))
        return self._text.text(self._languages.of_callback(callback))

    def send(self, callback: Callback, content: str) -> None:
        """Begin to answer a refused message through its `response_url`. Never waits."""
        task = asyncio.create_task(self._send(callback, content), name="wecom refusal")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """Cancel the answers on their way."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _answered_message(self, sender_id: str) -> str | None:
        """Return the message with which a person was answered lately, None if they were not."""
        past = self._clock.now() - REFUSAL_INTERVAL_SECONDS
        while self._answered and next(iter(self._answered.values()))[1] <= past:
            del self._answered[next(iter(self._answered))]
        return self._answered.get(sender_id, (None, 0.0))[0]

    async def _send(self, callback: Callback, content: str) -> None:
        await attempt(
            self._poster,
            self._emit,
            callback.response_url,
            markdown_body(content),
            message_id=callback.message_id,
            number=1,
            repeated=False,
            timeout_seconds=ATTEMPT_SECONDS,
            progress=SendProgress(),
        )
