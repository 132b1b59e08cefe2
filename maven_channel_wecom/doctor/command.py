"""The command `doctor`: reads a configuration file, runs the checks, prints the report and returns an exit code."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yarl import URL

from maven_channel_wecom.clock import SystemClock
from maven_channel_wecom.config import is_wecom, read_config
from maven_channel_wecom.doctor import report
from maven_channel_wecom.doctor.checks import Check
from maven_channel_wecom.doctor.probing import UrlProbe
from maven_channel_wecom.doctor.run_checks import (
    check_agent,
    check_channel,
    check_entry,
    check_host,
    check_memory,
    check_replicas,
)
from maven_channel_wecom.host.configuration import AgentSettings, interpret
from maven_channel_wecom.host.document import UnreadableConfiguration, read_document
from maven_channel_wecom.host.gateway import EXIT_CONFIGURATION, EXIT_FAILED
from maven_channel_wecom.host.logs import printable
from maven_channel_wecom.host.plugins import PluginProblems, conflict_problems, load_plugins
from maven_channel_wecom.slow_step import SlowStep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maven_channel_wecom.host.configuration import Configuration

EXIT_OK: Final = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="the JSON configuration file")
    parser.add_argument("--url", type=_public_url, help="the URL in WeCom's console; check it as WeCom does")
    parser.add_argument("--channel", metavar="NAME", help="check only this entry of channels")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")


def main(args: argparse.Namespace, probe: UrlProbe | None = None) -> int:
    """Run the checks, print the report and return the exit code. Without a `probe`, it makes one."""
    probe = probe or UrlProbe(SystemClock())
    try:
        document = read_document(args.config)
    except UnreadableConfiguration as error:
        return _refuse(str(error))
    configuration, problems = interpret(document)
    entries = configuration.channels
    if args.channel is not None:
        entries = {name: entry for name, entry in entries.items() if name == args.channel}
        if not entries:
            return _refuse("--channel names no enabled entry of channels")
    bots = [name for name, entry in entries.items() if is_wecom(name, entry)]
    if args.url is not None and len(bots) > 1:
        return _refuse(f"--url belongs to one channel: choose it with --channel from {', '.join(bots)}")
    found = [Check(name="configuration", channel="", outcome="fail", detail=problem) for problem in problems]
    if not bots:
        detail = 'channels has no enabled entry of type wecom: add one named wecom, or one with "type": "wecom"'
        found.append(Check(name="configuration", channel="", outcome="fail", detail=detail))
    # A secret that could not be read is already reported, and the name it was to be read from may be the secret itself.
    if isinstance(document, dict) and not any(problem.startswith("agent.") for problem in problems):
        found += check_host(args.config, document.get("agent"))
        if isinstance(configuration.agent, AgentSettings):
            with SlowStep("checking whether the agent can be reached"):
                found.append(asyncio.run(check_agent(configuration.agent)))
            found.append(asyncio.run(check_memory(configuration, probe)))
            found += check_replicas(entries, configuration.sessions.memory)
    found += _check_entries(entries, configuration, args.config, probe, args.url)
    sys.stdout.write(report.as_json(found) if args.json else report.as_text(found))
    return EXIT_OK if report.all_ok(found) else EXIT_FAILED


def _check_entries(
    entries: Mapping[str, Mapping[str, Any]], configuration: Configuration, path: Path, probe: UrlProbe, url: URL | None
) -> list[Check]:
    """Check every entry by itself, and the surroundings of WeCom entries that have no problem."""
    try:
        plugins = load_plugins()
    except PluginProblems as error:
        return [Check(name="plugins", channel="", outcome="fail", detail=problem) for problem in error.problems]
    found = [
        Check(name="configuration", channel="", outcome="fail", detail=problem)
        for problem in conflict_problems(plugins, configuration)
    ]
    for name, entry in entries.items():
        of_entry = list(check_entry(name, entry, path, plugins))
        found += of_entry
        if is_wecom(name, entry) and report.all_ok(of_entry):
            with SlowStep(f"checking channels.{printable(name)}, its addresses, its state and its proxy"):
                found += asyncio.run(check_channel(name, read_config(name, entry), configuration.gateway, probe, url))
    return found


def _public_url(text: str) -> URL:
    problem = "must be a URL such as https://bot.example.com/wecom/bot, without user, password or #"
    # The message never repeats the text, which may contain a password.
    try:
        url = URL(text)
        usable = url.scheme in {"http", "https"} and url.raw_host and url.explicit_port != 0
    except (ValueError, IndexError):  # yarl raises IndexError for `[::1]@`
        raise argparse.ArgumentTypeError(problem) from None
    if not usable or "@" in url.raw_authority or url.raw_fragment or not re.fullmatch(r"\S+", text):
        raise argparse.ArgumentTypeError(problem)
    return url


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"maven-wecom: {printable(sentence)}\n")
    return EXIT_CONFIGURATION
