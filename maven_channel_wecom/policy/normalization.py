"""Normalization of a callback into the message that an agent reads, if it holds anything to read."""

from collections.abc import Iterator, Sequence

import msgspec

from maven_channel_wecom.contract.messages import (
    ContentBlock,
    InboundEvent,
    InboundMessage,
    TextBlock,
    UnavailableBlock,
)
from maven_channel_wecom.errors import ExplanationReason
from maven_channel_wecom.policy.visibility import is_visible
from maven_channel_wecom.protocol.callback import (
    ENTER_CHAT,
    FEEDBACK,
    MESSAGE_TYPES,
    Callback,
    Item,
    MediaItem,
    TextItem,
)
from maven_channel_wecom.sentences import MESSAGE_EMPTY, MESSAGE_TYPE_UNKNOWN, VOICE_EMPTY, Language, Sentence

_AT_SIGNS = ("@", "＠")

_EVENT_KINDS = {ENTER_CHAT: "enter_chat", FEEDBACK: "feedback"}


def normalize(
    callback: Callback,
    media: Sequence[ContentBlock],
    *,
    channel: str,
    received_at: float,
    trail: str,
    language: Language,
    mention_names: Sequence[str] = (),
) -> InboundMessage | None:
    """Return the message for a callback, or None if it would be empty.

    Args:
        callback: the callback.
        media: one block for each media item of the callback; those of the quote come first.
        channel: the name of the channel.
        received_at: the time of arrival in seconds since the epoch, used if WeCom sent no time.
        language: the language of sentences for the sender.
        trail: the trail of the message, so that the host's log lines can be joined with ours.
        mention_names: names of the bot; a mention of one at the start or end of a group text is removed.
    """
    media_blocks = iter(media)
    blocks = [_quoted(_block(item, media_blocks)) for item in callback.quoted_items]
    texts = []
    for item in _without_mentions(callback.items, mention_names) if callback.is_group else callback.items:
        if not isinstance(item, TextItem):
            blocks.append(_block(item, media_blocks))
        elif is_visible(item.content):
            texts.append(item.content)
            blocks.append(TextBlock(text=item.content))
    if not blocks:
        return None
    return InboundMessage(
        channel=channel,
        sender_id=callback.sender_id,
        chat_id=callback.chat_id,
        content="\n".join(texts),
        timestamp=callback.created_at if callback.created_at is not None else int(received_at),
        message_id=callback.message_id,
        content_blocks=tuple(blocks),
        transport_meta={
            "bot_id": callback.bot_id,
            "chat_type": "group" if callback.is_group else "single",
            "message_type": callback.type,
            "language": language,
            "trail": trail,
        },
    )


def normalize_event(callback: Callback, *, channel: str, received_at: float) -> InboundEvent | None:
    """Return the event of a callback for other plugins: an entry or a feedback. None for any other event."""
    event = callback.event
    kind = _EVENT_KINDS.get(event.type) if event else None
    if event is None or kind is None:
        return None
    rating = event.rating
    data: dict[str, str | tuple[str, ...]] = {}
    if rating is not None:
        facts: dict[str, str | tuple[str, ...]] = {
            "rating": rating.kind,
            "feedback_id": rating.id,
            "reasons": rating.reasons,
            "comment": rating.comment,
        }
        data = {name: fact for name, fact in facts.items() if fact}
    return InboundEvent(
        channel=channel,
        kind=kind,
        sender_id=callback.sender_id,
        chat_id=callback.chat_id,
        timestamp=callback.created_at if callback.created_at is not None else int(received_at),
        data=data,
    )


def explanation(callback: Callback) -> tuple[ExplanationReason, Sentence] | None:
    """Return why a message holds nothing for the agent, and the sentence for its sender; None if it holds something."""
    if callback.type not in MESSAGE_TYPES:
        return "unknown_type", MESSAGE_TYPE_UNKNOWN
    if callback.quoted_items or any(
        not isinstance(item, TextItem) or is_visible(item.content) for item in callback.items
    ):
        return None
    return "empty_message", VOICE_EMPTY if callback.type == "voice" else MESSAGE_EMPTY


def strip_mentions(text: str, names: Sequence[str]) -> str:
    """Remove mentions of the given names, with the white space around them, from the start and end of a text.

    WeCom sends a mention as unmarked plain text (100719). A name may be given with its sign. At the start, white space
    or the end of the text must follow the name. At the end, the mention may follow a word directly, as it does in real
    callbacks.
    """
    bare = [name.strip().lstrip("".join(_AT_SIGNS)).strip() for name in names]
    mentions = sorted((sign + name for name in bare if name for sign in _AT_SIGNS), key=len, reverse=True)
    start, end = 0, len(text)
    # `first` and `last` exclude surrounding white space. The text is not copied per mention, because it may consist of
    # thousands of them.
    first, last = _after_space(text, start, end), _before_space(text, start, end)
    while True:
        for mention in mentions:
            after = first + len(mention)
            if text.startswith(mention, first, end) and (after == end or text[after].isspace()):
                start = first = _after_space(text, after, end)
                break
            if text.endswith(mention, start, last):
                end = last = _before_space(text, start, last - len(mention))
                break
        else:
            return text[start:end]


def _after_space(text: str, start: int, end: int) -> int:
    while start < end and text[start].isspace():
        start += 1
    return start


def _before_space(text: str, start: int, end: int) -> int:
    while start < end and text[end - 1].isspace():
        end -= 1
    return end


def _without_mentions(items: Sequence[Item], names: Sequence[str]) -> Sequence[Item]:
    """Strip mentions from every text item. A message of nothing but mentions keeps them, so that it can be answered."""
    stripped = [TextItem(strip_mentions(item.content, names)) if isinstance(item, TextItem) else item for item in items]
    empty = all(isinstance(item, TextItem) and not is_visible(item.content) for item in stripped)
    return items if empty else stripped


def _block(item: Item, media: Iterator[ContentBlock]) -> ContentBlock:
    if isinstance(item, TextItem):
        return TextBlock(text=item.content)
    if isinstance(item, MediaItem):
        return next(media)
    return UnavailableBlock(kind=item.type or "unknown", reason="unsupported")


def _quoted(block: ContentBlock) -> ContentBlock:
    return msgspec.structs.replace(block, quoted=True)
