"""The memory of an agent that has none: what it is told of earlier turns.

A store that fails costs memory, never an answer.
"""

from __future__ import annotations

import logging
import math
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from maven_channel_wecom.clock import SystemClock
from maven_channel_wecom.host.agents.agent import Answer, Exchange, Turn, question
from maven_channel_wecom.host.conversations import (
    Conversation,
    MemoryKind,
    MemoryLimits,
    RememberedTurn,
    history,
    previous_response_id,
    with_response,
    with_turn,
)
from maven_channel_wecom.host.memory_file import MemoryFile
from maven_channel_wecom.host.memory_store import IN_FILE, IN_PROCESS, MemoryStore, MemoryUnavailable, ProcessMemory
from maven_channel_wecom.policy.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

SERVER_SESSION_SECONDS: Final = 90 * 24 * 3_600.0
"""How long the new session id of a chat is stored after its last turn, if the agent keeps sessions by their ids. Then
the chat gets its first id again. Lower: the agent may still know what was said with that id. Higher: more is stored."""

REPORT_SECONDS: Final = 60.0
"""Minimum time between two equal log lines about a store that cannot be used. Lower: more lines on a full disk."""


async def open_store(address: str, now: Callable[[], float] | None = None) -> MemoryStore:
    """Open the store at a valid address. `now` returns seconds since the epoch. Raises MemoryUnavailable."""
    if address == IN_PROCESS:
        return ProcessMemory()
    return await MemoryFile(Path(address.removeprefix(IN_FILE)), now or SystemClock().now).open()


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
        now: returns seconds since the epoch. By default, adjusting the system clock moves no deadline.
    """

    def __init__(
        self,
        kind: MemoryKind,
        limits: MemoryLimits,
        store: MemoryStore,
        *,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._kind = kind
        self._limits = limits
        self._store = store
        self._now = now or SystemClock().now
        self._reported_at: dict[str, float] = {}

    async def recall(self, session: str, message_id: str) -> Recollection:
        """Return what a turn of a session begins with. `message_id` is the message that is about to be answered."""
        now = self._now()
        try:
            conversation = await self._store.read(session, now)
        except MemoryUnavailable as unavailable:
            self._report(unavailable, now)
            return Recollection(session)
        kind = self._kind
        return Recollection(
            session_id=(conversation.session_id or session) if kind == "server" else session,
            history=history(conversation, self._limits, now, message_id) if kind == "messages" else (),
            previous_response_id=(
                previous_response_id(conversation, message_id) if kind == "previous_response_id" else ""
            ),
            started_as=conversation.session_id,
        )

    async def remember(self, session: str, turn: Turn, answer: Answer, recollection: Recollection) -> None:
        """Remember the answer to a turn, unless the session has started over since the turn's recollection.

        An answer with nothing to read is not remembered as an exchange. A model's reasoning is not remembered at all.
        If the turn has less history than the recollection, the rest is forgotten.
        """
        text = without_reasoning(answer.text)
        if self._kind == "messages" and not text.strip():
            return
        if self._kind == "server" and not recollection.started_as:
            # The session has its first id, which follows from the chat.
            return
        now = self._now()
        message_id = turn.message.message_id
        exchange = Exchange(question=question(turn.message), answer=text, speaker=turn.speaker)
        remembered = RememberedTurn(exchange=exchange, message_id=message_id, ended_at=now)
        is_shortened = len(turn.history) < len(recollection.history)

        def change(conversation: Conversation) -> Conversation:
            # One without an id has expired during the turn, or has never started over.
            if conversation.session_id and conversation.session_id != recollection.started_as:
                return conversation
            if self._kind == "server":
                return Conversation(session_id=recollection.started_as, expires_at=now + SERVER_SESSION_SECONDS)
            if self._kind == "previous_response_id":
                return with_response(conversation, answer.response_id, message_id, self._limits, now)
            return with_turn(
                conversation,
                remembered,
                self._limits,
                refused=answer.refused_attachments,
                earlier_turns=len(turn.history) if is_shortened else None,
            )

        try:
            await self._store.change(session, change, now)
        except MemoryUnavailable as unavailable:
            self._report(unavailable, now)

    async def start_over(self, session: str) -> bool:
        """Forget what was said in a session, and return whether that succeeded."""
        now = self._now()
        lifetime = SERVER_SESSION_SECONDS if self._kind == "server" else self._limits.seconds
        empty = Conversation(session_id=str(uuid.uuid4()), expires_at=now + lifetime)
        try:
            await self._store.change(session, lambda _: empty, now)
        except MemoryUnavailable as unavailable:
            self._report(unavailable, now)
            return False
        return True

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    def _report(self, unavailable: MemoryUnavailable, now: float) -> None:
        error = str(unavailable)
        if now - self._reported_at.get(error, -math.inf) >= REPORT_SECONDS:
            self._reported_at[error] = now
            logger.warning("agent memory unavailable", extra={"fields": {"error": error}})
