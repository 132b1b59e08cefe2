"""The interface of all agents, and the error they raise if they cannot answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from maven_channel_wecom.contract.messages import InboundMessage


class Failure(NamedTuple):
    """A kind of agent failure: a fixed short word for the log, and a sentence for the user."""

    reason: str
    sentence: str


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

    @property
    def answer(self) -> str:
        """The text for the user: the partial answer, if any, then the reason why it breaks off."""
        if not self.partial.strip():
            return self.failure.sentence
        return f"{self.partial}\n\n(The answer breaks off here. {self.failure.sentence})"


class Agent(Protocol):
    """Answers messages, several concurrently."""

    async def answer(self, message: InboundMessage) -> str:
        """Return an answer in Markdown, blank if there is nothing to say. Raises AgentError."""
        ...

    async def close(self) -> None:
        """Close all connections. No answer is requested afterwards."""
        ...
