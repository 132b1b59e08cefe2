"""The request of the Chat Completions API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter

from maven_channel_wecom.contract.messages import ContentBlock, FileBlock, ImageBlock, TextBlock, UnavailableBlock
from maven_channel_wecom.host.agents.agent import Exchange, Turn
from maven_channel_wecom.host.agents.chat_request import chat_request
from maven_channel_wecom.host.agents.request_body import RequestBody
from tests.host.fake_channel import message

if TYPE_CHECKING:
    from collections.abc import Sequence

IMAGE = ImageBlock(media_type="image/png", data="aGk=")
FILE = FileBlock(media_type="application/pdf", name="a.pdf", data="aGk=")


def request(*blocks: ContentBlock, history: Sequence[Exchange] = (), speaker: str = "") -> dict[str, Any]:
    asked = msgspec.structs.replace(message("content"), content_blocks=blocks)
    turn = Turn(asked, "session", history=tuple(history), speaker=speaker)
    decoded: dict[str, Any] = json.loads(b"".join(RequestBody(chat_request(turn, "maven")).pieces()))
    return decoded


@pytest.mark.parametrize(
    ("blocks", "content"),
    [
        ((), "content"),
        ((TextBlock(text="one"), TextBlock(text="two")), "one\n\ntwo"),
        (
            (UnavailableBlock(kind="video", reason="unsupported"),),
            "[The user sent a video that could not be passed on (unsupported)]",
        ),
        (
            (TextBlock(text="look"), IMAGE),
            [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
            ],
        ),
        (
            (FILE,),
            [{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}}],
        ),
        (
            (msgspec.structs.replace(FILE, name=""),),
            [{"type": "file", "file": {"filename": "file", "file_data": "data:application/pdf;base64,aGk="}}],
        ),
    ],
    ids=["no blocks", "texts", "unavailable", "image", "file", "nameless file"],
)
def test_a_message_is_text_unless_it_has_attachments(blocks: tuple[ContentBlock, ...], content: object) -> None:
    """Many servers accept no list of parts for a model that reads only text."""
    assert request(*blocks) == {
        "model": "maven",
        "stream": True,
        "messages": [{"role": "user", "content": content}],
    }


def test_earlier_exchanges_come_first_with_their_speakers() -> None:
    history = [Exchange(question=(TextBlock(text="one"), IMAGE), answer="two", speaker="A")]
    first, second, third = request(TextBlock(text="three"), history=history, speaker="B")["messages"]
    assert [part.get("text", part["type"]) for part in first["content"]] == ["[Message from A]", "one", "image_url"]
    assert second == {"role": "assistant", "content": "two"}
    assert third == {"role": "user", "content": "[Message from B]\n\nthree"}


def test_a_request_is_valid_for_servers_that_check_it_with_the_types_of_the_openai_sdk() -> None:
    history = [Exchange(question=(TextBlock(text="a", quoted=True), IMAGE, FILE), answer="b", speaker="A")]
    whole = request(TextBlock(text="a"), IMAGE, FILE, history=history, speaker="B")
    # It validates lists of parts when they are read, and must exist until then.
    adapter: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsStreaming)
    checked = adapter.validate_python(whole)
    assert [list_of(each) for each in checked["messages"]] == whole["messages"]


def list_of(value: Any) -> Any:  # noqa: ANN401 - a message of the SDK
    content = value["content"]
    return {**value, "content": content if isinstance(content, str) else list(content)}
