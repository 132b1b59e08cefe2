"""From a callback to the message an agent reads."""

from collections.abc import Iterator, Sequence

import msgspec

from maven_channel_wecom.contract.messages import (
    ContentBlock,
    InboundMessage,
    TextBlock,
    UnavailableBlock,
)
from maven_channel_wecom.protocol.callback import Callback, Item, MediaItem, TextItem

_AT_SIGNS = ("@", "＠")


def normalize(
    callback: Callback,
    media: Sequence[ContentBlock],
    *,
    channel: str,
    received_at: float,
    trail: str,
    mention_names: Sequence[str] = (),
) -> InboundMessage | None:
    """Put a message together; None when it holds nothing at all.

    Args:
        callback: what came in.
        media: one block for each media item of the callback, those of the quote first.
        channel: the name of the channel.
        received_at: seconds since the epoch, used when WeCom gave no time.
        trail: what the log calls the message, so that the host's log lines can be joined with ours.
        mention_names: names of the bot; a mention of one at the start or end of a group text is taken off.
    """
    opened = iter(media)
    blocks = [_quoted(_block(item, opened)) for item in callback.quoted_items]
    words = []
    for item in _without_mentions(callback.items, mention_names) if callback.is_group else callback.items:
        if not isinstance(item, TextItem):
            blocks.append(_block(item, opened))
        elif item.content:
            words.append(item.content)
            blocks.append(TextBlock(text=item.content))
    if not blocks:
        return None
    return InboundMessage(
        channel=channel,
        sender_id=callback.sender_id,
        chat_id=callback.chat_id,
        content="\n".join(words),
        timestamp=callback.created_at if callback.created_at is not None else int(received_at),
        message_id=callback.message_id,
        content_blocks=tuple(blocks),
        transport_meta={
            "bot_id": callback.bot_id,
            "chat_type": "group" if callback.is_group else "single",
            "message_type": callback.type,
            "trail": trail,
        },
    )


def strip_mentions(text: str, names: Sequence[str]) -> str:
    """Take mentions of the given names off the start and the end of a text, and nothing else.

    WeCom sends a mention as plain text, without any mark (100719). At the start it must end where the name ends; at
    the end it may follow a word directly, as real callbacks do.
    """
    mentions = sorted((sign + name for name in names for sign in _AT_SIGNS), key=len, reverse=True)
    start, end = 0, len(text)
    # The same without the white space around it. Nothing is copied on the way: a text may be nothing but mentions.
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
    """Strip every text item; a message that is nothing but a mention keeps it, so that there is one to answer."""
    stripped = [TextItem(strip_mentions(item.content, names)) if isinstance(item, TextItem) else item for item in items]
    empty = all(isinstance(item, TextItem) and not item.content for item in stripped)
    return items if empty else stripped


def _block(item: Item, media: Iterator[ContentBlock]) -> ContentBlock:
    if isinstance(item, TextItem):
        return TextBlock(text=item.content)
    if isinstance(item, MediaItem):
        return next(media)
    return UnavailableBlock(kind=item.type or "unknown", reason="unsupported")


def _quoted(block: ContentBlock) -> ContentBlock:
    return msgspec.structs.replace(block, quoted=True)
