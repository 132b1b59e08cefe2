"""What is remembered of a conversation, within its limits."""

from __future__ import annotations

import math

import pytest

from maven_channel_wecom.contract.messages import ContentBlock, FileBlock, ImageBlock, TextBlock, UnavailableBlock
from maven_channel_wecom.host.agents.agent import Exchange, RefusedAttachments
from maven_channel_wecom.host.conversations import (
    Conversation,
    MemoryLimits,
    RememberedTurn,
    history,
    size_bytes,
    with_turn,
)

NOW = 1_800_000_000.0


def turn(text: str = "a", *blocks: ContentBlock, answer: str = "b", at: float = NOW) -> RememberedTurn:
    exchange = Exchange(question=(TextBlock(text=text), *blocks), answer=answer)
    return RememberedTurn(exchange=exchange, message_id=text, ended_at=at)


def conversation(*turns: RememberedTurn, limits: MemoryLimits = MemoryLimits()) -> Conversation:  # noqa: B008 - frozen
    remembered = Conversation()
    for each in turns:
        remembered = with_turn(remembered, each, limits)
    return remembered


def texts(remembered: Conversation) -> list[str]:
    return [block.text for turn in remembered.turns for block in turn.exchange.question if isinstance(block, TextBlock)]


def picture(size: int) -> ImageBlock:
    return ImageBlock(media_type="image/png", data="x" * size)


def test_the_newest_turns_are_remembered_in_order() -> None:
    remembered = conversation(*(turn(str(number)) for number in range(30)), limits=MemoryLimits(turns=3))
    assert texts(remembered) == ["27", "28", "29"]
    assert [exchange.answer for exchange in history(remembered, MemoryLimits(), NOW, "next")] == ["b"] * 3


def test_bytes_are_those_of_utf_8() -> None:
    assert size_bytes(conversation(turn("话题", answer="ok"))) == 8
    remembered = conversation(turn("话题", answer="1"), turn("话题2", answer="2"), limits=MemoryLimits(bytes=14))
    assert texts(remembered) == ["话题2"]


def test_a_picture_stays_while_it_fits_and_leaves_a_note_when_it_does_not() -> None:
    limits = MemoryLimits(bytes=100)
    remembered = conversation(turn("look", picture(80)), limits=limits)
    assert picture(80) in remembered.turns[0].exchange.question
    remembered = with_turn(remembered, turn("a" * 30), limits)
    assert texts(remembered) == ["look", "a" * 30]
    _, note = remembered.turns[0].exchange.question
    assert isinstance(note, UnavailableBlock)
    assert note.kind == "image"
    assert size_bytes(remembered) <= limits.bytes


def test_a_picture_comes_before_older_turns() -> None:
    limits = MemoryLimits(bytes=100)
    remembered = conversation(turn("old" * 10), turn("look", picture(80)), limits=limits)
    assert texts(remembered) == ["look"]


def test_an_exchange_that_is_too_large_leaves_nothing() -> None:
    remembered = conversation(turn("old"), turn("long", answer="x" * 200), limits=MemoryLimits(bytes=100))
    assert remembered.turns == ()


def test_a_turn_is_forgotten_after_its_minutes() -> None:
    limits = MemoryLimits(minutes=60)
    remembered = conversation(turn("old", at=NOW - 3600), turn("new"), limits=limits)
    assert texts(remembered) == ["new"]
    assert remembered.expires_at == NOW + 3600
    assert history(remembered, limits, NOW + 3599, "next")
    assert not history(remembered, limits, NOW + 3600, "next")


def test_a_message_that_is_processed_again_has_one_exchange_and_does_not_precede_itself() -> None:
    remembered = conversation(turn("one"), turn("two", answer="first"))
    assert [exchange.answer for exchange in history(remembered, MemoryLimits(), NOW, "two")] == ["b"]
    remembered = with_turn(remembered, turn("two", answer="second"), MemoryLimits())
    assert [each.exchange.answer for each in remembered.turns] == ["b", "second"]


@pytest.mark.parametrize(("refused", "kinds"), [("", []), ("history", ["image"]), ("message", ["file"])])
def test_attachments_that_the_agent_refused_are_not_sent_again(refused: RefusedAttachments, kinds: list[str]) -> None:
    remembered = conversation(turn("look", picture(5)))
    file = FileBlock(media_type="a/b", name="c", data="d")
    remembered = with_turn(remembered, turn("read", file), MemoryLimits(), refused=refused)
    blocks = (block for each in remembered.turns for block in each.exchange.question)
    assert [block.kind for block in blocks if isinstance(block, UnavailableBlock)] == kinds


@pytest.mark.parametrize("value", [turn("canary-4711"), conversation(turn("canary-4711"))], ids=["turn", "all"])
def test_no_repr_shows_what_was_said(value: object) -> None:
    assert "canary-4711" not in repr(value)


def test_an_empty_conversation_does_not_expire() -> None:
    assert Conversation().expires_at == math.inf
    assert history(Conversation(), MemoryLimits(), NOW, "first") == ()


def test_the_bytes_of_1000_chats_of_20_turns_grow_with_what_is_said_and_end_at_the_limit() -> None:
    """No fixed cost for each turn is hidden: twice as much text is twice as many bytes."""
    limits = MemoryLimits()

    def total(characters: int) -> int:
        chats = [
            conversation(*(turn(f"{number:02}" + "x" * characters, answer="y" * 100) for number in range(20)))
            for _ in range(1_000 if characters < 1_000 else 10)
        ]
        assert all(size_bytes(each) <= limits.bytes for each in chats)
        return sum(map(size_bytes, chats))

    assert total(98) == 1_000 * 20 * 200
    assert total(298) == 2 * total(98)
    assert total(100_000) == 10 * 100_102
