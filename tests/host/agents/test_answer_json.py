"""Reading JSON of an agent, and what its errors say."""

from __future__ import annotations

import pytest

from maven_channel_wecom.host.agents.agent import AgentError
from maven_channel_wecom.host.agents.answer_json import (
    CONTEXT_LENGTH_EXCEEDED,
    decode,
    decode_object,
    error_code,
    error_texts,
    log_code,
    names_context_length,
    required_parameter,
)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": {"code": "rate_limit", "type": "other"}}', "rate_limit"),
        (b'{"error": {"code": 1301}}', "1301"),
        (b'{"error": {"type": "overloaded", "message": "canary-key-4711"}}', "overloaded"),
        (b'{"error": "busy"}', "busy"),
        (b'{"error": "canary-key-4711 is wrong"}', ""),
        (b'{"object": "error", "code": 400, "message": "canary-key-4711"}', "400"),
        (b'{"error": {"message": "canary-key-4711"}, "code": "busy"}', "busy"),
        (b"<html>", ""),
        (b"[]", ""),
    ],
)
def test_an_error_has_a_code_only_if_it_is_one_word(body: bytes, code: str) -> None:
    assert error_code(body) == code


@pytest.mark.parametrize(
    "error",
    [
        {"code": "context_length_exceeded"},
        {"code": 400, "type": "exceed_context_size_error"},
        {"code": "model_context_window_exceeded"},
    ],
    ids=["OpenAI", "llama.cpp", "Anthropic"],
)
def test_an_error_because_of_the_length_of_the_context_has_one_code(error: object) -> None:
    assert log_code(error) == CONTEXT_LENGTH_EXCEEDED


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"This model's maximum context length is 8192 tokens. However, you requested 9000.", True),
        (b"the request exceeds the available context size, try increasing it", True),
        (b"prompt is too long: 210000 tokens > 200000 maximum", True),
        (b"Your request exceeded model token limit: 8192", True),
        (b"Range of input length should be [1, 30720]", True),
        (b"Total tokens of image and text exceed max message tokens", True),
        (b"`inputs` tokens + `max_tokens` must be <= 4096", True),
        (b"the model is not there", False),
        (b"The request took too long", False),
        (b"invalid token", False),
    ],
    ids=lambda value: None if isinstance(value, bool) else value[:12].decode(),
)
def test_the_words_for_a_context_that_is_too_long_are_known(body: bytes, *, names: bool) -> None:
    assert names_context_length(body) is names


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        (b'{"error": {"code": 5, "type": "t", "param": "p", "message": "m"}}', ["t", "p", "m"]),
        (b'{"object": "error", "code": "c", "message": "m"}', ["c", "m"]),
        (b'{"detail": "d"}', ["d"]),
        (b'{"error": "e"}', ["e"]),
        (b'{"input": [{"image_url": "echoed"}]}', []),
        (b'<html><link rel="icon" type="image/png">', []),
        (b"[]", []),
    ],
    ids=range(7),
)
def test_the_texts_of_an_error_are_those_of_its_json(body: bytes, texts: list[str]) -> None:
    assert error_texts(body) == texts


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"error": {"message": "Missing required parameter: \'messages\'.", "param": "messages"}}', "messages"),
        (b'{"detail": [{"type": "missing", "loc": ["body", "messages"], "input": {}}]}', "messages"),
        (rb'{"message": "[{\'type\': \'missing\', \'loc\': (\'body\', \'messages\')}]"}', "messages"),
        (b"Failed to deserialize the JSON body: missing field `messages` at line 1", "messages"),
        (rb'{"error": "\"messages\" is required"}', "messages"),
        (b'{"error": {"message": "Missing required parameter: \'input\'."}}', "input"),
        (b'{"detail": [{"type": "missing", "loc": ["body", "input"], "input": {"model": "m"}}]}', "input"),
        (b'{"detail": [{"type": "missing", "loc": ["body", "model"], "input": {"model": "m"}}]}', ""),
        (b'{"error": {"message": "\'messages\' are too long"}}', ""),
        (b'{"error": {"message": "the key is missing from your messages"}}', ""),
        (b"", ""),
    ],
    ids=range(11),
)
def test_an_error_may_name_the_parameter_that_an_api_requires(body: bytes, name: str) -> None:
    """The servers: OpenAI, FastAPI, vLLM, DeepSeek, others."""
    assert required_parameter(body) == name


@pytest.mark.parametrize("data", [b"", b"{", b"<html>", b"[" * 40_000])
def test_what_is_no_json_is_malformed(data: bytes) -> None:
    with pytest.raises(AgentError, match="malformed") as caught:
        decode(data)
    # A log shows the causes of an error too.
    assert caught.value.__cause__ is None


def test_an_answer_must_be_an_object() -> None:
    assert decode_object(rb'{"a": "\ud800"}') == {"a": "\ufffd"}
    with pytest.raises(AgentError, match="malformed"):
        decode_object(b"[]")
