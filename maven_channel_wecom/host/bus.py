"""Between channels and agent: what a channel publishes is answered, and the answer goes back. Starts nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter

from maven_channel_wecom.contract.messages import InboundMessage, OutboundMessage, Receipt
from maven_channel_wecom.host.agents.agent import AgentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pluggy
    from prometheus_client import CollectorRegistry

    from maven_channel_wecom.contract.channel import Channel
    from maven_channel_wecom.host.agents.agent import Agent

logger = logging.getLogger(__name__)

AGENT_TURNS: Final = 64
"""Turns of the agent at a time. Each may hold a message with its images in memory; a model serves few more at once."""

FAULT_SENTENCE: Final = "Something went wrong on this message; please tell whoever runs the bot."


class Bus:
    """The services of this host for its channels. Create it inside a running loop."""

    def __init__(
        self,
        *,
        hook: pluggy.HookRelay,
        metrics: CollectorRegistry,
        agent: Agent,
        channels: Iterable[str],
        turns: int = AGENT_TURNS,
    ) -> None:
        self._hook = hook
        self._metrics = metrics
        self._agent = agent
        self._turns = asyncio.Semaphore(turns)
        turns_total = Counter(
            "maven_agent_turns", "Turns of the agent by how they ended.", ["outcome"], registry=metrics
        )
        self._answered, self._failed = turns_total.labels("answered"), turns_total.labels("failed")
        loop = asyncio.get_running_loop()
        # A channel may publish what an earlier run left over before the host holds its handle; sending waits for it.
        self._channels: dict[str, asyncio.Future[Channel]] = {name: loop.create_future() for name in channels}

    @property
    def hook(self) -> pluggy.HookRelay:
        """The relay of every plugin."""
        return self._hook

    @property
    def metrics(self) -> CollectorRegistry:
        """The registry behind `/metrics`."""
        return self._metrics

    def attach(self, name: str, channel: Channel) -> None:
        """Make a started channel known: from now on answers reach it."""
        self._channels[name].set_result(channel)

    async def channel(self, name: str) -> Channel:
        """Return a channel as soon as it has started. Raises LookupError for a name that is not configured."""
        return await asyncio.shield(self._channels[name])

    async def publish(self, message: InboundMessage) -> None:
        """Have a message answered and send the answer. The agent's failures end as a sentence to the user."""
        answer = await self._answer(message)
        # A blank one too: the channel does not send it, and counts that somebody is left without an answer.
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
        """Return the agent's answer to a message, in turn with all others. Raises AgentError."""
        async with self._turns:
            return await self._agent.answer(message)

    async def send(self, message: OutboundMessage) -> Receipt:
        """Hand a message to the channel it is for, and log when it did not arrive."""
        channel = await self.channel(message.channel)
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
        else:
            logger.warning("answer not delivered", extra={"fields": fields})
        return receipt

    async def _answer(self, message: InboundMessage) -> str:
        fields = {"channel": message.channel, "message_id": message.message_id, **_trail(message.transport_meta)}
        try:
            answer = await self.ask(message)
        except AgentError as error:
            self._failed.inc()
            logger.warning("agent failed", extra={"fields": fields | error.facts})
            return error.answer
        except Exception:
            self._failed.inc()
            logger.exception("agent failed", extra={"fields": fields | {"reason": "fault"}})
            return FAULT_SENTENCE
        self._answered.inc()
        return answer


def _reply_metadata(message: InboundMessage) -> dict[str, str]:
    """Return what an answer says about the message it answers: its trail, and the kind of its chat."""
    facts = message.transport_meta
    return {key: facts[key] for key in ("trail", "chat_type") if key in facts}


def _trail(facts: Mapping[str, str]) -> dict[str, str]:
    """Return what the channel calls a message in its log lines, if it says so, for ours to be found with them."""
    return {"trail": facts["trail"]} if "trail" in facts else {}
