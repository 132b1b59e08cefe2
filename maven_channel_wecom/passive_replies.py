"""What the acknowledgement of a callback shows to the person who caused it, if anything.

WeCom shows a greeting in answer to an entry, and a stream in answer to a message: one that grows, or a finished one
that is a single sentence (101031).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.policy.normalization import explanation
from maven_channel_wecom.policy.stream import stream_id
from maven_channel_wecom.protocol.callback import ENTER_CHAT, is_message
from maven_channel_wecom.protocol.reply import stream_body, welcome_body
from maven_channel_wecom.telemetry import events

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.policy.language import Languages
    from maven_channel_wecom.policy.stream import ProgressMode
    from maven_channel_wecom.protocol.callback import Callback
    from maven_channel_wecom.sentences import Sentence
    from maven_channel_wecom.streams import Streams
    from maven_channel_wecom.telemetry.events import TelemetryEvent


class PassiveReply(msgspec.Struct, frozen=True):
    """The content of an acknowledgement before it is sealed.

    `written` is called once it was written. `reported` is what a first acknowledgement reports, a repeated one not.
    """

    body: bytes
    written: Callable[[], None] | None = None
    reported: TelemetryEvent | None = None

    @property
    def is_visible(self) -> bool:
        """Whether a person sees it."""
        return self.body != SUCCESS.body

    def __repr__(self) -> str:
        return f"<PassiveReply of {len(self.body)} bytes>"


# The Go original acknowledges with the sealed JSON text "success" too. WeCom treats it as an empty reply.
SUCCESS: Final = PassiveReply(b'"success"')


class PassiveReplies:
    """Chooses what acknowledgements show.

    Args:
        channel: the name of the channel.
        progress: what people see of an answer before it is complete.
        progress_text: what is shown in the mode `notice`; empty: nothing.
        welcome_text: the greeting for people who enter the chat; empty: none.
        languages: chooses the language for each person.
        streams: holds the streams of this process.
    """

    def __init__(
        self,
        channel: str,
        *,
        progress: ProgressMode,
        progress_text: Sentence,
        welcome_text: Sentence,
        languages: Languages,
        streams: Streams,
    ) -> None:
        self._channel = channel
        self._progress = progress
        self._progress_text = progress_text
        self._welcome_text = welcome_text
        self._languages = languages
        self._streams = streams

    @property
    def uses_streams(self) -> bool:
        """Whether messages are answered with streams, finished or not, about which WeCom may ask again."""
        return self._progress != "off"

    def explains(self, callback: Callback) -> bool:
        """Return whether the acknowledgement of a message says that it holds nothing for an agent."""
        return self.uses_streams and is_message(callback.type) and explanation(callback) is not None

    def to_event(self, callback: Callback) -> PassiveReply:
        """Return the reply to an event: a greeting for a person who enters the chat, again if the event is repeated."""
        is_entry = callback.event is not None and callback.event.type == ENTER_CHAT
        if not is_entry or not any(self._welcome_text):
            return SUCCESS
        text = self._welcome_text.text(self._languages.of_person(callback.sender_id))
        return PassiveReply(welcome_body(text), reported=events.PersonWelcomed(message_id=callback.message_id))

    def to_message(self, callback: Callback) -> PassiveReply:
        """Return the reply to an admitted message, repeated or not, as far as this process knows its stream."""
        if not self.uses_streams:
            return SUCCESS
        language = self._languages.of_callback(callback)
        if found := explanation(callback):
            reason, sentence = found
            explained = events.PersonExplained(message_id=callback.message_id, reason=reason)
            return msgspec.structs.replace(self.sentence(callback, sentence.text(language)), reported=explained)
        if self._progress == "notice":
            notice = self._progress_text.text(language)
            return self.sentence(callback, notice) if notice else SUCCESS
        frame = self._streams.first_frame(callback)
        return PassiveReply(frame.body, frame.written) if frame else SUCCESS

    def sentence(self, callback: Callback, content: str) -> PassiveReply:
        """Return a reply to a message that is one sentence, in a stream that is finished at once."""
        return PassiveReply(stream_body(stream_id(self._channel, callback.message_id), content, is_last=True))
