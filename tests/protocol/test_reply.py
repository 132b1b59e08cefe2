"""The body of a reply, and the parsing of WeCom's answer."""

import json

import pytest

from maven_channel_wecom.protocol import reply


def test_a_body_is_json_in_raw_utf_8() -> None:
    """WeCom rejects Unicode escapes (90313, 40033)."""
    body = reply.markdown_body('**好** "quoted"\n')
    assert json.loads(body) == {"msgtype": "markdown", "markdown": {"content": '**好** "quoted"\n'}}
    assert "好".encode() in body


def test_a_welcome_is_a_passive_text() -> None:
    assert json.loads(reply.welcome_body("你好")) == {"msgtype": "text", "text": {"content": "你好"}}


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        pytest.param(b'{"errcode":0,"errmsg":"ok"}', 0, id="ok"),
        pytest.param(b'{"errcode":-1}', -1, id="busy"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"<html></html>", None, id="html"),
        pytest.param(b"{}", None, id="no-code"),
        pytest.param(b'{"errcode":"0"}', None, id="a-text"),
        pytest.param(b"\xff", None, id="not-utf-8"),
        pytest.param(b'{"errcode":0,"errmsg":"\xff"}', 0, id="errmsg-in-another-encoding"),
        pytest.param(b"[" * 100_000, None, id="deep"),
        pytest.param(b'{"a":' * 100_000, None, id="deep-objects"),
    ],
)
def test_only_an_integer_errcode_is_an_answer(body: bytes, errcode: int | None) -> None:
    """A body without one is not from WeCom."""
    answer = reply.read_answer(body)
    assert (answer.errcode if answer else None) == errcode


def test_a_body_with_a_feedback_id_can_be_rated() -> None:
    body = json.loads(reply.markdown_body("hello", feedback_id="0123456789ab"))
    assert body == {"msgtype": "markdown", "markdown": {"content": "hello", "feedback": {"id": "0123456789ab"}}}
