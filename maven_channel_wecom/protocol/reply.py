"""The active reply: what is POSTed to a `response_url`, and what comes back (101138)."""

import msgspec


class ReplyAnswer(msgspec.Struct, frozen=True):
    """WeCom's verdict on one POST. `errcode` 0 is success (90313)."""

    errcode: int


def markdown_body(content: str) -> bytes:
    """Return the body that says `content`: plain JSON in raw UTF-8, as unicode escapes are refused (40033)."""
    # https://developer.work.weixin.qq.com/document/path/101138
    return msgspec.json.encode({"msgtype": "markdown", "markdown": {"content": content}})


def read_answer(body: bytes) -> ReplyAnswer | None:
    """Read the body of an answer; None when it is not WeCom's JSON, such as the HTML page of a proxy."""
    try:
        return msgspec.json.decode(body, type=ReplyAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
