"""Connects channels and agent: passes published messages to the agent, and its answers back. Starts nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter

from maven_channel_wecom.contract.messages import InboundMessage, OutboundMessage, Receipt
from maven_channel_wecom.fairness import OneAtATime, SharedLimit, SharedSemaphore
from maven_channel_wecom.host.agents.agent import AgentError, Answer, Turn, question
from maven_channel_wecom.host.agents.agent_failures import may_concern_history
from maven_channel_wecom.host.agents.attachments import attachment_kind, kind_in_history
from maven_channel_wecom.host.conversations import MemoryLimits
from maven_channel_wecom.host.memory import Memory
from maven_channel_wecom.host.memory_store import ProcessMemory
from maven_channel_wecom.host.progress import Progress
from maven_channel_wecom.host.sessions import session_id, speaker, starts_over
from maven_channel_wecom.sentences import (
    CONVERSATION_NEW,
    EARLIER_FILE_LEFT_OUT,
    EARLIER_PICTURE_LEFT_OUT,
    FAULT,
    FILE_LEFT_OUT,
    PICTURE_LEFT_OUT,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import pluggy
    from prometheus_client import CollectorRegistry

    from maven_channel_wecom.contract.channel import Channel
    from maven_channel_wecom.host.agents.agent import Agent, Show

logger = logging.getLogger(__name__)

AGENT_TURNS: Final = 64
"""Maximum number of concurrent agent turns. Each may hold a message with its images in memory, and a model serves few
more at once."""


class Bus:
    """The services that this host gives its channels.

    The turns of one session run one after another, in the order in which the messages were published, unless
    `parallel_turns` is set. Sessions that wait for a turn get one in turn.

    Args:
        hook: the relay of all plugins.
        metrics: the registry that `/metrics` exposes.
        agent: answers the messages.
        memory: remembers the turns of each chat; without it the agent has to.
        speaker_ids: whether the agent is told the ids of those who speak in a group, instead of pseudonyms.
        parallel_turns: whether the turns of one session run side by side.
        turns: the maximum number of concurrent turns.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        *,
        hook: pluggy.HookRelay,
        metrics: CollectorRegistry,
        agent: Agent,
        memory: Memory | None = None,
        speaker_ids: bool = False,
        parallel_turns: bool = False,
        turns: int = AGENT_TURNS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._hook = hook
        self._metrics = metrics
        self._agent = agent
        self._sleep = sleep
        self._memory = memory or Memory("server", MemoryLimits(), ProcessMemory())
        self._speaker_ids = speaker_ids
        places = (SharedLimit(turns), 1)
        self._turns = SharedSemaphore(places) if parallel_turns else SharedSemaphore(places, (OneAtATime(), 1))
        turns_total = Counter("maven_agent_turns", "Agent turns by outcome.", ["outcome"], registry=metrics)
        self._answered, self._failed = turns_total.labels("answered"), turns_total.labels("failed")
        self._channels: dict[str, Channel] = {}

    @property
    def hook(self) -> pluggy.HookRelay:
        """The hook relay of all plugins."""
        return self._hook

    @property
    def metrics(self) -> CollectorRegistry:
        """The registry that `/metrics` exposes."""
        return self._metrics

    def attach(self, name: str, channel: Channel) -> None:
        """Register a started channel, so that answers can be sent through it."""
        self._channels[name] = channel

    def channel(self, name: str) -> Channel:
        """Return a started channel. Raises LookupError for a name that is not configured."""
        return self._channels[name]

    async def publish(self, message: InboundMessage) -> None:
        """Have the agent answer a message and send the answer. If the agent fails, the user gets a sentence instead."""
        answer = await self._answer(message)
        # A blank answer too: the channel writes a sentence in its place.
        await self.send(
            OutboundMessage(
                channel=message.channel,
                chat_id=message.chat_id,
                content=answer,
                reply_to=message.message_id,
                metadata=_reply_metadata(message),
            )
        )

    async def ask(self, message: InboundMessage) -> str:
        """Return the agent's answer to a message that belongs to no conversation. Raises AgentError."""
        session = session_id(message)
        async with self._turns.hold(session):
            return (await self._agent.answer(Turn(message, session))).text

    async def _converse(self, message: InboundMessage, show: Show) -> str:
        """Return the agent's answer to a message of a chat, and remember both. Raises AgentError."""
        session = session_id(message)
        # Before anything is awaited, so that the order is that of the calls.
        async with self._turns.hold(session):
            recollection = await self._memory.recall(session, message.message_id)
            turn = Turn(
                message,
                recollection.session_id,
                history=recollection.history,
                previous_response_id=recollection.previous_response_id,
                speaker=speaker(message, shows_ids=self._speaker_ids),
                show=show,
            )
            try:
                answer, turn = await self._ask(turn)
            except AgentError as error:
                if error.partial:
                    # The person was shown it, and may ask to continue. There is no response to continue from.
                    shown = Answer(error.partial, turn.previous_response_id)
                    await self._memory.remember(session, turn, shown, recollection)
                raise
            await self._memory.remember(session, turn, answer, recollection)
            return answer.text + _left_out(turn, answer)

    async def _ask(self, turn: Turn) -> tuple[Answer, Turn]:
        """Return the agent's answer, and the turn as the agent accepted it. Raises AgentError.

        An agent that refuses a turn with history is asked again with the newer half of it, and then without any: the
        history may be longer than its model can read, and would be again with the next message.
        """
        for history in (turn.history, turn.history[(len(turn.history) + 1) // 2 :]):
            asked = turn._replace(history=history)
            try:
                return await self._agent.answer(asked), asked
            except AgentError as error:
                if not history or error.partial or not may_concern_history(error.failure):
                    raise
                logger.warning("agent refused history", extra={"fields": _log_fields(turn.message) | error.facts})
        asked = turn._replace(history=())
        return await self._agent.answer(asked), asked

    async def _start_over(self, message: InboundMessage) -> str:
        session = session_id(message)
        async with self._turns.hold(session):
            is_new = await self._memory.start_over(session)
        return (CONVERSATION_NEW if is_new else FAULT).text(_language(message))

    async def send(self, message: OutboundMessage) -> Receipt:
        """Send a message through its channel and return the receipt. Log a warning if it was not delivered."""
        channel = self.channel(message.channel)
        sending = self._hook.maven_outbound_send(channel=channel, message=message)
        if sending is None:
            reason = f"no plugin sends for channel {message.channel}"
            raise LookupError(reason)
        receipt: Receipt = await sending
        fields = {
            "channel": message.channel,
            "outcome": receipt.outcome,
            "reason": receipt.reason,
            "attempts": receipt.attempts,
            **_trail(message.metadata),
        }
        if receipt.outcome == "delivered":
            logger.debug("answer delivered", extra={"fields": fields})
        elif receipt.reason == "silent":
            logger.debug("answer withheld", extra={"fields": fields})
        else:
            logger.warning("answer not delivered", extra={"fields": fields})
        return receipt

    async def _answer(self, message: InboundMessage) -> str:
        fields = _log_fields(message)
        progress = Progress(self._hook, self._channels, message, log_fields=fields, sleep=self._sleep)
        try:
            if starts_over(message):
                return await self._start_over(message)
            answer = await self._converse(message, progress.show)
        except AgentError as error:
            self._failed.inc()
            logger.warning("agent failed", extra={"fields": fields | error.facts})
            return error.answer(_language(message))
        except Exception:
            self._failed.inc()
            logger.exception("agent failed", extra={"fields": fields | {"reason": "fault"}})
            return FAULT.text(_language(message))
        finally:
            await progress.end()
        self._answered.inc()
        return answer


def _left_out(turn: Turn, answer: Answer) -> str:
    """Return the note after an answer that is without a picture or file, because the agent refused it."""
    if not answer.refused_attachments or not answer.text.strip():
        return ""
    if answer.refused_attachments == "history":
        is_picture = kind_in_history(turn.history) == "picture"
        sentence = EARLIER_PICTURE_LEFT_OUT if is_picture else EARLIER_FILE_LEFT_OUT
    else:
        sentence = PICTURE_LEFT_OUT if attachment_kind(question(turn.message)) == "picture" else FILE_LEFT_OUT
    return sentence.text(_language(turn.message))


def _reply_metadata(message: InboundMessage) -> dict[str, str]:
    """Return the metadata of an answer: trail, kind of chat and language of the message it answers."""
    facts = message.transport_meta
    return {key: facts[key] for key in ("trail", "chat_type", "language") if key in facts}


def _log_fields(message: InboundMessage) -> dict[str, str]:
    return {"channel": message.channel, "message_id": message.message_id, **_trail(message.transport_meta)}


def _language(message: InboundMessage) -> str:
    """Return the language of sentences for the person who wrote a message, English if its channel names none."""
    return message.transport_meta.get("language", "en")


def _trail(facts: Mapping[str, str]) -> dict[str, str]:
    """Return the log field with the channel's trail of a message, if there is one."""
    return {"trail": facts["trail"]} if "trail" in facts else {}
