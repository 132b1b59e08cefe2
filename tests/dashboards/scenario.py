"""A scenario that triggers every alert under a real Prometheus and then recovers.

python -m tests.dashboards.scenario
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards.alerts import ALERTS
from maven_channel_wecom.simulator.faults import Delay
from maven_channel_wecom.simulator.messages import Text
from tests.dashboards.committed import DASHBOARDS, fill_in_variables, panel_queries
from tests.dashboards.preview_page import NO_DATA, TimeRange, render_page
from tests.dashboards.scene import Scene, SceneClock
from tests.dashboards.shortened_rules import shortened_rules
from tests.e2e.watch import Watch
from tests.fakes.prometheus_server import PrometheusServer
from tests.soak.fleet import lone_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.soak.fleet import Gateway

MANIFEST = tomllib.loads((Path(__file__).parents[2] / "plugin.toml").read_text(encoding="utf-8"))

BOTS = ("wecom", "support", "assistant")
_TIMEOUT_SECONDS = 90.0
_STAGE_SECONDS = 120.0
_POLL_SECONDS = 0.2
# Longer than all stages up to the check on a busy machine: some events occur in the first stage only.
_INTERVAL = _RANGE = "120s"

CONSTANT = {"maven_wecom_build_info", "maven_wecom_inbox_limit"}

OF_ANSWERS = {
    "WeComAnswerBudgetBurnsFast",
    "WeComAnswerBudgetBurns",
    "WeComAnswerBudgetBurnsSlowly",
    "WeComAnswersUndelivered",
    "WeComReplyWindowsExpiring",
    "WeComMessagesStuck",
    "WeComAgentFailing",
    "WeComMessagesFailed",
    "WeComMediaFailing",
    "WeComProactiveDeliveriesSkipped",
    "WeComSignatureFailures",
    "WeComClockSkew",
    "WeComInboxFilling",
    "WeComLoopLagging",
    "WeComLogLinesSuppressed",
}
OF_STREAMS = {"WeComFirstSignLate", "WeComStreamsNotFetched", "WeComRefreshesUnknown"}
OF_THE_STATE = {
    "WeComStateDown",
    "WeComStateFailing",
    "WeComAcknowledgeBudgetBurnsFast",
    "WeComAcknowledgeBudgetBurns",
    "WeComAcknowledgeBudgetBurnsSlowly",
}
OF_CREDENTIALS = {"WeComNothingOpens", "WeComNoCallbacks"}
OF_THE_PROCESS = {"WeComRestarting", "WeComFileDescriptorsRunningOut"}
OF_CONNECTIONS = {"WeComConnectionsDropped"}
OF_SILENCE = {"WeComTargetDown", "WeComMetricsAbsent"}


@dataclass
class Findings:
    """The results of the scenario."""

    fired: set[str] = field(default_factory=set)
    of_healthy_channel: set[str] = field(default_factory=set)
    """Alerts of the channel that had no trouble."""
    without_result: list[str] = field(default_factory=list)
    """Expressions of panels and rules without a number."""
    rule_problems: list[str] = field(default_factory=list)
    unchanged: set[str] = field(default_factory=set)
    """Metrics that did not change."""
    before_trouble: set[str] = field(default_factory=set)
    """Alerts that fired before the first trouble."""
    still_firing: set[str] = field(default_factory=set)
    """Alerts that still fired after the recovery."""
    durations: dict[str, float] = field(default_factory=dict)
    """Duration of each stage, in seconds."""


class Scenario:
    """The stages of the scenario, on one scene and under one Prometheus."""

    def __init__(self, scene: Scene, prometheus: PrometheusServer, findings: Findings) -> None:
        self.scene = scene
        self.prometheus = prometheus
        self.findings = findings
        self._all_bots_busy = True
        self._trouble_began = 0.0

    @contextlib.asynccontextmanager
    async def background_traffic(self) -> AsyncIterator[None]:
        """Let users chat with all bots in the background."""
        writing = asyncio.create_task(self._write())
        try:
            yield
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def cause_until_fired(self, fire: set[str], cause: Callable[[], Awaitable[object]]) -> None:
        """Cause trouble repeatedly until each of these alerts has fired."""
        missing = set(fire)
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                while missing:
                    await cause()
                    await asyncio.sleep(_POLL_SECONDS)
                    missing -= await self.firing()
        except TimeoutError:
            message = f"did not fire: {sorted(missing)}"
            raise AssertionError(message) from None

    async def until_quiet(self) -> set[str]:
        """Wait until no alert fires, and return the alerts that still fire at the timeout."""
        firing: set[str] = set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                while firing := await self.firing():  # noqa: ASYNC110 - Prometheus announces nothing
                    await asyncio.sleep(_POLL_SECONDS)
        return firing

    async def firing(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        return {alert.name for alert in await self.prometheus.firing()}

    async def record_fired(self) -> None:
        """Record every alert that has fired since the end of `normal_operation`, however briefly."""
        fired = await self.prometheus.fired(max(1, int(time.monotonic() - self._trouble_began)))
        self.findings.fired = {alert.name for alert in fired}
        self.findings.of_healthy_channel = {alert.name for alert in fired if alert.channel == BOTS[1]}

    async def normal_operation(self) -> None:
        """Wait for normal operation, in which no alert fires."""
        await self.scene.silent_connections()
        await self.scene.every_kind_of_message()
        await self.scene.streams()
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            answers = "job_channel:maven_wecom_answer_events:rate1h > 0"
            while len(await self.prometheus.query(answers)) < len(BOTS):  # noqa: ASYNC110 - the same
                await asyncio.sleep(_POLL_SECONDS)
        # Before the first scrape, WeComMetricsAbsent fires.
        self.findings.before_trouble = await self.until_quiet()
        self._trouble_began = time.monotonic()

    async def trouble_with_answers(self) -> None:
        scene = self.scene
        await scene.hold_messages()
        scene.set_clock_of_wecom(right=False)
        scene.agent.has_news = True
        self._all_bots_busy = False
        await self.cause_until_fired(OF_ANSWERS, scene.trouble_with_messages)
        self._all_bots_busy = True
        scene.agent.has_news = False
        scene.set_clock_of_wecom(right=True)
        scene.agent.release("hold")

    async def trouble_with_streams(self) -> None:
        # A chat would hold the clock while Redis is frozen.
        self._all_bots_busy = False
        await self.cause_until_fired(OF_STREAMS, self.scene.trouble_with_streams)
        self._all_bots_busy = True

    async def trouble_with_the_state(self) -> None:
        await asyncio.to_thread(self.scene.redis.stop)
        await self.cause_until_fired(OF_THE_STATE, lambda: self.scene.callbacks_that_may_be_refused(4))
        await self.scene.redis.restart()

    async def trouble_with_credentials(self) -> None:
        """Make the bot busy, then send nothing but callbacks with wrong signatures."""
        # Chats wait for each other, and a streamed answer takes long.
        self._all_bots_busy = False
        for _ in range(80):
            await self.scene.chat(self.scene.faulty)
        await self.cause_until_fired(OF_CREDENTIALS, lambda: self.scene.wrong_signatures(6))
        self._all_bots_busy = True

    async def trouble_with_silent_connections(self) -> None:
        """Wait for the alert about the silent connections of the beginning, which the server drops."""
        await self.record_fired()
        while not self.findings.fired >= OF_CONNECTIONS:
            await asyncio.sleep(_POLL_SECONDS)
            await self.record_fired()

    async def shutdown_of_everything(self, gateway: Gateway) -> None:
        """Stop every gateway, so that nothing is left to scrape, and start them again."""
        await self.scene.close()
        await gateway.kill()
        await self.cause_until_fired(OF_SILENCE, lambda: asyncio.sleep(0))
        await gateway.start()
        await self.scene.open()
        await self.prometheus.until_up()

    async def check_metrics(self) -> None:
        """Record the metrics that have not changed since the beginning."""
        for metric in MANIFEST["metric"]:
            name = metric["name"] + ("_count" if metric["type"] == "histogram" else "")
            moved = f"max_over_time({name}[{_RANGE}]) != min_over_time({name}[{_RANGE}])"
            if not await self.prometheus.query(moved):
                self.findings.unchanged.add(metric["name"])

    async def check_expressions(self) -> None:
        """Record the expressions of dashboards and rules that have no result."""
        for panel in panel_queries():
            if not await self.prometheus.query(fill_in_variables(panel.expr, interval=_INTERVAL, time_range=_RANGE)):
                self.findings.without_result.append(f"{panel.dashboard}: {panel.panel}: {panel.expr}")
        now = time.time()
        time_range = TimeRange(start=now - 30, end=now, step=2, interval=_INTERVAL)
        for name, dashboard in DASHBOARDS.items():
            if NO_DATA in await render_page(dashboard, self.prometheus, time_range, note="the scenario"):
                self.findings.without_result.append(f"{name}: a panel of the preview")
        self.findings.rule_problems = await self.prometheus.rule_problems()

    async def _write(self) -> None:
        while True:
            await self.scene.chat(self.scene.healthy)
            if self._all_bots_busy:
                await self.scene.chat(self.scene.faulty)
                await self.scene.chat(self.scene.streaming)
            await asyncio.sleep(_POLL_SECONDS)


async def trouble_with_the_process(scenario: Scenario, wecom: SimulatedWeCom, gateway: Gateway) -> None:
    """Kill a gateway repeatedly while it sends an answer, and exhaust its file descriptors."""
    wecom.callback_url = gateway.callback_url
    _, most = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)

    async def restart() -> None:
        held = Delay()
        message_id = wecom.new_message_id()
        wecom.reply_faults.add(held, message_id=message_id)
        await wecom.send(Text("answer me"), message_id=message_id)
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            await held.reached.wait()
        await gateway.kill()
        held.release.set()
        await gateway.start()
        open_files = len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))
        # Room for a connection or two, so that it can still be scraped.
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (open_files + 2, most))
        await scenario.cause_until_fired({"WeComFileDescriptorsRunningOut"}, lambda: asyncio.sleep(_POLL_SECONDS))

    await scenario.cause_until_fired(OF_THE_PROCESS, restart)
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (most, most))


async def run_scenario(folder: Path, *, whole: bool, report: Callable[[str], object] = lambda _line: None) -> Findings:
    """Run the scenario. `whole` adds a separate gateway process that is killed, and a shutdown of all gateways."""
    findings = Findings()
    async with contextlib.AsyncExitStack() as stack:
        scene = await stack.enter_async_context(Scene(Watch(), SceneClock()))
        targets = [scene.target]
        if whole:
            wecom, gateway = await stack.enter_async_context(lone_gateway(folder))
            targets.append(gateway.target)
        prometheus = await stack.enter_async_context(
            PrometheusServer(folder, targets, rules=shortened_rules(slow_start=whole))
        )
        scenario = Scenario(scene, prometheus, findings)

        async def stage(name: str, act: Callable[[], Awaitable[None]]) -> None:
            started = time.monotonic()
            async with asyncio.timeout(_STAGE_SECONDS):
                await act()
            findings.durations[name] = time.monotonic() - started
            report(f"{name}: {findings.durations[name]:.1f} s")

        async def quiet() -> None:
            findings.still_firing = await scenario.until_quiet()

        async with scenario.background_traffic():
            await stage("normal operation", scenario.normal_operation)
            await stage("trouble with answers", scenario.trouble_with_answers)
            await stage("trouble with streams", scenario.trouble_with_streams)
            await stage("trouble with the state", scenario.trouble_with_the_state)
            if whole:
                await stage("trouble with the process", lambda: trouble_with_the_process(scenario, wecom, gateway))
            await stage("trouble with credentials", scenario.trouble_with_credentials)
            await stage("trouble with silent connections", scenario.trouble_with_silent_connections)
            await scenario.check_metrics()
            await scenario.check_expressions()
            await stage("quiet", quiet)
        if whole and not findings.still_firing:
            await stage("shutdown of everything", lambda: scenario.shutdown_of_everything(gateway))
            async with scenario.background_traffic():
                await stage("quiet again", quiet)
        await scenario.record_fired()
    return findings


def main() -> int:
    """Run the whole scenario, print its results, and return 0 if all of them are as expected."""
    # Log lines are discarded here. Disabling the log instead would also stop the metric of suppressed lines.
    logging.getLogger().addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory() as folder:
        findings = asyncio.run(
            run_scenario(Path(folder), whole=True, report=lambda line: sys.stdout.write(line + "\n"))
        )
    names = {alert.name for alert in ALERTS}
    problems = {
        "alerts that did not fire": sorted(names - findings.fired),
        "alerts of the healthy channel": sorted(findings.of_healthy_channel),
        "alerts before the first trouble": sorted(findings.before_trouble),
        "alerts that did not clear": sorted(findings.still_firing),
        "expressions without a number": findings.without_result,
        "rules that failed": findings.rule_problems,
        "metrics that did not change": sorted(findings.unchanged - CONSTANT),
    }
    for finding, found in problems.items():
        sys.stdout.write(f"{finding}: {len(found)} {found or ''}\n")
    return 1 if any(problems.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
