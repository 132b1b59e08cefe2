"""The JSON of a request of the Responses API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from openai.types.responses.response_input_item_param import ResponseInputItemParam
from pydantic import TypeAdapter

from maven_channel_wecom.contract.messages import ContentBlock, FileBlock, ImageBlock, TextBlock, UnavailableBlock
from maven_channel_wecom.host.agents.agent import Exchange
from maven_channel_wecom.host.agents.request_body import RequestBody
from maven_channel_wecom.host.agents.responses_request import responses_request
from tests.host.fake_channel import message, turn

if TYPE_CHECKING:
    from maven_channel_wecom.host.agents.agent import Turn


def turn_with(*blocks: ContentBlock) -> Turn:
    return turn(msgspec.structs.replace(message("content"), content_blocks=blocks))


def body_of(asked: Turn, model: str) -> RequestBody:
    return RequestBody(responses_request(asked, model))


def content_of(body: RequestBody) -> list[dict[str, Any]]:
    (part,) = json.loads(b"".join(body.pieces()))["input"]
    content: list[dict[str, Any]] = part["content"]
    return content


@pytest.mark.parametrize(
    ("blocks", "content"),
    [
        (
            (TextBlock(text="look"), ImageBlock(media_type="image/png", data="aGk=")),
            [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,aGk="},
            ],
        ),
        (
            (FileBlock(media_type="application/pdf", name="a.pdf", data="aGk="),),
            [{"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}],
        ),
        (
            (FileBlock(media_type="application/pdf", name="", data="aGk="),),
            [{"type": "input_file", "filename": "file", "file_data": "data:application/pdf;base64,aGk="}],
        ),
        (
            (UnavailableBlock(kind="video", reason="unsupported"),),
            [
                {
                    "type": "input_text",
                    "text": "[The user sent a video that could not be passed on (unsupported)]",
                }
            ],
        ),
        (
            (UnavailableBlock(kind="image", reason="not_an_image", media_type="image/heic"),),
            [
                {
                    "type": "input_text",
                    "text": "[The user sent a picture that could not be passed on "
                    "(not_an_image, its type is image/heic)]",
                }
            ],
        ),
        ((), [{"type": "input_text", "text": "content"}]),
    ],
    ids=["image", "file", "nameless file", "unavailable", "of a known type", "no blocks"],
)
def test_each_block_is_a_content_part(blocks: tuple[ContentBlock, ...], content: list[dict[str, str]]) -> None:
    assert content_of(body_of(turn_with(*blocks), "maven")) == content


IMAGE = ImageBlock(media_type="image/png", data="aGk=")
FILE = FileBlock(media_type="application/pdf", name="a.pdf", data="aGk=")


def test_a_request_is_valid_for_servers_that_check_it_with_the_types_of_the_openai_sdk() -> None:
    """Servers such as vLLM and LMDeploy do, and answer 422 to a request that is not."""
    quoted = msgspec.structs.replace(IMAGE, quoted=True)
    blocks = (TextBlock(text="a", quoted=True), quoted, TextBlock(text="b"), IMAGE, FILE)
    asked = turn_with(*blocks)._replace(history=(Exchange(question=(IMAGE, FILE), answer="a"),), speaker="member-1")
    request = json.loads(b"".join(body_of(asked._replace(previous_response_id="resp_1"), "maven").pieces()))
    assert TypeAdapter(list[ResponseInputItemParam]).validate_python(request["input"]) == request["input"]
    adapter: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsStreaming)
    assert adapter.validate_python(request).keys() == request.keys()


def test_earlier_exchanges_precede_the_message() -> None:
    earlier = Exchange(question=(TextBlock(text="look"), IMAGE), answer='a "cat"')
    asked = turn_with(TextBlock(text="and now?"))._replace(history=(earlier,))
    request = json.loads(b"".join(body_of(asked, "maven").pieces()))
    question, answer, message_item = request["input"]
    assert [part["type"] for part in question.pop("content")] == ["input_text", "input_image"]
    assert question == {"role": "user"}
    assert answer == {"role": "assistant", "content": 'a "cat"'}
    assert message_item == {"role": "user", "content": [{"type": "input_text", "text": "and now?"}]}
    assert "previous_response_id" not in request


def test_the_agent_is_told_who_speaks_in_each_message_of_a_group() -> None:
    earlier = Exchange(question=(TextBlock(text="hi"),), answer="hello", speaker="member-1")
    asked = turn_with(TextBlock(text="and I?"))._replace(history=(earlier,), speaker="member-2")
    request = json.loads(b"".join(body_of(asked, "maven").pieces()))
    spoken = [[part["text"] for part in item["content"]] for item in request["input"] if item["role"] == "user"]
    assert spoken == [["[Message from member-1]", "hi"], ["[Message from member-2]", "and I?"]]


def test_a_request_continues_from_the_previous_response() -> None:
    asked = turn_with()._replace(previous_response_id="resp_1")
    assert json.loads(b"".join(body_of(asked, "maven").pieces()))["previous_response_id"] == "resp_1"
