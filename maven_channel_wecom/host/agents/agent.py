"""The interface of all agents: what they are asked, what they return, and the error they raise instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

import msgspec

from maven_channel_wecom.contract.messages import ContentBlock, InboundMessage, TextBlock
from maven_channel_wecom.policy.reasoning import without_reasoning
from maven_channel_wecom.sentences import ANSWER_BROKEN_OFF, Sentence

Show = Callable[[Callable[[], str]], None]
"""Takes the function that returns the text of an answer so far, from when the answer begins until it is there."""


def show_nothing(read: Callable[[], str]) -> None:
    """Show no text of an answer before it is complete."""


RefusedAttachments = Literal["", "history", "message"]


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier question of a session and its answer. `speaker` is who asked, in a group."""

    question: tuple[ContentBlock, ...]
    answer: str
    speaker: str = ""

    def __repr__(self) -> str:
        return f"<Exchange of {len(self.question)} blocks>"


class Turn(NamedTuple):
    """What an agent is asked.

    Args:
        message: the message to answer.
        session_id: the id of the session, a UUID.
        history: the earlier exchanges of the session that the host remembers, oldest first.
        previous_response_id: the id of the session's last response, if the agent continues from it.
        speaker: who wrote the message, in a group; empty in a single chat.
        show: called by an agent that gets its answer piece by piece, once the answer begins, and again if it begins
            anew.
    """

    message: InboundMessage
    session_id: str
    history: tuple[Exchange, ...] = ()
    previous_response_id: str = ""
    speaker: str = ""
    show: Show = show_nothing

    def __repr__(self) -> str:
        return f"<Turn for {self.message}>"


class Answer(NamedTuple):
    """What an agent returns.

    Args:
        text: the answer in Markdown, blank if there is nothing to say.
        response_id: the id by which the agent continues from this answer, if it gives one.
        refused_attachments: whose pictures and files had to be left out before the agent answered: those of the
            history, or those of the message.
    """

    text: str
    response_id: str = ""
    refused_attachments: RefusedAttachments = ""

    def __repr__(self) -> str:
        return f"<Answer of {len(self.text)} characters>"


def question(message: InboundMessage) -> tuple[ContentBlock, ...]:
    """Return the blocks of a message: its text if the channel made none."""
    return message.content_blocks or (TextBlock(text=message.content),)


class Failure(NamedTuple):
    """A kind of agent failure: a fixed short word for the log, and a sentence for the user."""

    reason: str
    sentence: Sentence


class AgentError(Exception):
    """The agent has no answer, or only a part of one.

    `code` is the agent's own error code, if it gave one. `partial` is the text received before the answer broke off; it
    must not be logged.
    """

    def __init__(self, failure: Failure, *, code: str = "", partial: str = "") -> None:
        super().__init__(f"{failure.reason} {code}".rstrip())
        self.failure = failure
        self.code = code
        self.partial = partial

    @property
    def facts(self) -> dict[str, str]:
        """The fields to log."""
        return {"reason": self.failure.reason} | ({"code": self.code} if self.code else {})

    def answer(self, language: str) -> str:
        """Return the text for the user: the partial answer, if any, then the reason why it breaks off."""
        reason = self.failure.sentence.text(language)
        # Reasoning that was not closed would hide what follows it.
        partial = without_reasoning(self.partial)
        if not partial.strip():
            return reason
        return partial + ANSWER_BROKEN_OFF.text(language).format(reason=reason)


class Agent(Protocol):
    """Answers messages, several concurrently."""

    async def answer(self, turn: Turn) -> Answer:
        """Answer the message of a turn. Raises AgentError."""
        ...

    async def close(self) -> None:
        """Close all connections. No answer is requested afterwards."""
        ...
