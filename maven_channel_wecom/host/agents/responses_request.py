"""Builds a request of the Responses API. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maven_channel_wecom.contract.messages import FileBlock, ImageBlock
from maven_channel_wecom.host.agents.question_content import conversation, texts_and_attachments
from maven_channel_wecom.host.agents.request_body import DataUrl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maven_channel_wecom.contract.messages import ContentBlock
    from maven_channel_wecom.host.agents.agent import Turn


def responses_request(turn: Turn, model: str) -> dict[str, Any]:
    """Return the request for an answer to a turn, as a stream. Its data URLs are of type DataUrl."""
    request = {"model": model, "stream": True, "input": conversation(turn, _user)}
    return request | ({"previous_response_id": turn.previous_response_id} if turn.previous_response_id else {})


def _user(blocks: Iterable[ContentBlock], speaker: str) -> dict[str, Any]:
    return {"role": "user", "content": [_part(each) for each in texts_and_attachments(blocks, speaker)]}


def _part(content: str | ImageBlock | FileBlock) -> dict[str, Any]:
    match content:
        case ImageBlock():
            return {"type": "input_image", "detail": "auto", "image_url": DataUrl(content.media_type, content.data)}
        case FileBlock():
            data = DataUrl(content.media_type, content.data)
            return {"type": "input_file", "filename": content.name or "file", "file_data": data}
    return {"type": "input_text", "text": content}
