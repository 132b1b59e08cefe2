"""Values that a host and its channels exchange.

Their `repr` never contains what a user wrote or sent, because values end up in logs and tracebacks by accident.
"""

from typing import Literal

import msgspec

Outcome = Literal["delivered", "undeliverable", "refused", "unknown"]


class _Block(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of the content blocks."""

    quoted: bool = False
    """Whether the block comes from a message that the user quoted, so it is context and not the user's own words."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}{' quoted' if self.quoted else ''}>"


class TextBlock(_Block, frozen=True, kw_only=True, tag="text"):
    """Text, or the transcript of a voice message."""

    text: str


class ImageBlock(_Block, frozen=True, kw_only=True, tag="image"):
    """An image: its `media_type`, such as `image/png`, and its `data` in standard base64."""

    media_type: str
    data: str


class FileBlock(_Block, frozen=True, kw_only=True, tag="file"):
    """A file: its `media_type`, its `name` without a folder (may be empty), and its `data` in standard base64."""

    media_type: str
    name: str
    data: str


class UnavailableBlock(_Block, frozen=True, kw_only=True, tag="unavailable"):
    """A placeholder for an item that could not be loaded.

    `kind` is for example `video`; `reason` is a fixed word. `media_type` is the detected type of the item, such as
    `image/heic`, empty if unknown.
    """

    kind: str
    reason: str
    media_type: str = ""


ContentBlock = TextBlock | ImageBlock | FileBlock | UnavailableBlock


class InboundMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a user sent in a chat.

    `content` is the user's own words as plain text, without quoted text; `content_blocks` is everything, quoted blocks
    first, in the order sent. `timestamp` is in seconds since the epoch. `transport_meta` holds facts about the
    transport that an agent may find useful, never a secret. Its `chat_type` is `single` or `group`. Its optional
    `trail` is the trail that the channel logs with this message; a host copies it to the `metadata` of the answer
    and to its own log lines. Its optional `language`, `zh` or `en`, is that of the person who wrote: a host writes its
    own sentences in it, such as why there is no answer, and copies it to the `metadata` of the answer.
    """

    channel: str
    sender_id: str
    chat_id: str
    content: str
    timestamp: int
    message_id: str
    content_blocks: tuple[ContentBlock, ...] = ()
    transport_meta: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<InboundMessage on {self.channel} of {len(self.content_blocks)} blocks>"


class InboundEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened in a chat and is no message.

    `kind` is `enter_chat` or `feedback`; a channel may have others. `timestamp` is in seconds since the epoch. The
    `data` of a feedback are the `rating` (`accurate`, `inaccurate` or `withdrawn`), the `feedback_id` sent with the
    answer (the trail of the answered message), the `reasons` for a bad rating, and the person's `comment` on it, which
    must not be logged. A fact that is unknown is missing.
    """

    channel: str
    kind: str
    sender_id: str
    chat_id: str
    timestamp: int
    data: dict[str, str | tuple[str, ...]] = {}

    def __repr__(self) -> str:
        return f"<InboundEvent {self.kind} on {self.channel}>"


class OutboundMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that the host sends to a chat.

    `content` is markdown. `reply_to` is the `message_id` of the inbound message that this answers; without it the
    channel chooses a message of the chat to answer, if it can. `metadata` may repeat the `chat_type` (`single` or
    `group`) of the inbound message's `transport_meta`: a group can have the same id as a person, and only the type
    distinguishes them. It may repeat the `language` too, for what the channel adds to the text. With
    `silent` set to `true` nothing is sent, on purpose: the receipt is `undeliverable`, `silent`. Without it a `content`
    with nothing to see is answered by a sentence of the channel.
    """

    channel: str
    chat_id: str
    content: str
    reply_to: str | None = None
    metadata: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<OutboundMessage on {self.channel} of {len(self.content)} characters>"


class OutboundProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a message as far as the agent has written it.

    `content` is markdown: the whole text so far, not what was added since the last progress. `reply_to` is the
    `message_id` of the inbound message being answered. The answer itself follows as an OutboundMessage.
    """

    channel: str
    chat_id: str
    reply_to: str
    content: str

    def __repr__(self) -> str:
        return f"<OutboundProgress on {self.channel} of {len(self.content)} characters>"


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of an outbound message.

    `outcome` is `delivered`; `undeliverable` if the message did not arrive, as far as the platform's answers tell;
    `refused` if the platform rejected it; `unknown` if it may have arrived, for example because the connection broke
    before the platform answered. `reason` is a fixed short word, empty if delivered. `attempts` is the
    number of requests made. `truncated_bytes` is the number of bytes cut off the text to fit the platform's limit.
    """

    outcome: Outcome
    reason: str = ""
    attempts: int = 0
    truncated_bytes: int = 0


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel can do. A `reactive_only` channel only answers: the host uses it only for answers.

    `progress`: it shows an answer while the agent writes it. `welcome`: it greets people who enter the chat, if it is
    configured to. `feedback`: likewise, people can rate its answers. Attributes with a default may be unknown to older
    channels.
    """

    reactions: bool
    file_upload: bool
    reactive_only: bool
    progress: bool = False
    welcome: bool = False
    feedback: bool = False


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a channel can receive messages now; `reasons` holds one sentence for each reason why not."""

    ready: bool
    reasons: tuple[str, ...] = ()
