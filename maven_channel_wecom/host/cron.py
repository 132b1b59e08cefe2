"""Runs the agent on schedule and delivers its answers through channels that can send proactively."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from maven_channel_wecom.contract.messages import Capabilities, InboundMessage, OutboundMessage, TextBlock
from maven_channel_wecom.host.agents.agent import AgentError
from maven_channel_wecom.host.schedules import Calendar, Interval

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import tzinfo

    from prometheus_client import Counter

    from maven_channel_wecom.host.bus import Bus
    from maven_channel_wecom.host.configuration import Job
    from maven_channel_wecom.host.schedules import Schedule

logger = logging.getLogger(__name__)

CRON_CHANNEL: Final = "cron"
"""Channel name of all job messages. It keeps the sessions of jobs apart from those of chats."""

DRAIN_SECONDS: Final = 20
"""Maximum time for running jobs to finish at shutdown. With the operations after it, it fits the 30 s that
orchestrators allow."""

_MAX_SLEEP_SECONDS = 60


class CronClock(Protocol):
    """The time functions that schedules need."""

    def wall(self, zone: tzinfo | None) -> datetime:
        """Return the wall-clock time in a time zone, for cron expressions; naive, in that of this machine, for None."""
        ...

    def monotonic(self) -> float:
        """Return the seconds of a clock that is never set back, for intervals."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        ...


class MachineClock:
    """The clock of this machine."""

    def wall(self, zone: tzinfo | None) -> datetime:
        """Return the wall-clock time."""
        return datetime.now(zone)

    def monotonic(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)


class Cron:
    """Runs every job on its schedule. A job never overlaps itself: runs due while it is running are skipped."""

    def __init__(self, jobs: Sequence[Job], bus: Bus, skips: Counter, clock: CronClock | None = None) -> None:
        self._jobs = jobs
        self._bus = bus
        self._skips = skips
        self._clock = clock or MachineClock()
        self._schedules: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start the schedule of every job, and log when each will run first."""
        for job in self._jobs:
            fields = {"job": job.name, "next": self._next_run(job.schedule).isoformat(timespec="seconds")}
            logger.info("cron job scheduled", extra={"fields": fields})
        self._schedules = [
            asyncio.create_task(self._run_on_schedule(job), name=f"cron {job.name}") for job in self._jobs
        ]

    async def stop(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Start no more runs, let running jobs finish within `drain_seconds`, then cancel them."""
        for schedule in self._schedules:
            schedule.cancel()
        running = set(self._running)
        if running:
            await asyncio.wait(running, timeout=drain_seconds)
        for task in running:
            task.cancel()
        await asyncio.gather(*self._schedules, *running, return_exceptions=True)

    def _next_run(self, schedule: Schedule) -> datetime:
        """Return the first time a schedule comes due, with its distance from UTC."""
        if isinstance(schedule, Interval):
            return self._clock.wall(None).astimezone() + timedelta(seconds=schedule.seconds)
        due = schedule.next_due(self._clock.wall(schedule.zone))
        # astimezone would convert to the time zone of this machine.
        return due if schedule.zone else due.astimezone()

    async def _run_on_schedule(self, job: Job) -> None:
        ticks = (
            _interval_ticks(self._clock, job.schedule)
            if isinstance(job.schedule, Interval)
            else _calendar_ticks(self._clock, job.schedule)
        )
        async for _ in ticks:
            # A separate, shielded task: stopping the schedule must not cancel a run in progress.
            run = asyncio.create_task(self.run(job), name=f"cron {job.name} run")
            self._running.add(run)
            run.add_done_callback(self._running.discard)
            await asyncio.shield(run)

    async def run(self, job: Job) -> None:
        """Run one job now. Errors are logged and not raised, so that the schedule continues."""
        try:
            answer = await self._bus.ask(_message(job, self._clock.wall(None)))
            if job.deliver and answer.strip():
                await self._deliver(job, answer)
            logger.info("cron job done", extra={"fields": {"job": job.name}})
        except AgentError as error:
            logger.warning("cron job failed", extra={"fields": {"job": job.name} | error.facts})
        except Exception:
            logger.exception("cron job failed", extra={"fields": {"job": job.name, "reason": "fault"}})

    async def _deliver(self, job: Job, answer: str) -> None:
        channel = self._bus.channel(job.channel)
        capabilities: Capabilities | None = self._bus.hook.maven_channel_capabilities(channel=channel)
        if capabilities is None:
            reason = f"no plugin reports the capabilities of channel {job.channel}"
            raise LookupError(reason)
        if capabilities.reactive_only:
            self._skips.labels(channel=job.channel).inc()
            logger.warning(
                "cron delivery skipped",
                extra={"fields": {"job": job.name, "channel": job.channel, "reason": "reactive_only"}},
            )
            return
        await self._bus.send(OutboundMessage(channel=job.channel, chat_id=job.to, content=answer))


async def _interval_ticks(clock: CronClock, interval: Interval) -> AsyncIterator[None]:
    due = clock.monotonic()
    while True:
        due = interval.next_due(due, clock.monotonic())
        await clock.sleep(due - clock.monotonic())
        yield


async def _calendar_ticks(clock: CronClock, calendar: Calendar) -> AsyncIterator[None]:
    last = clock.wall(calendar.zone)
    while True:
        due = calendar.next_due(last)
        # Timestamps account for a change to summer time, short sleeps for a change of the system clock.
        while (wait := due.timestamp() - clock.wall(calendar.zone).timestamp()) > 0:
            await clock.sleep(min(wait, _MAX_SLEEP_SECONDS))
        yield
        last = max(due, clock.wall(calendar.zone))


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
