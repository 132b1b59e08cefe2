"""Jobs on schedule, by a clock that is turned by hand."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, Counter

from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.contract.messages import InboundMessage, OutboundMessage
from maven_channel_wecom.host.agents.agent import AgentError, Failure
from maven_channel_wecom.host.bus import Bus
from maven_channel_wecom.host.configuration import Job
from maven_channel_wecom.host.cron import Cron
from maven_channel_wecom.host.schedules import Calendar, Interval, Schedule
from tests.host.fake_channel import FakeChannel, FakePlugin, manager_with

START = datetime(2026, 11, 20, 8, 59, 30)  # noqa: DTZ001 -- naive local time, as cron reads it


class HandClock:
    """Time passes only when `pass_time` says so."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.wall_shift = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.someone_sleeps = asyncio.Event()

    def local(self) -> datetime:
        return START + timedelta(seconds=self.seconds + self.wall_shift)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.seconds + seconds, waker))
        self.someone_sleeps.set()
        await waker

    async def pass_time(self, seconds: float) -> None:
        """Wait until somebody sleeps, then let time pass and wake who is due."""
        async with asyncio.timeout(10):
            await self.someone_sleeps.wait()
        self.seconds += seconds
        for due, waker in [each for each in self._sleepers if each[0] <= self.seconds]:
            self._sleepers.remove((due, waker))
            waker.set_result(None)
        if not self._sleepers:
            self.someone_sleeps.clear()


class Recorder:
    """An agent that keeps what it was asked, and how to wait for it."""

    def __init__(self) -> None:
        self.asked: list[InboundMessage] = []
        self.error: Exception | None = None
        self.text = "the report"
        self.gate = asyncio.Event()
        self.gate.set()
        self.running = 0
        self._changed = asyncio.Condition()

    async def answer(self, message: InboundMessage) -> str:
        self.asked.append(message)
        self.running += 1
        async with self._changed:
            self._changed.notify_all()
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error
        return self.text

    async def times(self, count: int) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.asked) >= count)

    async def close(self) -> None:
        pass


class Bench:
    """A cron with one job and everything around it."""

    def __init__(self, schedule: Schedule, *, deliver: bool = False, reactive_only: bool = True) -> None:
        self.clock = HandClock()
        self.agent = Recorder()
        self.plugin = FakePlugin(reactive_only=reactive_only)
        self.metrics = CollectorRegistry()
        skips = Counter("maven_wecom_proactive_skips", "Skips.", ["channel"], registry=self.metrics)
        bus = Bus(hook=manager_with(self.plugin).hook, metrics=self.metrics, agent=self.agent, channels=["fake"])
        self.plugin.started["fake"] = FakeChannel("fake", bus)
        bus.attach("fake", self.plugin.started["fake"])
        self.job = Job(name="daily", schedule=schedule, message="report", deliver=deliver, channel="fake", to="chat")
        self.cron = Cron([self.job], bus, skips, self.clock)

    def skips(self) -> float | None:
        return self.metrics.get_sample_value("maven_wecom_proactive_skips_total", {"channel": "fake"})


def fields_of(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, object]]:
    return [vars(record)["fields"] for record in caplog.records if record.message == event]


async def test_an_interval_runs_the_agent_again_and_again() -> None:
    """First one interval after the start; the job has a session of its own."""
    bench = Bench(Interval(30))
    bench.cron.start()
    await bench.clock.pass_time(29)
    assert bench.agent.asked == []
    await bench.clock.pass_time(1)
    await bench.agent.times(1)
    await bench.clock.pass_time(30)
    await bench.agent.times(2)
    await bench.cron.stop()
    first, second = bench.agent.asked
    assert (first.channel, first.chat_id, first.content) == ("cron", "daily", "report")
    assert first.message_id != second.message_id
    assert bench.plugin.sent == []


async def test_a_calendar_follows_the_wall_clock() -> None:
    """Nine o'clock is thirty seconds away; somebody setting the clock ahead brings the next one near."""
    bench = Bench(Calendar("0 9 * * *"))
    bench.cron.start()
    await bench.clock.pass_time(30)
    await bench.agent.times(1)
    async with asyncio.timeout(10):
        await bench.clock.someone_sleeps.wait()
    bench.clock.wall_shift = 86400
    await bench.clock.pass_time(60)
    await bench.agent.times(2)
    await bench.cron.stop()


async def test_a_job_does_not_overlap_itself() -> None:
    """What comes due while it runs is left out."""
    bench = Bench(Interval(30))
    bench.agent.gate.clear()
    bench.cron.start()
    await bench.clock.pass_time(30)
    await bench.agent.times(1)
    bench.clock.seconds += 100
    bench.agent.gate.set()
    await bench.clock.pass_time(19)
    assert len(bench.agent.asked) == 1
    await bench.clock.pass_time(1)
    await bench.agent.times(2)
    await bench.cron.stop()


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (AgentError(Failure("timeout", "…"), code="slow"), {"job": "daily", "reason": "timeout", "code": "slow"}),
        (ValueError("bug"), {"job": "daily", "reason": "fault"}),
    ],
    ids=["failure", "bug"],
)
async def test_a_failing_job_goes_on(
    caplog: pytest.LogCaptureFixture, error: Exception, fields: dict[str, object]
) -> None:
    """It is logged, nothing of it is delivered, and the next time comes."""
    bench = Bench(Interval(30), deliver=True, reactive_only=False)
    bench.agent.error = error
    bench.cron.start()
    await bench.clock.pass_time(30)
    await bench.agent.times(1)
    await bench.clock.pass_time(30)
    await bench.agent.times(2)
    await bench.cron.stop()
    assert fields_of(caplog, "cron job failed")[0] == fields
    assert bench.plugin.sent == []


async def test_an_answer_is_delivered_where_a_channel_may_speak_first() -> None:
    """To the chat `to`, as an answer to nothing."""
    bench = Bench(Interval(30), deliver=True, reactive_only=False)
    await bench.cron.run(bench.job)
    assert bench.plugin.sent == [OutboundMessage(channel="fake", chat_id="chat", content="the report")]
    assert not bench.skips()


async def test_delivery_to_a_reactive_only_channel_is_skipped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The agent runs all the same: what it does may be the point. The warning names job and channel."""
    bench = Bench(Interval(30), deliver=True)
    await bench.cron.run(bench.job)
    assert len(bench.agent.asked) == 1
    assert bench.plugin.sent == []
    assert bench.skips() == 1
    assert fields_of(caplog, "cron delivery skipped") == [
        {"job": "daily", "channel": "fake", "reason": "reactive_only"}
    ]
    assert "the report" not in caplog.text


async def test_a_blank_answer_is_no_delivery() -> None:
    """There is nothing to skip."""
    bench = Bench(Interval(30), deliver=True)
    bench.agent.text = " "
    await bench.cron.run(bench.job)
    assert not bench.skips()


async def test_a_channel_without_capabilities_fails_the_job(caplog: pytest.LogCaptureFixture) -> None:
    """A plugin that does not tell what its channel can do is not trusted to speak first."""
    bench = Bench(Interval(30), deliver=True, reactive_only=False)

    class Silent(FakePlugin):
        @hookimpl
        def maven_channel_capabilities(self) -> None:  # type: ignore[override]  # the contract allows None
            return None

    bench.cron._bus._hook = manager_with(Silent()).hook
    await bench.cron.run(bench.job)
    assert fields_of(caplog, "cron job failed") == [{"job": "daily", "reason": "fault"}]


async def test_stopping_lets_a_running_job_finish() -> None:
    """Work in hand is finished, new work is not begun."""
    bench = Bench(Interval(30), deliver=True, reactive_only=False)
    bench.agent.gate.clear()
    bench.cron.start()
    await bench.clock.pass_time(30)
    await bench.agent.times(1)
    stopping = asyncio.create_task(bench.cron.stop())
    await asyncio.sleep(0)
    bench.agent.gate.set()
    async with asyncio.timeout(10):
        await stopping
    assert len(bench.plugin.sent) == 1


async def test_stopping_cancels_a_job_that_does_not_finish() -> None:
    """A shutdown has an end."""
    bench = Bench(Interval(30))
    bench.agent.gate.clear()
    bench.cron.start()
    await bench.clock.pass_time(30)
    await bench.agent.times(1)
    async with asyncio.timeout(10):
        await bench.cron.stop(drain_seconds=0.01)
    assert bench.agent.running == 0


def test_a_job_shows_nothing_but_its_name(caplog: pytest.LogCaptureFixture) -> None:
    """What it asks and whom it tells stay out of logs."""
    caplog.set_level(logging.DEBUG)
    job = Job(name="daily", schedule=Interval(1), message="canary", to="canary")
    assert repr(job) == "<Job daily>"
