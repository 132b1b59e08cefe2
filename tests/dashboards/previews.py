"""Draws previews of both dashboards, with the data that a real Prometheus scraped from a gateway in trouble.

python -m tests.dashboards.previews --into docs
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.dashboards.committed import DASHBOARDS
from tests.dashboards.preview_page import ROW_PIXELS, TimeRange, render_page
from tests.dashboards.scene import RunningClock, Scene
from tests.e2e.watch import Watch
from tests.fakes.prometheus_server import PrometheusServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.deployment import Bot

_CALM_SECONDS = 25.0
_OUTAGE_SECONDS = 6.0
_STEP_SECONDS = 2.0
_INTERVAL = "12s"
_WIDTH = 1_360
_NOTE = (
    "A preview drawn by `make previews`, not a Grafana rendering: a Prometheus recorded three minutes of simulated "
    "failures."
)


async def record_bad_day(folder: Path) -> dict[str, str]:
    """Cause trouble for about three minutes and return an HTML page for each dashboard, keyed by name."""
    async with AsyncExitStack() as stack:
        scene = await stack.enter_async_context(Scene(Watch(), RunningClock()))
        scene.agent.thinks_seconds = 0.4
        prometheus = await stack.enter_async_context(PrometheusServer(folder, [scene.target]))
        started = time.time()
        bots = [scene.faulty] * 6 + [scene.healthy] * 3 + [scene.streaming] * 3
        people = [asyncio.create_task(_write(scene, bot)) for bot in bots]
        try:
            await _cause_bad_day(scene)
        finally:
            for each in people:
                each.cancel()
            await asyncio.gather(*people, return_exceptions=True)
        time_range = TimeRange(start=started, end=time.time(), step=_STEP_SECONDS, interval=_INTERVAL)
        return {
            name: await render_page(dashboard, prometheus, time_range, note=_NOTE)
            for name, dashboard in DASHBOARDS.items()
        }


async def _cause_bad_day(scene: Scene) -> None:
    await _calm(scene)
    await scene.silent_connections()
    scene.agent.has_news = True
    for trouble in (scene.refused_answers, scene.failing_turns, scene.failing_media, scene.broken_messages):
        await trouble()
        await scene.every_kind_of_message()
    scene.agent.has_news = False
    await scene.hold_messages()
    await scene.late_answers()
    await _calm(scene)
    scene.agent.release("hold")
    await scene.windows_without_answer()
    await scene.streams_without_refreshes()
    await scene.unknown_refreshes()
    await _calm(scene)
    scene.set_clock_of_wecom(right=False)
    await scene.wrong_signatures(40)
    await _calm(scene)
    scene.set_clock_of_wecom(right=True)
    for _ in range(8):
        scene.stall()
        await asyncio.sleep(1)
    await asyncio.to_thread(scene.redis.stop)
    await asyncio.gather(asyncio.sleep(_OUTAGE_SECONDS), scene.callbacks_that_may_be_refused(10))
    await scene.redis.restart()
    await _calm(scene)


async def _calm(scene: Scene) -> None:
    until = time.monotonic() + _CALM_SECONDS
    while time.monotonic() < until:
        await scene.every_kind_of_message()
        await scene.streams()
        await asyncio.sleep(3)


async def _write(scene: Scene, bot: Bot) -> None:
    """Chat with a bot at random intervals until cancelled."""
    while True:
        await scene.chat(bot)
        await asyncio.sleep(random.expovariate(1.5))


async def take_picture(content: str, picture: Path, *, height: int) -> None:
    """Take a screenshot of a page with Chromium."""
    browser = shutil.which("chromium")
    if browser is None:
        message = "previews need chromium: apt-get install chromium"
        raise RuntimeError(message)
    with tempfile.TemporaryDirectory() as profile:
        path = Path(profile) / "page.html"
        path.write_text(content, encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            browser,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            f"--user-data-dir={profile}/profile",
            f"--window-size={_WIDTH},{height}",
            f"--screenshot={picture}",
            path.as_uri(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(60):
            await process.wait()


async def draw(into: Path, report: Callable[[str], object]) -> None:
    """Write a preview of every dashboard into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        pages = await record_bad_day(Path(folder))
    for name, content in pages.items():
        lowest = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in DASHBOARDS[name]["panels"])
        picture = into / f"preview-{name}.png"
        await take_picture(content, picture.absolute(), height=lowest * ROW_PIXELS + 70)
        report(f"{picture}: {picture.stat().st_size // 1024} KiB")


def main() -> int:
    """Draw the previews."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    # Log lines are discarded here. Disabling the log instead would also stop the metric of suppressed lines.
    logging.getLogger().addHandler(logging.NullHandler())
    asyncio.run(draw(arguments.into, lambda line: sys.stdout.write(line + "\n")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
