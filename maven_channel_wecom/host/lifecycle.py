"""Starts and drains the parts of a host: agent, status server, channels, cron. Reads no file and handles no signal."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter

from maven_channel_wecom.clock import SystemClock
from maven_channel_wecom.contract.channel import Channel, ChannelStartError
from maven_channel_wecom.host.agents.echo import EchoAgent
from maven_channel_wecom.host.agents.http_agent import HttpAgent
from maven_channel_wecom.host.bus import Bus
from maven_channel_wecom.host.configuration import Echo
from maven_channel_wecom.host.cron import Cron
from maven_channel_wecom.host.memory import Memory, open_store
from maven_channel_wecom.host.status_server import StatusServer

if TYPE_CHECKING:
    import pluggy

    from maven_channel_wecom.contract.messages import Health
    from maven_channel_wecom.host.agents.agent import Agent
    from maven_channel_wecom.host.configuration import Configuration

logger = logging.getLogger(__name__)

HEALTH_TIMEOUT_SECONDS: Final = 2
"""Timeout of a channel's health check. Higher: the client of `/readyz` may time out before it is answered."""


class Host:
    """A running host. Call `start`, then `stop`; a start that fails stops what it has started."""

    def __init__(
        self,
        configuration: Configuration,
        plugins: pluggy.PluginManager,
        *,
        agent: Agent | None = None,
    ) -> None:
        self.metrics = CollectorRegistry()
        self.channels: dict[str, Channel] = {}
        self._configuration = configuration
        self._hook = plugins.hook
        self._agent = agent
        self._memory: Memory | None = None
        self._cron: Cron | None = None
        self._probing: asyncio.Task[None] | None = None
        self._status = StatusServer(configuration.gateway, self.metrics, self.reasons)
        self._phase = "starting"
        self._skips = Counter(
            "maven_wecom_proactive_skips",
            "Proactive deliveries skipped because the channel is reactive only.",
            ["channel"],
            registry=self.metrics,
        )
        for name in configuration.channels:
            self._skips.labels(channel=name)

    @property
    def port(self) -> int:
        """The port of the status server: the actual one after `start`, even if `gateway.port` is 0."""
        return self._status.port

    async def start(self) -> None:
        """Start everything. Channels listen when this returns.

        Raises:
            StatusServerError: `gateway.host` or `gateway.port` cannot be listened on.
            ChannelStartError: A channel cannot start.
            MemoryUnavailable: The file of `agent.memoryState` cannot be used.
        """
        try:
            # First, so that a probe can tell a starting host from a dead one.
            await self._status.start()
            agent = self._agent = self._agent or self._open_agent()
            if isinstance(agent, HttpAgent):
                self._probing = asyncio.create_task(_report_agent(agent))
            sessions = self._configuration.sessions
            now = SystemClock().now
            store = await open_store(sessions.memory_state, now)
            self._memory = Memory(sessions.memory, sessions.limits, store, now=now)
            logger.info("agent configured", extra={"fields": _agent_facts(self._configuration)})
            bus = Bus(
                hook=self._hook,
                metrics=self.metrics,
                agent=agent,
                memory=self._memory,
                speaker_ids=sessions.speaker_ids,
                parallel_turns=sessions.parallel_turns,
            )
            for name in self._configuration.channels:
                channel = await self._start_channel(name, bus)
                self.channels[name] = channel
                bus.attach(name, channel)
            self._cron = Cron(self._configuration.cron, bus, self._skips)
            self._cron.start()
        except BaseException:
            await self.stop()
            raise
        self._phase = ""
        logger.info("gateway channels started", extra={"fields": {"channels": list(self.channels)}})

    async def stop(self) -> None:
        """Report not ready, drain channels and cron concurrently, then close agent, memory and status server."""
        self._phase = "draining"
        draining = [self._stop_channel(name, channel) for name, channel in self.channels.items()]
        await asyncio.gather(*draining, *([self._cron.stop()] if self._cron else []))
        self.channels.clear()
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        if self._agent is not None:
            await self._agent.close()
        if self._memory is not None:
            await self._memory.close()
        await self._status.stop()

    async def reasons(self) -> list[str]:
        """Return why this host is not ready, one sentence per reason; an empty list if it is ready."""
        if self._phase:
            return [f"the gateway is {self._phase}"]
        channels = list(self.channels.items())
        found = await asyncio.gather(*(self._unhealthy(name, channel) for name, channel in channels))
        return [f"{name}: {reason}" for (name, _), reasons in zip(channels, found, strict=True) for reason in reasons]

    def _open_agent(self) -> Agent:
        settings = self._configuration.agent
        return EchoAgent() if isinstance(settings, Echo) else HttpAgent(settings)

    async def _start_channel(self, name: str, bus: Bus) -> Channel:
        starting = self._hook.maven_channel_start(name=name, config=self._configuration.channels[name], host=bus)
        if starting is None:
            reason = f"channels.{name} cannot start: no installed plugin starts it; install compatible versions"
            raise ChannelStartError(reason)
        channel: Channel = await starting
        return channel

    async def _stop_channel(self, name: str, channel: Channel) -> None:
        try:
            stopping = self._hook.maven_channel_stop(channel=channel)
            if stopping is not None:
                await stopping
        except Exception:
            # The other channels must still stop.
            logger.exception("channel did not stop cleanly", extra={"fields": {"channel": name}})

    async def _unhealthy(self, name: str, channel: Channel) -> tuple[str, ...]:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_SECONDS):
                health: Health = await channel.health()
        except TimeoutError:
            return ("did not report its health in time",)
        except Exception:
            logger.exception("channel health failed", extra={"fields": {"channel": name}})
            return ("could not report its health",)
        return () if health.ready else health.reasons or ("not ready",)


def _agent_facts(configuration: Configuration) -> dict[str, str]:
    """Return the log fields that say which agent answers, and who remembers what was said."""
    if isinstance(configuration.agent, Echo):
        return {"type": "echo"}
    sessions = configuration.sessions
    return {"type": configuration.agent.type, "memory": sessions.memory, "memory_state": sessions.memory_state}


async def _report_agent(agent: HttpAgent) -> None:
    """Log whether the agent can be reached, so that a dead one is seen before the first message."""
    failure = await agent.probe()
    if failure is None:
        logger.info("agent reachable", extra={"fields": agent.facts})
    else:
        logger.warning("agent unreachable", extra={"fields": agent.facts | failure.facts})
