"""Judges the form of a POST to a `response_url` (101138), as a pure function.

`replies` decides whether it arrives in time and for the first time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from maven_channel_wecom.protocol import errcodes, limits

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.offences import OffenceKind

# 90313 "invalid parameter": bad JSON, wrong method.
_INVALID_PARAMETER = 40_058

_ERRCODES: Final[dict[OffenceKind, int]] = {
    "unknown_code": errcodes.RESPONSE_CODE_INVALID,
    "late": errcodes.RESPONSE_CODE_INVALID,
    "second_use": errcodes.RESPONSE_CODE_INVALID,
    "encrypted_body": errcodes.INVALID_MESSAGE_TYPE,
    "wrong_message_type": errcodes.INVALID_MESSAGE_TYPE,
    "card_in_group": errcodes.INVALID_MESSAGE_TYPE,
    "escaped_characters": errcodes.INVALID_CHARACTERS,
    "empty": errcodes.EMPTY_CONTENT,
    "oversized": errcodes.CONTENT_TOO_LONG,
}

# Only control characters need a \u escape. WeCom refuses all other \u escapes.
_NEEDLESS_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u(?!00[01][0-9a-fA-F]|007[fF])[0-9a-fA-F]{4}")


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """One POST. `body` is None if it exceeded the size limit of the HTTP server."""

    method: str
    content_type: str
    charset: str | None
    body: bytes | None

    def __repr__(self) -> str:
        return f"<Posted {self.method}>"


class RuleVerdict(msgspec.Struct, frozen=True):
    """The verdict on a POST: accepted, or an offence. `content` is its text, as far as it can be read.

    `feedback_id` is what the event names when a user rates the reply; without it nobody can.
    """

    content: str = ""
    offence: OffenceKind | None = None
    feedback_id: str = ""

    @property
    def errcode(self) -> int:
        """The errcode of WeCom's answer (90313)."""
        return errcodes.OK if self.offence is None else _ERRCODES.get(self.offence, _INVALID_PARAMETER)

    def __repr__(self) -> str:
        return f"<RuleVerdict {self.offence or 'accepted'}>"


def judge(posted: Posted, *, in_group: bool) -> RuleVerdict:
    """Judge the form of one POST."""
    # https://developer.work.weixin.qq.com/document/path/101138
    if posted.method != "POST":
        return RuleVerdict(offence="wrong_method")
    if posted.content_type != "application/json" or (posted.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        return RuleVerdict(offence="wrong_content_type")
    if posted.body is None:
        return RuleVerdict(offence="oversized")
    try:
        reply = msgspec.json.decode(posted.body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return RuleVerdict(offence="malformed_body")
    verdict = _judge_reply(reply, in_group=in_group)
    if verdict.offence is None and _NEEDLESS_ESCAPE.search(posted.body):
        return RuleVerdict(verdict.content, "escaped_characters")
    return verdict


def _judge_reply(reply: dict[str, Any], *, in_group: bool) -> RuleVerdict:
    match reply:
        case {"encrypt": _}:
            return RuleVerdict(offence="encrypted_body")
        case {"msgtype": "markdown", "markdown": {"content": str() as content, "feedback": feedback}}:
            return _judge_feedback(content, feedback)
        case {"msgtype": "markdown", "markdown": {"content": str() as content}}:
            return RuleVerdict(content, _markdown_offence(content))
        case {"msgtype": "template_card", "template_card": {"card_type": str()} as card}:
            return RuleVerdict(msgspec.json.encode(card).decode(), "card_in_group" if in_group else None)
        case {"msgtype": "markdown" | "template_card"}:
            return RuleVerdict(offence="malformed_body")
        case _:
            return RuleVerdict(offence="wrong_message_type")


def _judge_feedback(content: str, feedback: object) -> RuleVerdict:
    """Judge a reply that can be rated. 101138: the id has at most 256 bytes."""
    match feedback:
        case {"id": str() as feedback_id} if (
            0 < len(feedback_id.encode("utf-8", "replace")) <= limits.FEEDBACK_ID_BYTES
        ):
            return RuleVerdict(content, _markdown_offence(content), feedback_id)
        case _:
            return RuleVerdict(content, "malformed_body")


def _markdown_offence(content: str) -> OffenceKind | None:
    if not content.strip():
        return "empty"
    # A lone surrogate cannot be encoded: it counts as one byte.
    if len(content.encode("utf-8", "replace")) > limits.MARKDOWN_BYTES:
        return "oversized"
    return None
