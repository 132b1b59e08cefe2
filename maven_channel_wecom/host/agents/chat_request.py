"""Builds a request of the Chat Completions API. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maven_channel_wecom.contract.messages import FileBlock, ImageBlock
from maven_channel_wecom.host.agents.question_content import conversation, texts_and_attachments
from maven_channel_wecom.host.agents.request_body import DataUrl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maven_channel_wecom.contract.messages import ContentBlock
    from maven_channel_wecom.host.agents.agent import Turn


def chat_request(turn: Turn, model: str) -> dict[str, Any]:
    """Return the request for an answer to a turn, as a stream. Its data URLs are of type DataUrl."""
    return {"model": model, "stream": True, "messages": conversation(turn, _user)}


def _user(blocks: Iterable[ContentBlock], speaker: str) -> dict[str, Any]:
    content = list(texts_and_attachments(blocks, speaker))
    texts = [each for each in content if isinstance(each, str)]
    if len(texts) == len(content):
        # Servers of models that read only text often accept no list of parts.
        return {"role": "user", "content": "\n\n".join(texts)}
    return {"role": "user", "content": [_part(each) for each in content]}


def _part(content: str | ImageBlock | FileBlock) -> dict[str, Any]:
    match content:
        case ImageBlock():
            return {"type": "image_url", "image_url": {"url": DataUrl(content.media_type, content.data)}}
        case FileBlock():
            data = DataUrl(content.media_type, content.data)
            return {"type": "file", "file": {"filename": content.name or "file", "file_data": data}}
    return {"type": "text", "text": content}
