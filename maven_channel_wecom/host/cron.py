"""Runs the agent on schedule, and delivers its answers where a channel may speak first. Knows no file and no signal."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from maven_channel_wecom.contract.messages import Capabilities, InboundMessage, OutboundMessage, TextBlock
from maven_channel_wecom.host.agents.agent import AgentError
from maven_channel_wecom.host.schedules import Calendar, Interval

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from prometheus_client import Counter

    from maven_channel_wecom.host.bus import Bus
    from maven_channel_wecom.host.configuration import Job

logger = logging.getLogger(__name__)

CRON_CHANNEL: Final = "cron"
"""The channel a job's message comes from: each job has a session of its own, apart from every chat."""

DRAIN_SECONDS: Final = 20
"""How long running jobs may take at shutdown; with what follows it stays inside the 30 s orchestrators give."""

_LONGEST_SLEEP_SECONDS = 60


class CronClock(Protocol):
    """What a schedule needs to know of time."""

    def local(self) -> datetime:
        """Naive local wall-clock time: what cron expressions are about."""
        ...

    def monotonic(self) -> float:
        """Seconds that nobody sets back: what intervals are about."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class MachineClock:
    """The clock of this machine."""

    def local(self) -> datetime:
        """Return the wall-clock time of the machine's zone."""
        return datetime.now()  # noqa: DTZ005 -- naive local time is what is asked for

    def monotonic(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)


class Cron:
    """Keeps every job on its schedule. A job never overlaps itself: what comes due while it runs is left out."""

    def __init__(self, jobs: Sequence[Job], bus: Bus, skips: Counter, clock: CronClock | None = None) -> None:
        self._jobs = jobs
        self._bus = bus
        self._skips = skips
        self._clock = clock or MachineClock()
        self._keepers: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start waiting for the first job to come due."""
        self._keepers = [asyncio.create_task(self._keep(job), name=f"cron {job.name}") for job in self._jobs]

    async def stop(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Start nothing more, let running jobs finish within a time, then cancel them."""
        for keeper in self._keepers:
            keeper.cancel()
        running = set(self._running)
        if running:
            await asyncio.wait(running, timeout=drain_seconds)
        for task in running:
            task.cancel()
        await asyncio.gather(*self._keepers, *running, return_exceptions=True)

    async def _keep(self, job: Job) -> None:
        ticks = (
            _intervals(self._clock, job.schedule)
            if isinstance(job.schedule, Interval)
            else _calendar(self._clock, job.schedule)
        )
        async for _ in ticks:
            # A task of its own, shielded: stopping the schedule does not cut off the work.
            run = asyncio.create_task(self.run(job), name=f"cron {job.name} run")
            self._running.add(run)
            run.add_done_callback(self._running.discard)
            await asyncio.shield(run)

    async def run(self, job: Job) -> None:
        """Run one job now. Whatever goes wrong is logged, so that the next time comes."""
        try:
            answer = await self._bus.ask(_message(job, self._clock.local()))
            if job.deliver and answer.strip():
                await self._deliver(job, answer)
            logger.info("cron job done", extra={"fields": {"job": job.name}})
        except AgentError as error:
            logger.warning("cron job failed", extra={"fields": {"job": job.name} | error.facts})
        except Exception:
            logger.exception("cron job failed", extra={"fields": {"job": job.name, "reason": "fault"}})

    async def _deliver(self, job: Job, answer: str) -> None:
        channel = await self._bus.channel(job.channel)
        capabilities: Capabilities | None = self._bus.hook.maven_channel_capabilities(channel=channel)
        if capabilities is None:
            reason = f"no plugin tells the capabilities of channel {job.channel}"
            raise LookupError(reason)
        if capabilities.reactive_only:
            self._skips.labels(channel=job.channel).inc()
            logger.warning(
                "cron delivery skipped",
                extra={"fields": {"job": job.name, "channel": job.channel, "reason": "reactive_only"}},
            )
            return
        await self._bus.send(OutboundMessage(channel=job.channel, chat_id=job.to, content=answer))


async def _intervals(clock: CronClock, interval: Interval) -> AsyncIterator[None]:
    due = clock.monotonic()
    while True:
        due = interval.next_due(due, clock.monotonic())
        await clock.sleep(due - clock.monotonic())
        yield


async def _calendar(clock: CronClock, calendar: Calendar) -> AsyncIterator[None]:
    last = clock.local()
    while True:
        due = calendar.next_due(last)
        # Through timestamps, so that a change to summer time counts; in short sleeps, so that a set clock does too.
        while (wait := due.timestamp() - clock.local().timestamp()) > 0:
            await clock.sleep(min(wait, _LONGEST_SLEEP_SECONDS))
        yield
        last = max(due, clock.local())


def _message(job: Job, now: datetime) -> InboundMessage:
    return InboundMessage(
        channel=CRON_CHANNEL,
        sender_id=CRON_CHANNEL,
        chat_id=job.name,
        content=job.message,
        timestamp=int(now.timestamp()),
        message_id=f"{job.name}@{now.isoformat(timespec='seconds')}",
        content_blocks=(TextBlock(text=job.message),),
    )
