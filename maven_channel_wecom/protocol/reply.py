"""Replies with content: the body POSTed to a `response_url` with WeCom's answer (101138), and the passive replies."""

import msgspec


class ReplyAnswer(msgspec.Struct, frozen=True):
    """WeCom's answer to one POST. `errcode` 0 means success (90313)."""

    errcode: int


def markdown_body(content: str, *, feedback_id: str = "") -> bytes:
    """Return the request body for `content`: JSON in raw UTF-8, because WeCom rejects Unicode escapes (40033).

    With a `feedback_id`, at most 256 bytes, people can rate the answer, and the event names the id (101027).
    """
    # https://developer.work.weixin.qq.com/document/path/101138
    markdown: dict[str, object] = {"content": content}
    if feedback_id:
        markdown["feedback"] = {"id": feedback_id}
    return msgspec.json.encode({"msgtype": "markdown", "markdown": markdown})


def welcome_body(content: str) -> bytes:
    """Return the passive answer to `enter_chat`, before it is sealed. It is plain text, not markdown."""
    # https://developer.work.weixin.qq.com/document/path/101031
    return msgspec.json.encode({"msgtype": "text", "text": {"content": content}})


def stream_body(stream_id: str, content: str, *, is_last: bool, feedback_id: str = "") -> bytes:
    """Return one frame of a stream, before it is sealed: the whole text so far, as markdown.

    WeCom takes a `feedback_id` from the first frame only (101031).
    """
    # https://developer.work.weixin.qq.com/document/path/101031
    stream: dict[str, object] = {"id": stream_id, "finish": is_last, "content": content}
    if feedback_id:
        stream["feedback"] = {"id": feedback_id}
    return msgspec.json.encode({"msgtype": "stream", "stream": stream})


def read_answer(body: bytes) -> ReplyAnswer | None:
    """Parse the body of an answer. Return None if it is not WeCom's JSON, such as a proxy's HTML page."""
    try:
        return msgspec.json.decode(body, type=ReplyAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
