"""The `gateway` command: reads a configuration file, runs a host and returns an exit code. Errors go to stderr."""

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
from maven_channel_wecom.host import logs, systemd
from maven_channel_wecom.host.configuration import Configuration, interpret
from maven_channel_wecom.host.document import UnreadableConfiguration, read_document
from maven_channel_wecom.host.lifecycle import Host
from maven_channel_wecom.host.memory_store import MemoryUnavailable
from maven_channel_wecom.host.plugins import PluginProblems, channel_problems, conflict_problems, load_plugins
from maven_channel_wecom.host.process import allow_open_files, event_loop, tune_garbage_collection
from maven_channel_wecom.host.status_server import StatusServerError
from maven_channel_wecom.stop_signals import STOP_SIGNALS, run_async

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    import pluggy

logger = logging.getLogger(__name__)

EXIT_DRAINED: Final = 0
EXIT_FAILED: Final = 1
EXIT_CONFIGURATION: Final = 2

_IGNORED_SIGNALS: Final = (signal.SIGUSR1, signal.SIGUSR2)
"""Log rotation sends them to processes that reopen their files. By default they would end this one without a drain."""

_REPEATED_SIGNAL_SECONDS: Final = 0.5
"""A further signal within this time after the first counts as the same request."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments of `gateway`."""
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="the JSON configuration file")


def main(args: argparse.Namespace, plugins: pluggy.PluginManager | None = None) -> int:
    """Run until SIGTERM, SIGINT or SIGHUP and return the exit code. Without `plugins`, load the installed ones."""
    try:
        configuration, problems = interpret(read_document(args.config))
    except UnreadableConfiguration as error:
        _print_error(str(error))
        return EXIT_CONFIGURATION
    settings = configuration.logging
    logs.configure(settings.level, settings.format, user_ids=settings.user_ids)
    # A `_created` series for every counter would be of no use here. The setting is process-wide, so the host sets it.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client left it out
    try:
        plugins = plugins or load_plugins()
    except PluginProblems as error:
        _print_problems(args.config, [*problems, *error.problems])
        return EXIT_CONFIGURATION if problems else EXIT_FAILED
    problems += _found_by_plugins(plugins, configuration)
    if problems:
        _print_problems(args.config, problems)
        return EXIT_CONFIGURATION
    tune_garbage_collection()
    allow_open_files()
    loaded = plugins
    return run_async(lambda: run(configuration, loaded), event_loop())


def configuration_problems(document: object) -> list[str]:
    """Return every problem for which the gateway with the installed plugins would refuse a configuration."""
    configuration, problems = interpret(document)
    try:
        return problems + _found_by_plugins(load_plugins(), configuration)
    except PluginProblems as error:
        return [*problems, *error.problems]


def _found_by_plugins(plugins: pluggy.PluginManager, configuration: Configuration) -> list[str]:
    return channel_problems(plugins, configuration.channels) + conflict_problems(plugins, configuration)


async def run(configuration: Configuration, plugins: pluggy.PluginManager) -> int:
    """Run a host until the first signal, drain it, and return the exit code. A second signal ends the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = _StopSignals(stop)
    # They replace the handlers of `run_async`, which would cancel this coroutine without a drain.
    # Under nohup, SIGHUP is ignored and stays so. A shell starts background jobs with SIGINT ignored, but a stop must
    # drain them too.
    hangup_is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    stop_signals = [number for number in STOP_SIGNALS if number != signal.SIGHUP or not hangup_is_ignored]
    for number in stop_signals:
        loop.add_signal_handler(number, signals.on_signal)
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    host = Host(configuration, plugins)
    if not configuration.channels:
        logger.warning("no channels enabled")
    try:
        if await _start(host, stop):
            systemd.report_ready()
            await stop.wait()
            logger.info("gateway draining")
            await host.stop()
    except (StatusServerError, ChannelStartError, MemoryUnavailable) as error:
        _print_error(str(error))
        return EXIT_FAILED
    except Exception as error:
        logger.exception("gateway start failed")
        _print_error(f"a part of the gateway failed to start with {type(error).__name__}; the log shows where")
        return EXIT_FAILED
    # Nothing is left to stop, and a late signal must not turn a clean exit into a death by signal. Blocking the signals
    # would not help: uvloop has threads that receive them too.
    for number in stop_signals:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    logger.info("gateway stopped")
    return EXIT_DRAINED


async def _start(host: Host, stop: asyncio.Event) -> bool:
    """Start a host and return True, or cancel its start at the first signal and return False.

    Without that, a state that cannot be reached would delay the stop.
    """
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


class _StopSignals:
    """Requests a drain at the first signal and ends the process at the second."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._first_at = 0.0

    def on_signal(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._stop.is_set():
            self._stop.set()
            self._first_at = now
        # make, and supervisors that signal a whole process group, deliver one request to stop twice.
        elif now - self._first_at > _REPEATED_SIGNAL_SECONDS:
            logger.warning("gateway stopped without draining")
            # Everything that still runs has already been asked to stop; this exit does not wait for it.
            os._exit(EXIT_FAILED)


def _print_problems(path: Path, problems: Sequence[str]) -> None:
    _print_error(f"{path} has {len(problems)} problem{'s' if len(problems) > 1 else ''}:")
    for problem in problems:
        _print(f"  - {logs.printable(problem)}")


def _print_error(sentence: str) -> None:
    _print(f"maven-wecom: {logs.printable(sentence)}")


def _print(line: str) -> None:
    marked = systemd.with_priority(line, logging.ERROR) if systemd.is_journal(sys.stderr) else line
    sys.stderr.write(f"{marked}\n")
