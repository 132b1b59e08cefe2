"""The interface of all agents, and the error they raise if they cannot answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from maven_channel_wecom.sentences import ANSWER_BROKEN_OFF, Sentence

if TYPE_CHECKING:
    from maven_channel_wecom.contract.messages import InboundMessage


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
        if not self.partial.strip():
            return reason
        return self.partial + ANSWER_BROKEN_OFF.text(language).format(reason=reason)


class Agent(Protocol):
    """Answers messages, several concurrently."""

    async def answer(self, message: InboundMessage) -> str:
        """Return an answer in Markdown, blank if there is nothing to say. Raises AgentError."""
        ...

    async def close(self) -> None:
        """Close all connections. No answer is requested afterwards."""
        ...
