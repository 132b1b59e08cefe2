"""Notes in place of pictures and files."""

from __future__ import annotations

from maven_channel_wecom.contract.messages import FileBlock, ImageBlock, TextBlock, UnavailableBlock
from maven_channel_wecom.host.agents.agent import Exchange
from maven_channel_wecom.host.agents.attachments import attachment_kind, turn_without_attachments, without_attachments
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


def test_a_turn_without_attachments_has_none_in_its_history_either() -> None:
    asked = turn(message())._replace(history=(Exchange(question=(IMAGE,), answer="a cat"),))
    stripped = turn_without_attachments(asked)
    assert stripped.message == asked.message
    assert attachment_kind(stripped.history[0].question) == ""
    assert stripped.history[0].answer == "a cat"
