"""`maven-wecom chat`: the console of the simulator with a gateway of its own, for which nothing must be configured."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.simulator.console import run_console
from maven_channel_wecom.simulator.demo_gateway import GatewayFailed, GatewayProcess, free_port
from maven_channel_wecom.simulator.keys import new_encoding_aes_key, new_token
from maven_channel_wecom.simulator.line_reader import read_lines
from maven_channel_wecom.simulator.wecom import SimulatedWeCom

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Callable

_EXIT_OK = 0
_EXIT_FAILED = 1
_EXIT_BAD_ARGUMENTS = 2

_CONNECTION: Final = frozenset(
    {
        *("type", "enabled", "token", "encodingAESKey", "previousToken", "previousEncodingAESKey"),
        *("receiveId", "botIds", "host", "port", "path", "proxy", "allowPrivateNetwork", "state", "maxSkewSeconds"),
    }
)
"""Keys of a bot that connect it to WeCom and its state. A chat on this machine has its own."""


_DEFAULTS: Final[Mapping[str, object]] = {
    "mentionNames": ["Maven"],
    "welcomeText": {"zh": "您好，请提问。", "en": "Hello, ask me anything."},
    "progress": "stream",
    "feedback": True,
}
"""Settings of the bot unless the configuration has others. Answers grow, and can be rated."""


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True):
    """What a chat takes from a configuration: the section `agent`, and the settings of a bot that people notice."""

    agent: object = {}
    settings: Mapping[str, object] = {}

    def __repr__(self) -> str:
        return "<Rehearsal>"

    @classmethod
    def of(cls, document: object) -> Rehearsal:
        """Take it from the JSON value of a configuration file, with its first enabled bot.

        Raises:
            ValueError: the value is no object. Every other problem is left to the gateway, which explains it.
        """
        if not isinstance(document, Mapping):
            text = "must be a JSON object"
            raise ValueError(text)  # noqa: TRY004 - like the errors of json
        agent = document.get("agent", {})
        if isinstance(agent, Mapping):
            # A running gateway holds that file.
            agent = {key: value for key, value in agent.items() if key != "memoryState"}
        channels = document.get("channels")
        for name, entry in channels.items() if isinstance(channels, Mapping) else ():
            if isinstance(entry, Mapping) and entry.get("type", name) == "wecom" and entry.get("enabled", True) is True:
                return cls(agent=agent, settings={key: entry[key] for key in entry if key not in _CONNECTION})
        return cls(agent=agent)

    def document(self, *, status_port: int, callback_port: int, token: str, encoding_aes_key: str) -> dict[str, object]:
        """Return the configuration of a gateway on 127.0.0.1."""
        connection = {
            "token": token,
            "encodingAESKey": encoding_aes_key,
            "host": "127.0.0.1",
            "port": callback_port,
            "allowPrivateNetwork": True,
        }
        return {
            "gateway": {"host": "127.0.0.1", "port": status_port},
            "agent": self.agent,
            "channels": {"wecom": {**_DEFAULTS, **self.settings, **connection}},
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="a configuration whose agent answers, and whose bot's texts and rules hold; default: an echo",
    )
    parser.add_argument("--user", default="alice", metavar="ID", help="the user who writes")
    parser.add_argument("--group", default="", metavar="ID", help="the group to write in; default: the single chat")


def main(args: argparse.Namespace) -> int:
    """Chat until /quit, the end of the input or an interrupt, and return the exit code."""
    rehearsal = Rehearsal()
    if args.config is not None:
        try:
            rehearsal = Rehearsal.of(json.loads(args.config.read_bytes()))
        except OSError as error:
            return _fail(f"the configuration {args.config} cannot be read: {error.strerror}", _EXIT_BAD_ARGUMENTS)
        except (ValueError, RecursionError) as error:
            reason = (
                f"{error.msg} at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "not an object"
            )
            return _fail(f"the configuration {args.config} is no JSON object: {reason}", _EXIT_BAD_ARGUMENTS)
    try:
        return asyncio.run(chat(rehearsal, read_lines(sys.stdin.fileno()), _print, user=args.user, group=args.group))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _EXIT_OK


async def chat(
    rehearsal: Rehearsal,
    lines: AsyncIterator[str],
    print_line: Callable[[str], None],
    *,
    user: str,
    group: str = "",
    command: tuple[str, ...] = (),
) -> int:
    """Run a gateway and the console until the lines end, and return an exit code.

    Args:
        rehearsal: who answers, and how.
        lines: the lines that the operator types.
        print_line: prints one line.
        user: the user who writes.
        group: the group to write in; empty for the single chat.
        command: another command than the gateway's; it takes `--config FILE`.
    """
    if (chatting := asyncio.current_task()) is not None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            # As Ctrl-C does, so that the gateway ends too. nohup ignores SIGHUP, and so it stays.
            if signal.getsignal(number) != signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, chatting.cancel)
    token, key = new_token(), new_encoding_aes_key()
    status_port, callback_port = free_port(), free_port()
    document = rehearsal.document(
        status_port=status_port, callback_port=callback_port, token=token, encoding_aes_key=key
    )
    gateway = GatewayProcess(document, status_port=status_port, command=command)
    url = f"http://127.0.0.1:{callback_port}/wecom/bot"
    print_line("Starting a gateway with generated secrets; WeCom is simulated, and nothing leaves this machine…")
    try:
        async with SimulatedWeCom(url, token=token, encoding_aes_key=key) as wecom, gateway:
            await run_console(wecom, lines, print_line, user=user, group=group)
    except GatewayFailed as failure:
        for line in gateway.stderr_tail:
            print_line(f"  {line}")
        return _fail(str(failure), _EXIT_FAILED)
    return _EXIT_OK


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(sentence: str, exit_code: int) -> int:
    sys.stderr.write(f"maven-wecom chat: {sentence}\n")
    return exit_code
