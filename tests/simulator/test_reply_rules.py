"""The rules for the form of a POST to a response_url."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from maven_channel_wecom.protocol import errcodes
from maven_channel_wecom.protocol.reply import markdown_body
from maven_channel_wecom.simulator.reply_rules import Posted, RuleVerdict, judge

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.offences import OffenceKind

CARD = b'{"msgtype":"template_card","template_card":{"card_type":"text_notice"}}'


def posted(
    body: bytes | None, *, method: str = "POST", content_type: str = "application/json", charset: str | None = None
) -> Posted:
    return Posted(method=method, content_type=content_type, charset=charset, body=body)


@pytest.mark.parametrize("charset", [None, "utf-8", "UTF8"])
def test_markdown_is_accepted(charset: str | None) -> None:
    verdict = judge(posted(markdown_body("**yes** 是"), charset=charset), in_group=True)
    assert verdict == RuleVerdict("**yes** 是")
    assert verdict.errcode == errcodes.OK


@pytest.mark.parametrize(
    ("given", "offence", "errcode"),
    [
        (posted(b"", method="PUT"), "wrong_method", 40_058),
        (posted(b"", content_type="text/plain"), "wrong_content_type", 40_058),
        (posted(b"", charset="gbk"), "wrong_content_type", 40_058),
        (posted(b"{"), "malformed_body", 40_058),
        (posted(b"[]"), "malformed_body", 40_058),
        (posted(b'{"msgtype":"markdown"}'), "malformed_body", 40_058),
        (posted(None), "oversized", errcodes.CONTENT_TOO_LONG),
        (posted(markdown_body("x" * 20_481)), "oversized", errcodes.CONTENT_TOO_LONG),
        (posted(markdown_body(" ")), "empty", errcodes.EMPTY_CONTENT),
        (posted(b'{"encrypt":"x"}'), "encrypted_body", errcodes.INVALID_MESSAGE_TYPE),
        (posted(b'{"msgtype":"text"}'), "wrong_message_type", errcodes.INVALID_MESSAGE_TYPE),
        (
            posted(b'{"msgtype":"markdown","markdown":{"content":"\\u662f"}}'),
            "escaped_characters",
            errcodes.INVALID_CHARACTERS,
        ),
    ],
)
def test_each_broken_rule_is_an_offence_with_its_errcode(given: Posted, offence: OffenceKind, errcode: int) -> None:
    verdict = judge(given, in_group=False)
    assert (verdict.offence, verdict.errcode) == (offence, errcode)


def test_a_card_is_for_single_chats_only() -> None:
    assert judge(posted(CARD), in_group=False).offence is None
    assert judge(posted(CARD), in_group=True).offence == "card_in_group"


def test_control_characters_may_be_escaped() -> None:
    assert judge(posted(b'{"msgtype":"markdown","markdown":{"content":"a\\u0007"}}'), in_group=False).offence is None


def test_a_repr_does_not_show_the_content() -> None:
    given = posted(markdown_body("canary"))
    assert "canary" not in f"{given!r} {judge(given, in_group=False)!r}"


def rated(feedback: object) -> bytes:
    return msgspec.json.encode({"msgtype": "markdown", "markdown": {"content": "hello", "feedback": feedback}})


def test_a_reply_with_a_feedback_id_can_be_rated() -> None:
    verdict = judge(posted(rated({"id": "x" * 256})), in_group=False)
    assert (verdict.content, verdict.offence, verdict.feedback_id) == ("hello", None, "x" * 256)


@pytest.mark.parametrize("feedback", [{"id": "x" * 257}, {"id": ""}, {"id": 7}, {}, "x", None])
def test_any_other_feedback_id_is_malformed(feedback: object) -> None:
    assert judge(posted(rated(feedback)), in_group=False).offence == "malformed_body"
