"""Cron jobs, with a clock that each test advances."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry, Counter

from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.contract.messages import InboundMessage, OutboundMessage
from maven_channel_wecom.host.agents.agent import AgentError, Answer, Failure, Turn
from maven_channel_wecom.host.bus import Bus
from maven_channel_wecom.host.configuration import Job
from maven_channel_wecom.host.cron import Cron
from maven_channel_wecom.host.schedules import Calendar, Interval, Schedule
from maven_channel_wecom.sentences import Sentence
from tests.host.fake_channel import FakeChannel, FakePlugin, manager_with

START = datetime(2026, 11, 20, 8, 59, 30)  # noqa: DTZ001 -- naive local time, as cron reads it

SHANGHAI = ZoneInfo("Asia/Shanghai")


class ManualClock:
    """A clock that only `advance` moves."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.wall_shift = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.sleeping = asyncio.Event()

    def wall(self, zone: tzinfo | None) -> datetime:
        start = START if zone is None else START.replace(tzinfo=UTC).astimezone(zone)
        return start + timedelta(seconds=self.seconds + self.wall_shift)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        wake_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.seconds + seconds, wake_up))
        self.sleeping.set()
        await wake_up

    async def advance(self, seconds: float) -> None:
        """Wait until a task sleeps, then advance the time and wake every task that is due."""
        async with asyncio.timeout(10):
            await self.sleeping.wait()
        self.seconds += seconds
        for due, wake_up in [each for each in self._sleepers if each[0] <= self.seconds]:
            self._sleepers.remove((due, wake_up))
            wake_up.set_result(None)
        if not self._sleepers:
            self.sleeping.clear()


class RecordingAgent:
    """An agent that records its messages and lets a test wait for them."""

    def __init__(self) -> None:
        self.asked: list[InboundMessage] = []
        self.error: Exception | None = None
        self.text = "the report"
        self.gate = asyncio.Event()
        self.gate.set()
        self.running = 0
        self._changed = asyncio.Condition()

    async def answer(self, turn: Turn) -> Answer:
        self.asked.append(turn.message)
        self.running += 1
        async with self._changed:
            self._changed.notify_all()
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error
        return Answer(self.text)

    async def wait_for_messages(self, count: int) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.asked) >= count)

    async def close(self) -> None:
        pass


class Setup:
    """A cron with one job, and the parts it works with."""

    def __init__(self, schedule: Schedule, *, deliver: bool = False, reactive_only: bool = True) -> None:
        self.clock = ManualClock()
        self.agent = RecordingAgent()
        self.plugin = FakePlugin(reactive_only=reactive_only)
        self.metrics = CollectorRegistry()
        skips = Counter("maven_wecom_proactive_skips", "Skips.", ["channel"], registry=self.metrics)
        bus = Bus(hook=manager_with(self.plugin).hook, metrics=self.metrics, agent=self.agent)
        self.plugin.started["fake"] = FakeChannel("fake", bus)
        bus.attach("fake", self.plugin.started["fake"])
        self.job = Job(name="daily", schedule=schedule, message="report", deliver=deliver, channel="fake", to="chat")
        self.cron = Cron([self.job], bus, skips, self.clock)

    def skips(self) -> float | None:
        return self.metrics.get_sample_value("maven_wecom_proactive_skips_total", {"channel": "fake"})


def fields_of(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, object]]:
    return [vars(record)["fields"] for record in caplog.records if record.message == event]


async def test_a_job_with_an_interval_runs_repeatedly_in_its_own_session() -> None:
    """The first run is one interval after the start."""
    setup = Setup(Interval(30))
    setup.cron.start()
    await setup.clock.advance(29)
    assert setup.agent.asked == []
    await setup.clock.advance(1)
    await setup.agent.wait_for_messages(1)
    await setup.clock.advance(30)
    await setup.agent.wait_for_messages(2)
    await setup.cron.stop()
    first, second = setup.agent.asked
    assert (first.channel, first.chat_id, first.content) == ("cron", "daily", "report")
    assert first.message_id != second.message_id
    assert setup.plugin.sent == []


async def test_a_job_with_a_cron_expression_follows_the_wall_clock() -> None:
    """It notices within a minute that the clock was set."""
    setup = Setup(Calendar("0 9 * * *"))
    setup.cron.start()
    await setup.clock.advance(30)
    await setup.agent.wait_for_messages(1)
    async with asyncio.timeout(10):
        await setup.clock.sleeping.wait()
    setup.clock.wall_shift = 86400
    await setup.clock.advance(60)
    await setup.agent.wait_for_messages(2)
    await setup.cron.stop()


async def test_a_job_may_have_a_time_zone_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """The log shows at the start when it will run."""
    caplog.set_level(logging.INFO)
    setup = Setup(Calendar("0 17 * * *", SHANGHAI))
    setup.cron.start()
    assert fields_of(caplog, "cron job scheduled") == [{"job": "daily", "next": "2026-11-20T17:00:00+08:00"}]
    await setup.clock.advance(30)
    await setup.agent.wait_for_messages(1)
    await setup.cron.stop()


@pytest.mark.parametrize(("schedule", "wait"), [(Interval(45), 45), (Calendar("0 9 * * *"), 30)])
async def test_the_next_run_is_logged_at_the_start_with_its_distance_from_utc(
    caplog: pytest.LogCaptureFixture, schedule: Schedule, wait: int
) -> None:
    caplog.set_level(logging.INFO)
    setup = Setup(schedule)
    setup.cron.start()
    await setup.cron.stop()
    (fields,) = fields_of(caplog, "cron job scheduled")
    assert datetime.fromisoformat(str(fields["next"])) == (START + timedelta(seconds=wait)).astimezone()


async def test_a_run_that_comes_due_during_another_is_skipped() -> None:
    setup = Setup(Interval(30))
    setup.agent.gate.clear()
    setup.cron.start()
    await setup.clock.advance(30)
    await setup.agent.wait_for_messages(1)
    setup.clock.seconds += 100
    setup.agent.gate.set()
    await setup.clock.advance(19)
    assert len(setup.agent.asked) == 1
    await setup.clock.advance(1)
    await setup.agent.wait_for_messages(2)
    await setup.cron.stop()


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (
            AgentError(Failure("timeout", Sentence("…", "…")), code="slow"),
            {"job": "daily", "reason": "timeout", "code": "slow"},
        ),
        (ValueError("bug"), {"job": "daily", "reason": "fault"}),
    ],
    ids=["failure", "bug"],
)
async def test_a_failing_job_is_logged_and_runs_again(
    caplog: pytest.LogCaptureFixture, error: Exception, fields: dict[str, object]
) -> None:
    setup = Setup(Interval(30), deliver=True, reactive_only=False)
    setup.agent.error = error
    setup.cron.start()
    await setup.clock.advance(30)
    await setup.agent.wait_for_messages(1)
    await setup.clock.advance(30)
    await setup.agent.wait_for_messages(2)
    await setup.cron.stop()
    assert fields_of(caplog, "cron job failed")[0] == fields
    assert setup.plugin.sent == []


async def test_an_answer_is_delivered_if_the_channel_can_send_proactively() -> None:
    setup = Setup(Interval(30), deliver=True, reactive_only=False)
    await setup.cron.run(setup.job)
    assert setup.plugin.sent == [OutboundMessage(channel="fake", chat_id="chat", content="the report")]
    assert not setup.skips()


async def test_delivery_to_a_reactive_only_channel_is_skipped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The agent runs even so: what it does may be the purpose of the job."""
    setup = Setup(Interval(30), deliver=True)
    await setup.cron.run(setup.job)
    assert len(setup.agent.asked) == 1
    assert setup.plugin.sent == []
    assert setup.skips() == 1
    assert fields_of(caplog, "cron delivery skipped") == [
        {"job": "daily", "channel": "fake", "reason": "reactive_only"}
    ]
    assert "the report" not in caplog.text


async def test_a_blank_answer_does_not_count_as_a_skipped_delivery() -> None:
    setup = Setup(Interval(30), deliver=True)
    setup.agent.text = " "
    await setup.cron.run(setup.job)
    assert not setup.skips()


async def test_a_job_fails_if_no_plugin_reports_the_capabilities_of_its_channel(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setup = Setup(Interval(30), deliver=True, reactive_only=False)

    class NoCapabilities(FakePlugin):
        @hookimpl
        def maven_channel_capabilities(self) -> None:  # type: ignore[override]  # the contract allows None
            return None

    setup.cron._bus._hook = manager_with(NoCapabilities()).hook
    await setup.cron.run(setup.job)
    assert fields_of(caplog, "cron job failed") == [{"job": "daily", "reason": "fault"}]


async def test_stopping_lets_a_running_job_finish() -> None:
    setup = Setup(Interval(30), deliver=True, reactive_only=False)
    setup.agent.gate.clear()
    setup.cron.start()
    await setup.clock.advance(30)
    await setup.agent.wait_for_messages(1)
    stopping = asyncio.create_task(setup.cron.stop())
    await asyncio.sleep(0)
    setup.agent.gate.set()
    async with asyncio.timeout(10):
        await stopping
    assert len(setup.plugin.sent) == 1


async def test_stopping_cancels_a_job_that_does_not_finish_in_time() -> None:
    setup = Setup(Interval(30))
    setup.agent.gate.clear()
    setup.cron.start()
    await setup.clock.advance(30)
    await setup.agent.wait_for_messages(1)
    async with asyncio.timeout(10):
        await setup.cron.stop(drain_seconds=0.01)
    assert setup.agent.running == 0


def test_the_repr_of_a_job_shows_only_its_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    job = Job(name="daily", schedule=Interval(1), message="canary", to="canary")
    assert repr(job) == "<Job daily>"
