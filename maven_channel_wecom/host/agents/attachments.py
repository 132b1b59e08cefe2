"""Leaves pictures and files out of what an agent is sent, with a note in place of each. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from maven_channel_wecom.contract.messages import ContentBlock, FileBlock, ImageBlock, UnavailableBlock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from maven_channel_wecom.host.agents.agent import Exchange, RefusedAttachments, Turn

_NOT_ACCEPTED: Final = "this agent does not accept it"


def attachment_kind(blocks: Iterable[ContentBlock]) -> Literal["picture", "file", ""]:
    """Return what is attached; a file only if there is no picture."""
    kinds = {type(block) for block in blocks}
    return "picture" if ImageBlock in kinds else "file" if FileBlock in kinds else ""


def without_attachments(blocks: Iterable[ContentBlock], reason: str) -> tuple[ContentBlock, ...]:
    """Return the blocks with a note that gives the reason in place of each picture and file."""
    return tuple(
        UnavailableBlock(kind="image" if isinstance(block, ImageBlock) else "file", reason=reason, quoted=block.quoted)
        if isinstance(block, ImageBlock | FileBlock)
        else block
        for block in blocks
    )


def kind_in_history(history: Iterable[Exchange]) -> Literal["picture", "file", ""]:
    """Return what is attached to earlier questions, as `attachment_kind`."""
    return attachment_kind(block for exchange in history for block in exchange.question)


def turns_without_attachments(turn: Turn) -> Iterator[tuple[Turn, RefusedAttachments]]:
    """Yield what to ask an agent that refuses a turn, and whose attachments it has refused if it answers that.

    First notes take the place of the pictures and files of the history, then also of those of the message.
    """
    if kind_in_history(turn.history):
        history = tuple(
            msgspec.structs.replace(exchange, question=without_attachments(exchange.question, _NOT_ACCEPTED))
            for exchange in turn.history
        )
        turn = turn._replace(history=history)
        yield turn, "history"
    if attachment_kind(turn.message.content_blocks):
        blocks = without_attachments(turn.message.content_blocks, _NOT_ACCEPTED)
        yield turn._replace(message=msgspec.structs.replace(turn.message, content_blocks=blocks)), "message"
