"""What is remembered of a conversation, within its limits."""

from __future__ import annotations

import math
import tracemalloc

import pytest

from maven_channel_wecom.contract.messages import ContentBlock, FileBlock, ImageBlock, TextBlock, UnavailableBlock
from maven_channel_wecom.host.agents.agent import Exchange, RefusedAttachments
from maven_channel_wecom.host.conversations import (
    Conversation,
    MemoryLimits,
    RememberedTurn,
    history,
    previous_response_id,
    size_bytes,
    with_response,
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


def size(*turns: RememberedTurn) -> int:
    """Return how many bytes turns count as, without the conversation around them."""
    return size_bytes(Conversation(turns=turns)) - size_bytes(Conversation())


def test_bytes_are_those_of_utf_8() -> None:
    assert size(turn("话题", answer="ok")) - size(turn("", answer="")) == 2 * len("话题".encode()) + 2, "text and id"
    long, longer = turn("话题", answer="1"), turn("话题2", answer="2")
    assert texts(conversation(long, longer, limits=MemoryLimits(bytes=size(long, longer) - 1))) == ["话题2"]


@pytest.mark.parametrize(
    "block",
    [
        TextBlock(text="x" * 99),
        ImageBlock(media_type="x" * 50, data="x" * 49),
        FileBlock(media_type="x" * 50, name="x" * 40, data="x" * 9),
        UnavailableBlock(kind="x" * 50, reason="x" * 40, media_type="x" * 9),
    ],
    ids=lambda block: type(block).__name__,
)
def test_each_block_counts_with_all_its_texts_and_what_it_needs_besides(block: ContentBlock) -> None:
    assert size(turn("a", block)) - size(turn("a")) == 99 + size(turn("a", TextBlock(text=""))) - size(turn("a")) >= 199


def test_ids_and_empty_conversations_count_too() -> None:
    ids = Conversation(response_id="x" * 10, response_to="x" * 20, continued_id="x" * 30, session_id="x" * 40)
    assert size_bytes(ids) - size_bytes(Conversation()) == 100
    assert size_bytes(Conversation()) >= 500


def test_conversations_use_no_more_memory_than_they_count_as() -> None:
    def empty_turn(number: int) -> RememberedTurn:
        blocks = (UnavailableBlock(kind=f"image{number}", reason=f"reason {number}") for _ in range(20))
        exchange = Exchange(question=tuple(blocks), answer=f"ok {number}", speaker=f"member {number}")
        return RememberedTurn(exchange=exchange, message_id=f"id {number}", ended_at=NOW + number)

    tracemalloc.start()
    try:
        many = [
            Conversation(turns=tuple(map(empty_turn, range(20))), session_id=f"session {number}")
            for number in range(20)
        ]
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used <= sum(map(size_bytes, many))


def test_a_picture_stays_while_it_fits_and_leaves_a_note_when_it_does_not() -> None:
    limits = MemoryLimits(bytes=size(turn("look", picture(800))) + 20)
    remembered = conversation(turn("look", picture(800)), limits=limits)
    assert picture(800) in remembered.turns[0].exchange.question
    limits = MemoryLimits(bytes=size(turn("look", picture(800)), turn("a" * 30)) - 1)
    remembered = with_turn(remembered, turn("a" * 30), limits)
    assert texts(remembered) == ["look", "a" * 30]
    _, note = remembered.turns[0].exchange.question
    assert isinstance(note, UnavailableBlock)
    assert note.kind == "image"
    assert size(*remembered.turns) <= limits.bytes


def test_a_picture_comes_before_older_turns() -> None:
    limits = MemoryLimits(bytes=size(turn("look", picture(80))) + 100)
    remembered = conversation(turn("old" * 10), turn("look", picture(80)), limits=limits)
    assert texts(remembered) == ["look"]


def test_an_exchange_that_is_too_large_leaves_nothing() -> None:
    limits = MemoryLimits(bytes=size(turn("old")))
    remembered = conversation(turn("old"), turn("long", answer="x" * 200), limits=limits)
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


def test_only_the_newest_of_the_earlier_turns_are_kept_if_an_agent_took_no_more() -> None:
    remembered = conversation(*(turn(str(number)) for number in range(4)))
    shortened = with_turn(remembered, turn("new"), MemoryLimits(), earlier_turns=2)
    assert texts(shortened) == ["2", "3", "new"]
    again = with_turn(shortened, turn("new"), MemoryLimits(), earlier_turns=1)
    assert texts(again) == ["3", "new"]
    assert texts(with_turn(remembered, turn("new"), MemoryLimits(), earlier_turns=0)) == ["new"]
    assert len(with_turn(remembered, turn("new"), MemoryLimits(), earlier_turns=9).turns) == 5


def test_a_message_that_is_processed_again_continues_from_the_response_before_its_own() -> None:
    limits = MemoryLimits()
    first = with_response(Conversation(), "resp_1", "m1", limits, NOW)
    second = with_response(first, "resp_2", "m2", limits, NOW)
    assert [previous_response_id(second, message) for message in ("m2", "m3")] == ["resp_1", "resp_2"]
    again = with_response(second, "resp_2b", "m2", limits, NOW)
    assert [previous_response_id(again, message) for message in ("m2", "m3")] == ["resp_1", "resp_2b"]
    assert previous_response_id(first, "m1") == ""


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
    """Beside the texts, each turn and each conversation has the same cost."""
    limits = MemoryLimits()

    def total(characters: int) -> int:
        chats = [
            conversation(*(turn(f"{number:02}" + "x" * characters, answer="y" * 100) for number in range(20)))
            for _ in range(1_000 if characters < 1_000 else 10)
        ]
        assert all(size(*each.turns) <= limits.bytes for each in chats)
        return sum(map(size_bytes, chats))

    # A text is in the message and, as tests have it, its id.
    assert total(298) - total(98) == 1_000 * 20 * 2 * 200
    assert total(498) - total(298) == total(298) - total(98)
    assert total(98) <= 1_000 * 20 * 1_500
    assert total(90_000) <= 10 * (limits.bytes + 1_000)
