"""The memory of an agent that has none: what it is told of earlier turns.

A store that fails costs memory, never an answer.
"""

from __future__ import annotations

import logging
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from maven_channel_wecom.host.agents.agent import Answer, Exchange, Turn, question
from maven_channel_wecom.host.conversations import (
    Conversation,
    MemoryKind,
    MemoryLimits,
    RememberedTurn,
    history,
    with_turn,
)
from maven_channel_wecom.host.memory_file import MemoryFile
from maven_channel_wecom.host.memory_store import IN_FILE, IN_PROCESS, MemoryStore, MemoryUnavailable, ProcessMemory
from maven_channel_wecom.policy.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)


async def open_store(address: str) -> MemoryStore:
    """Open the store at a valid address. Raises MemoryUnavailable."""
    if address == IN_PROCESS:
        return ProcessMemory()
    return await MemoryFile.open(Path(address.removeprefix(IN_FILE)))


class Recollection(NamedTuple):
    """What a turn begins with. `started_as` is the id that the session got when it last started over."""

    session_id: str
    history: tuple[Exchange, ...] = ()
    previous_response_id: str = ""
    started_as: str = ""


class Memory:
    """Remembers the turns of sessions, in one of three ways.

    Args:
        kind: `messages`: the agent is sent the earlier exchanges. `previous_response_id`: it continues from the id of
            its last response. `server`: it keeps sessions by their ids.
        limits: how much is remembered of a session.
        store: where it is stored.
        now: returns seconds since the epoch.
    """

    def __init__(
        self,
        kind: MemoryKind,
        limits: MemoryLimits,
        store: MemoryStore,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._kind = kind
        self._limits = limits
        self._store = store
        self._now = now

    async def recall(self, session: str, message_id: str) -> Recollection:
        """Return what a turn of a session begins with. `message_id` is the message that is about to be answered."""
        now = self._now()
        try:
            conversation = await self._store.read(session, now)
        except MemoryUnavailable as unavailable:
            _report(unavailable)
            return Recollection(session)
        kind = self._kind
        return Recollection(
            session_id=(conversation.session_id or session) if kind == "server" else session,
            history=history(conversation, self._limits, now, message_id) if kind == "messages" else (),
            previous_response_id=conversation.response_id if kind == "previous_response_id" else "",
            started_as=conversation.session_id,
        )

    async def remember(self, session: str, turn: Turn, answer: Answer, recollection: Recollection) -> None:
        """Remember the answer to a turn, unless the session has started over since the turn's recollection.

        An answer with nothing to read is not remembered as an exchange. A model's reasoning is not remembered at all.
        """
        if self._kind == "server":
            return
        now = self._now()
        text = without_reasoning(answer.text)
        remembered = RememberedTurn(
            exchange=Exchange(question=question(turn.message), answer=text, speaker=turn.speaker),
            message_id=turn.message.message_id,
            ended_at=now,
        )

        def change(conversation: Conversation) -> Conversation:
            if conversation.session_id != recollection.started_as:
                return conversation
            if self._kind == "previous_response_id":
                return msgspec.structs.replace(
                    conversation, response_id=answer.response_id, expires_at=now + self._limits.seconds
                )
            return with_turn(conversation, remembered, self._limits, refused=answer.refused_attachments)

        if self._kind == "messages" and not text.strip():
            return
        try:
            await self._store.change(session, change, now)
        except MemoryUnavailable as unavailable:
            _report(unavailable)

    async def start_over(self, session: str) -> bool:
        """Forget what was said in a session, and return whether that succeeded."""
        now = self._now()
        # An agent that keeps sessions by their ids must never get an old one again.
        expires_at = Conversation().expires_at if self._kind == "server" else now + self._limits.seconds
        empty = Conversation(session_id=str(uuid.uuid4()), expires_at=expires_at)
        try:
            await self._store.change(session, lambda _: empty, now)
        except MemoryUnavailable as unavailable:
            _report(unavailable)
            return False
        return True

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()


def _report(unavailable: MemoryUnavailable) -> None:
    logger.warning("agent memory unavailable", extra={"fields": {"error": str(unavailable)}})
