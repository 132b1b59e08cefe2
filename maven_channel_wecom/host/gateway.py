"""The command `gateway`: from a configuration file to a running host and an exit code. Sentences go to stderr."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import disable_created_metrics

from maven_channel_wecom.contract.channel import ChannelStartError
from maven_channel_wecom.host import logs
from maven_channel_wecom.host.configuration import Configuration, interpret
from maven_channel_wecom.host.document import UnreadableConfiguration, read_document
from maven_channel_wecom.host.lifecycle import Host
from maven_channel_wecom.host.plugins import PluginProblems, channel_problems, load_plugins
from maven_channel_wecom.host.process import allow_open_files, event_loop, tune_garbage_collection
from maven_channel_wecom.host.status_server import StatusServerError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    import pluggy

logger = logging.getLogger(__name__)

EXIT_DRAINED: Final = 0
EXIT_FAILED: Final = 1
EXIT_CONFIGURATION: Final = 2

_ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_SAME_WISH_SECONDS: Final = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `gateway` takes on the command line."""
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="the JSON configuration file")


def main(args: argparse.Namespace, plugins: pluggy.PluginManager | None = None) -> int:
    """Run until SIGTERM or SIGINT and return the exit code. Without `plugins`, installed ones are found."""
    try:
        configuration, problems = interpret(read_document(args.config))
    except UnreadableConfiguration as error:
        _say(str(error))
        return EXIT_CONFIGURATION
    settings = configuration.logging
    logs.configure(settings.level, settings.format, user_ids=settings.user_ids)
    # A second series beside each counter, of no use to anybody here. The setting is the process's, so it is the host's.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client left it out
    try:
        plugins = plugins or load_plugins()
    except PluginProblems as error:
        _say_all(args.config, [*problems, *error.problems])
        return EXIT_CONFIGURATION if problems else EXIT_FAILED
    problems += channel_problems(plugins, configuration.channels)
    if problems:
        _say_all(args.config, problems)
        return EXIT_CONFIGURATION
    tune_garbage_collection()
    allow_open_files()
    with asyncio.Runner(loop_factory=event_loop()) as runner:
        return runner.run(run(configuration, plugins))


async def run(configuration: Configuration, plugins: pluggy.PluginManager) -> int:
    """Run a host until the first signal, drain it, and return the exit code. The second signal ends the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    ending = _Stop(stop)
    for number in _ENDING_SIGNALS:
        loop.add_signal_handler(number, ending.on_signal)
    host = Host(configuration, plugins)
    if not configuration.channels:
        logger.warning("no channels enabled")
    try:
        if await _start(host, stop):
            await stop.wait()
            logger.info("gateway draining")
            await host.stop()
    except (StatusServerError, ChannelStartError) as error:
        _say(str(error))
        return EXIT_FAILED
    except Exception as error:
        logger.exception("gateway start failed")
        _say(f"a part of the gateway failed to start with {type(error).__name__}; the log shows where")
        return EXIT_FAILED
    # Nothing is left to ask for, and a late repeat must not make a death by signal of a clean end. To block signals
    # would not do: uvloop has threads that hear them too.
    for number in _ENDING_SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    logger.info("gateway stopped")
    return EXIT_DRAINED


async def _start(host: Host, stop: asyncio.Event) -> bool:
    """Start a host, and give up as soon as a signal comes: a state that cannot be reached must not hold up a stop."""
    starting = asyncio.create_task(host.start())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
        if starting.cancelled():
            return False
    await starting
    return True


class _Stop:
    """Drains at the first signal, and ends at once at the second."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._first_at = 0.0

    def on_signal(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._stop.is_set():
            self._stop.set()
            self._first_at = now
        # make, and supervisors that signal a whole group, send the same wish twice within a moment.
        elif now - self._first_at > _SAME_WISH_SECONDS:
            logger.warning("gateway stopped without draining")
            # Whatever still runs has been asked already; only the operating system does not ask.
            os._exit(EXIT_FAILED)


def _say_all(path: Path, problems: Sequence[str]) -> None:
    _say(f"{path} has {len(problems)} problem{'s' if len(problems) > 1 else ''}:")
    for problem in problems:
        sys.stderr.write(f"  - {logs.printable(problem)}\n")


def _say(sentence: str) -> None:
    sys.stderr.write(f"maven-wecom: {logs.printable(sentence)}\n")
