"""An agent that repeats each message, for trying a channel without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maven_channel_wecom.contract.messages import ContentBlock, FileBlock, ImageBlock, TextBlock
from maven_channel_wecom.host.agents.agent import Answer, question

if TYPE_CHECKING:
    from maven_channel_wecom.host.agents.agent import Turn


class EchoAgent:
    """Answers with the user's own text, and one line for each block that is not text."""

    async def answer(self, turn: Turn) -> Answer:
        """Return the echo: first the quoted blocks, marked with `> `, then the others."""
        blocks = question(turn.message)
        quoted = "\n".join(_quote(_echo(block)) for block in blocks if block.quoted)
        own = "\n".join(_echo(block) for block in blocks if not block.quoted)
        return Answer("\n\n".join(part for part in (quoted, own) if part))

    async def close(self) -> None:
        """Do nothing: there are no connections."""


def _echo(block: ContentBlock) -> str:
    match block:
        case TextBlock():
            return block.text
        case ImageBlock():
            return f"[image {block.media_type}, {_size(block.data)} bytes]"
        case FileBlock():
            return f"[file {' '.join(filter(None, (block.name, block.media_type)))}, {_size(block.data)} bytes]"
    return f"[{block.kind} unavailable: {block.reason}]"


def _quote(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines())


def _size(data: str) -> int:
    """Return the number of bytes that base64 text encodes, without decoding it."""
    return len(data) * 3 // 4 - data[-2:].count("=")
