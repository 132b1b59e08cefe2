"""The scenario: everything that can go wrong goes wrong while a real Prometheus watches, and gets well again.

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
from tests.dashboards.committed import DASHBOARDS, asked, filled_in
from tests.dashboards.preview_page import NOTHING, Shown, page
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

BOTS = ("wecom", "support")
_PATIENCE_SECONDS = 90.0
_STAGE_SECONDS = 120.0
_POLL_SECONDS = 0.2
_INTERVAL, _SHOWN = "60s", "120s"

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
OF_THE_STATE = {
    "WeComStateDown",
    "WeComStateFailing",
    "WeComAcknowledgeBudgetBurnsFast",
    "WeComAcknowledgeBudgetBurns",
    "WeComAcknowledgeBudgetBurnsSlowly",
}
OF_CREDENTIALS = {"WeComNothingOpens", "WeComNoCallbacks"}
OF_THE_PROCESS = {"WeComRestarting", "WeComFileDescriptorsRunningOut"}
OF_STRANGERS = {"WeComConnectionsDropped"}
OF_SILENCE = {"WeComTargetDown", "WeComMetricsAbsent"}


@dataclass
class Seen:
    """What the scenario showed."""

    fired: set[str] = field(default_factory=set)
    of_the_well: set[str] = field(default_factory=set)
    """Alerts of the channel that nothing was wrong with."""
    empty: list[str] = field(default_factory=list)
    """Expressions of panels and rules without a number."""
    rule_problems: list[str] = field(default_factory=list)
    unmoved: set[str] = field(default_factory=set)
    """Metrics that stayed as they were."""
    before: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    """What fired before anything happened, and after everything was well again."""
    took: dict[str, float] = field(default_factory=dict)


class Play:
    """The stages, one after another, on one scene and under one Prometheus."""

    def __init__(self, scene: Scene, prometheus: PrometheusServer, seen: Seen) -> None:
        self.scene = scene
        self.prometheus = prometheus
        self.seen = seen
        self._everyday = True
        self._peace_until = 0.0

    @contextlib.asynccontextmanager
    async def everyday(self) -> AsyncIterator[None]:
        """Have people write to both bots all the time."""
        writing = asyncio.create_task(self._write())
        try:
            yield
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def until(self, fire: set[str], cause: Callable[[], Awaitable[object]]) -> None:
        """Cause trouble again and again until each of these alerts has fired."""
        missing = set(fire)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while missing:
                    await cause()
                    await asyncio.sleep(_POLL_SECONDS)
                    missing -= await self.look()
        except TimeoutError:
            message = f"did not fire: {sorted(missing)}"
            raise AssertionError(message) from None

    async def until_quiet(self) -> set[str]:
        """Wait until nothing fires any more, and return what still does."""
        firing: set[str] = set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while firing := await self.look():  # noqa: ASYNC110 - Prometheus announces nothing
                    await asyncio.sleep(_POLL_SECONDS)
        return firing

    async def look(self) -> set[str]:
        """Return the names of what fires now."""
        return {alert.name for alert in await self.prometheus.firing()}

    async def look_back(self) -> None:
        """Note whatever fired since the peaceful time, however shortly."""
        fired = await self.prometheus.fired(max(1, int(time.monotonic() - self._peace_until)))
        self.seen.fired = {alert.name for alert in fired}
        self.seen.of_the_well = {alert.name for alert in fired if alert.channel == BOTS[1]}

    async def peace(self) -> None:
        """A day like any other: nothing fires."""
        await self.scene.strangers()
        await self.scene.everything()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            answers = "job_channel:maven_wecom_answer_events:rate1h > 0"
            while len(await self.prometheus.query(answers)) < len(BOTS):  # noqa: ASYNC110 - the same
                await asyncio.sleep(_POLL_SECONDS)
        # Before the first scrape there was nothing to watch, which is an alert.
        self.seen.before = await self.until_quiet()
        self._peace_until = time.monotonic()

    async def trouble_with_answers(self) -> None:
        scene = self.scene
        await scene.hold_messages()
        scene.set_clock_of_wecom(right=False)
        scene.agent.has_news = True
        self._everyday = False
        await self.until(OF_ANSWERS, scene.trouble)
        self._everyday = True
        scene.agent.has_news = False
        scene.set_clock_of_wecom(right=True)
        scene.agent.release("hold")

    async def trouble_with_the_state(self) -> None:
        await asyncio.to_thread(self.scene.redis.stop)
        await self.until(OF_THE_STATE, lambda: self.scene.unanswered_callbacks(4))
        await self.scene.redis.restart()

    async def trouble_with_credentials(self) -> None:
        """Be busy, then have nothing but strangers."""
        for _ in range(80):
            await self.scene.chat(self.scene.sick)
        self._everyday = False
        await self.until(OF_CREDENTIALS, lambda: self.scene.signatures_of_others(6))
        self._everyday = True

    async def trouble_with_strangers(self) -> None:
        """Those who connected at the beginning and said nothing have been dropped by now, or soon will be."""
        await self.look_back()
        while not self.seen.fired >= OF_STRANGERS:
            await asyncio.sleep(_POLL_SECONDS)
            await self.look_back()

    async def trouble_with_everything(self, gateway: Gateway) -> None:
        """Have nobody left to watch; then start again."""
        await self.scene.close()
        await gateway.kill()
        await self.until(OF_SILENCE, lambda: asyncio.sleep(0))
        await gateway.start()
        await self.scene.open()
        await self.prometheus.until_up()

    async def check_metrics(self) -> None:
        """Ask of every metric whether it has moved since the beginning."""
        for metric in MANIFEST["metric"]:
            name = metric["name"] + ("_count" if metric["type"] == "histogram" else "")
            moved = f"max_over_time({name}[{_SHOWN}]) != min_over_time({name}[{_SHOWN}])"
            if not await self.prometheus.query(moved):
                self.seen.unmoved.add(metric["name"])

    async def check_expressions(self) -> None:
        """Ask for everything the dashboards and the rules ask for."""
        for panel in asked():
            if not await self.prometheus.query(filled_in(panel.expr, interval=_INTERVAL, shown=_SHOWN)):
                self.seen.empty.append(f"{panel.dashboard}: {panel.panel}: {panel.expr}")
        now = time.time()
        shown = Shown(start=now - 30, end=now, step=2, interval=_INTERVAL)
        for name, dashboard in DASHBOARDS.items():
            if NOTHING in await page(dashboard, self.prometheus, shown, note="the scenario"):
                self.seen.empty.append(f"{name}: a panel of the preview")
        self.seen.rule_problems = await self.prometheus.rule_problems()

    async def _write(self) -> None:
        while True:
            await self.scene.chat(self.scene.well)
            if self._everyday:
                await self.scene.chat(self.scene.sick)
            await asyncio.sleep(_POLL_SECONDS)


async def trouble_with_the_process(play: Play, wecom: SimulatedWeCom, gateway: Gateway) -> None:
    """Kill a gateway while it answers, again and again, and leave it no file to open."""
    wecom.callback_url = gateway.callback_url
    _, most = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)

    async def restart() -> None:
        held = Delay()
        message_id = wecom.new_message_id()
        wecom.reply_faults.add(held, message_id=message_id)
        await wecom.send(Text("answer me"), message_id=message_id)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await held.reached.wait()
        await gateway.kill()
        held.release.set()
        await gateway.start()
        open_files = len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))
        # Room for a connection or two, so that it can still be scraped.
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (open_files + 2, most))
        await play.until({"WeComFileDescriptorsRunningOut"}, lambda: asyncio.sleep(_POLL_SECONDS))

    await play.until(OF_THE_PROCESS, restart)
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (most, most))


async def play_all(folder: Path, *, whole: bool, report: Callable[[str], object] = lambda _line: None) -> Seen:
    """Play the scenario; `whole` adds a gateway of its own that is killed, and the end of everything."""
    seen = Seen()
    async with contextlib.AsyncExitStack() as stack:
        scene = await stack.enter_async_context(Scene(Watch(), SceneClock()))
        targets = [scene.target]
        if whole:
            wecom, gateway = await stack.enter_async_context(lone_gateway(folder))
            targets.append(gateway.target)
        prometheus = await stack.enter_async_context(
            PrometheusServer(folder, targets, rules=shortened_rules(patient=whole))
        )
        play = Play(scene, prometheus, seen)

        async def stage(name: str, act: Callable[[], Awaitable[None]]) -> None:
            started = time.monotonic()
            async with asyncio.timeout(_STAGE_SECONDS):
                await act()
            seen.took[name] = time.monotonic() - started
            report(f"{name}: {seen.took[name]:.1f} s")

        async def quiet() -> None:
            seen.left = await play.until_quiet()

        async with play.everyday():
            await stage("peace", play.peace)
            await stage("trouble with answers", play.trouble_with_answers)
            await stage("trouble with the state", play.trouble_with_the_state)
            if whole:
                await stage("trouble with the process", lambda: trouble_with_the_process(play, wecom, gateway))
            await stage("trouble with credentials", play.trouble_with_credentials)
            await stage("trouble with strangers", play.trouble_with_strangers)
            await play.check_metrics()
            await play.check_expressions()
            await stage("quiet", quiet)
        if whole and not seen.left:
            await stage("trouble with everything", lambda: play.trouble_with_everything(gateway))
            async with play.everyday():
                await stage("quiet again", quiet)
        await play.look_back()
    return seen


def main() -> int:
    """Play the whole scenario, say what it showed, and return 0 when all of it is as it should be."""
    # Troubles by the hundred are the point of it. Disabled, the log would count no lines either.
    logging.getLogger().addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory() as folder:
        seen = asyncio.run(play_all(Path(folder), whole=True, report=lambda line: sys.stdout.write(line + "\n")))
    names = {alert.name for alert in ALERTS}
    findings = {
        "alerts that did not fire": sorted(names - seen.fired),
        "alerts of the healthy channel": sorted(seen.of_the_well),
        "alerts before anything happened": sorted(seen.before),
        "alerts that did not clear": sorted(seen.left),
        "expressions without a number": seen.empty,
        "rules that failed": seen.rule_problems,
        "metrics that did not move": sorted(seen.unmoved - CONSTANT),
    }
    for finding, found in findings.items():
        sys.stdout.write(f"{finding}: {len(found)} {found or ''}\n")
    return 1 if any(findings.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
