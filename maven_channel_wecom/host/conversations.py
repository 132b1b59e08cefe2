"""What the host remembers of a session, within limits: earlier turns, the id of the last response, the session. No I/O.

Each function takes a conversation and returns another one.
"""

from __future__ import annotations

import itertools
import math
from typing import Final, Literal

import msgspec

from maven_channel_wecom.contract.messages import FileBlock, ImageBlock, TextBlock
from maven_channel_wecom.host.agents.agent import (  # noqa: TC001 - msgspec reads the annotation of a struct
    Exchange,
    RefusedAttachments,
)
from maven_channel_wecom.host.agents.attachments import without_attachments

MemoryKind = Literal["messages", "previous_response_id", "server"]

_NOT_KEPT: Final = "it was sent earlier and is no longer stored"


class MemoryLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is remembered of one session: the newest turns that fit into all three limits.

    Bytes are those of texts in UTF-8, and of pictures and files in base64.
    """

    turns: int = 20
    bytes: int = 200_000
    minutes: int = 60

    @property
    def seconds(self) -> float:
        """How long a turn is remembered."""
        return self.minutes * 60.0


class RememberedTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that has an answer, with the id of its message and the end of the turn in seconds since the epoch."""

    exchange: Exchange
    message_id: str
    ended_at: float

    def __repr__(self) -> str:
        return "<RememberedTurn>"


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one session.

    `response_id` is the id of the last response. `session_id` is the id that the session got when it last started over,
    empty before. `expires_at` is in seconds since the epoch; an expired conversation is an empty one.
    """

    turns: tuple[RememberedTurn, ...] = ()
    response_id: str = ""
    session_id: str = ""
    expires_at: float = math.inf

    def __repr__(self) -> str:
        return f"<Conversation of {len(self.turns)} turns>"


def history(conversation: Conversation, limits: MemoryLimits, now: float, message_id: str) -> tuple[Exchange, ...]:
    """Return the exchanges that precede a message, oldest first, without those of the message itself.

    A message has an exchange already if its answer could not be sent and it is processed again.
    """
    turns = _without(conversation.turns, message_id)
    return tuple(turn.exchange for turn in _within(turns, limits, now))


def with_turn(
    conversation: Conversation, turn: RememberedTurn, limits: MemoryLimits, *, refused: RefusedAttachments = ""
) -> Conversation:
    """Return the conversation with one more turn, within the limits, and without the attachments that were refused."""
    earlier = _without(conversation.turns, turn.message_id)
    if refused == "history":
        earlier = tuple(map(_stripped, earlier))
    newest = _stripped(turn) if refused == "message" else turn
    kept = _within((*earlier, newest), limits, turn.ended_at)
    return msgspec.structs.replace(conversation, turns=kept, expires_at=turn.ended_at + limits.seconds)


def size_bytes(conversation: Conversation) -> int:
    """Return how many bytes a conversation is counted as."""
    return sum(_turn_bytes(turn) for turn in conversation.turns)


def _without(turns: tuple[RememberedTurn, ...], message_id: str) -> tuple[RememberedTurn, ...]:
    return tuple(turn for turn in turns if turn.message_id != message_id)


def _within(turns: tuple[RememberedTurn, ...], limits: MemoryLimits, now: float) -> tuple[RememberedTurn, ...]:
    """Return the newest turns within the limits.

    A turn that does not fit loses its pictures and files. If it still does not fit, it and all older ones are dropped.
    """
    kept: list[RememberedTurn] = []
    free = limits.bytes
    for turn in itertools.islice(reversed(turns), limits.turns):
        if turn.ended_at <= now - limits.seconds:
            break
        fitting = turn if _turn_bytes(turn) <= free else _stripped(turn)
        free -= _turn_bytes(fitting)
        if free < 0:
            break
        kept.append(fitting)
    return tuple(reversed(kept))


def _stripped(turn: RememberedTurn) -> RememberedTurn:
    question = without_attachments(turn.exchange.question, _NOT_KEPT)
    return msgspec.structs.replace(turn, exchange=msgspec.structs.replace(turn.exchange, question=question))


def _turn_bytes(turn: RememberedTurn) -> int:
    return sum(map(_block_bytes, turn.exchange.question)) + len(turn.exchange.answer.encode())


def _block_bytes(block: object) -> int:
    match block:
        case TextBlock(text=text):
            return len(text.encode())
        case ImageBlock(data=data) | FileBlock(data=data):
            return len(data)
    return 0
