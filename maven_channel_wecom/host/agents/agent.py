"""The interface of all agents, and the error they raise if they cannot answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from maven_channel_wecom.sentences import ANSWER_BROKEN_OFF, Sentence

if TYPE_CHECKING:
    from maven_channel_wecom.contract.messages import InboundMessage

Show = Callable[[Callable[[], str]], None]
"""Takes the function that returns the text of an answer so far, from when the answer begins until it is there."""


def show_nothing(read: Callable[[], str]) -> None:
    """Show no text of an answer before it is complete."""


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

    async def answer(self, message: InboundMessage, show: Show = show_nothing) -> str:
        """Return an answer in Markdown, blank if there is nothing to say. Raises AgentError.

        An agent that gets its answer piece by piece calls `show` once the answer begins, and again if it begins anew.
        """
        ...

    async def close(self) -> None:
        """Close all connections. No answer is requested afterwards."""
        ...
