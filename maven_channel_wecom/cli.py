"""The command line `maven-wecom`. Each command is a module that is imported only when the command is used."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from maven_channel_wecom import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Command(NamedTuple):
    module: str
    help: str
    takes_arguments: bool = True
    """Whether the module has `add_arguments(parser)` and `main(args)`, or only `main()`."""


_COMMANDS = {
    "gateway": _Command("maven_channel_wecom.host.gateway", "run the channels of a configuration file"),
    "doctor": _Command(
        "maven_channel_wecom.doctor.command", "check a configuration, and the callback URL as WeCom's console does"
    ),
    "chat": _Command(
        "maven_channel_wecom.playground.chat",
        "write to a bot on this machine, with a simulated WeCom and no configuration",
    ),
    "init": _Command(
        "maven_channel_wecom.setup.command", "write a first configuration, and say what to enter in WeCom's console"
    ),
    "simulator": _Command("maven_channel_wecom.simulator.console", "simulate WeCom against a running gateway"),
    "demo": _Command(
        "maven_channel_wecom.simulator.demo",
        "run a conversation between a simulated WeCom and a real gateway on this machine",
        takes_arguments=False,
    ),
    "backup": _Command("maven_channel_wecom.backup", "copy what is in SQLite files while the gateway runs"),
    "dashboards": _Command(
        "maven_channel_wecom.monitoring", "write the dashboards for Grafana and the rules for Prometheus into a folder"
    ),
    "playground": _Command(
        "maven_channel_wecom.playground.command", "chat with a bot in the browser, and see what travels"
    ),
    "schema": _Command(
        "maven_channel_wecom.file_schema",
        "print the JSON Schema of the configuration file, for editors and forms",
        takes_arguments=False,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; usage errors exit with 2, as argparse does."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="maven-wecom", description="A WeCom (企业微信) AI bot channel for the Maven agent host."
    )
    parser.add_argument("--version", action="version", version=f"maven-channel-wecom {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        subparser = commands.add_parser(name, help=command.help, description=command.help)
        # The command is the first word, so if a command with arguments is given, it comes first.
        if command.takes_arguments and given[:1] == [name]:
            import_module(command.module).add_arguments(subparser)
    args = parser.parse_args(given)
    command = _COMMANDS[args.command]
    module = import_module(command.module)
    return int(module.main(args) if command.takes_arguments else module.main())
