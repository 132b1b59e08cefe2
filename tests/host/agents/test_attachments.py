"""Notes in place of pictures and files."""

from __future__ import annotations

import msgspec
import pytest

from maven_channel_wecom.contract.messages import ContentBlock, FileBlock, ImageBlock, TextBlock, UnavailableBlock
from maven_channel_wecom.host.agents.agent import Exchange
from maven_channel_wecom.host.agents.attachments import (
    attachment_kind,
    kind_in_history,
    turns_without_attachments,
    without_attachments,
)
from tests.host.fake_channel import message, turn

IMAGE = ImageBlock(media_type="image/png", data="aGk=", quoted=True)
FILE = FileBlock(media_type="application/pdf", name="a.pdf", data="aGk=")
TEXT = TextBlock(text="mine")


def test_a_picture_or_a_file_is_replaced_by_a_note() -> None:
    assert [attachment_kind(each) for each in ((TEXT, FILE, IMAGE), (TEXT, FILE), (TEXT,))] == ["picture", "file", ""]
    replaced = without_attachments((IMAGE, TEXT, FILE), "it is large")
    assert replaced == (
        UnavailableBlock(kind="image", reason="it is large", quoted=True),
        TEXT,
        UnavailableBlock(kind="file", reason="it is large"),
    )
    assert attachment_kind(replaced) == ""


@pytest.mark.parametrize(
    ("own", "earlier", "steps"),
    [
        ((IMAGE, TEXT), (TEXT,), [("", "", "message")]),
        ((TEXT,), (FILE,), [("", "", "history")]),
        ((IMAGE,), (FILE,), [("picture", "", "history"), ("", "", "message")]),
        ((TEXT,), (TEXT,), []),
    ],
    ids=["own", "earlier", "both", "none"],
)
def test_attachments_of_the_history_are_left_out_before_those_of_the_message(
    own: tuple[ContentBlock, ...], earlier: tuple[ContentBlock, ...], steps: list[tuple[str, str, str]]
) -> None:
    asked = turn(msgspec.structs.replace(message(), content_blocks=own))
    asked = asked._replace(history=(Exchange(question=earlier, answer="a cat"),))
    assert [
        (attachment_kind(shorter.message.content_blocks), kind_in_history(shorter.history), refused)
        for shorter, refused in turns_without_attachments(asked)
    ] == steps
    assert all(shorter.history[0].answer == "a cat" for shorter, _ in turns_without_attachments(asked))
