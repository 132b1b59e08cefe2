"""What every agent is: something that answers a message, or says in one sentence why it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from maven_channel_wecom.contract.messages import InboundMessage


class Failure(NamedTuple):
    """A way to fail: a fixed short word for the log, and a sentence for the user."""

    reason: str
    sentence: str


class AgentError(Exception):
    """The agent has no answer, or not all of it.

    `code` is a word of the agent's own where it gave one. `partial` is what came of the answer before it broke off,
    and stays out of every log.
    """

    def __init__(self, failure: Failure, *, code: str = "", partial: str = "") -> None:
        super().__init__(f"{failure.reason} {code}".rstrip())
        self.failure = failure
        self.code = code
        self.partial = partial

    @property
    def facts(self) -> dict[str, str]:
        """What a log may say of it."""
        return {"reason": self.failure.reason} | ({"code": self.code} if self.code else {})

    @property
    def answer(self) -> str:
        """What the user is told: what came of the answer, then why there is no more of it."""
        if not self.partial.strip():
            return self.failure.sentence
        return f"{self.partial}\n\n(The answer breaks off here. {self.failure.sentence})"


class Agent(Protocol):
    """Answers messages, several at a time."""

    async def answer(self, message: InboundMessage) -> str:
        """Return an answer in markdown; blank when there is nothing to say. Raises AgentError."""
        ...

    async def close(self) -> None:
        """Let go of connections. No answer is asked for afterwards."""
        ...
