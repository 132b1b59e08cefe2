"""The values that cross between host and channel.

No `repr` here shows what a user wrote or sent: values end up in logs and tracebacks by accident.
"""

from typing import Literal

import msgspec

Outcome = Literal["delivered", "undeliverable", "refused", "unknown"]


class _Block(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Common to every content block."""

    quoted: bool = False
    """True when the block belongs to a message the user quoted: context, not the user's own words."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}{' quoted' if self.quoted else ''}>"


class TextBlock(_Block, frozen=True, kw_only=True, tag="text"):
    """Text, or the transcript of a voice message."""

    text: str


class ImageBlock(_Block, frozen=True, kw_only=True, tag="image"):
    """An image. `media_type` such as `image/png`; `data` in standard base64."""

    media_type: str
    data: str


class FileBlock(_Block, frozen=True, kw_only=True, tag="file"):
    """A file. `name` without any folder, possibly empty; `data` in standard base64."""

    media_type: str
    name: str
    data: str


class UnavailableBlock(_Block, frozen=True, kw_only=True, tag="unavailable"):
    """Something the user sent that could not be had. `kind` such as `video`; `reason` a fixed short word."""

    kind: str
    reason: str


ContentBlock = TextBlock | ImageBlock | FileBlock | UnavailableBlock


class InboundMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What a user said in a chat.

    `content` is the user's own words as plain text, without what was quoted; `content_blocks` is everything, quoted
    blocks first, in the order sent. `timestamp` is in seconds since the epoch. `transport_meta` holds facts of the
    transport that an agent may find useful, and never a secret: `chat_type` is `single` or `group`; `trail`, if it is
    there, is what the channel calls the message in its log lines, and belongs into the `metadata` of an answer and into
    the log lines of the host.
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


class OutboundMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What the host wants said in a chat.

    `content` is markdown. `reply_to` is the `message_id` of the inbound message this answers; without it the channel
    picks a way to answer in that chat, if it has one. `metadata` may repeat `chat_type` (`single` or `group`) of the
    inbound message's `transport_meta`: a group may have the id of a person, and only this tells the two apart.
    """

    channel: str
    chat_id: str
    content: str
    reply_to: str | None = None
    metadata: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<OutboundMessage on {self.channel} of {len(self.content)} characters>"


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an outbound message.

    `outcome`: `delivered`; `undeliverable`, it surely did not arrive; `refused`, the platform said no; `unknown`, it
    left and no answer came back. `reason` is a fixed short word, empty when delivered. `attempts` counts requests
    made. `truncated_bytes` counts what was cut off the text to fit.
    """

    outcome: Outcome
    reason: str = ""
    attempts: int = 0
    truncated_bytes: int = 0


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel can do. A host does not deliver on its own account to a `reactive_only` channel."""

    reactions: bool
    file_upload: bool
    reactive_only: bool


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a channel can take messages now; `reasons` says why not, one sentence each."""

    ready: bool
    reasons: tuple[str, ...] = ()
