"""`maven-wecom playground`: opens a chat with a bot in the browser, and shows what travels."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.host.document import UnreadableConfiguration
from maven_channel_wecom.playground.own_file import WrongConfiguration, read_own_file
from maven_channel_wecom.protocol import cipher
from maven_channel_wecom.simulator.console import KEY_VARIABLE, TOKEN_VARIABLE, is_http_url, port_argument
from maven_channel_wecom.simulator.listening import CannotListen
from maven_channel_wecom.stop_signals import Stopped, run_async

if TYPE_CHECKING:
    import argparse

_EXIT_OK: Final = 0
_EXIT_UNAVAILABLE: Final = 1
_EXIT_BAD_ARGUMENTS: Final = 2
_EXAMPLE_URL: Final = "http://127.0.0.1:9886/wecom/bot"
_PACKAGES: Final = {"markdown_it": "markdown-it-py>=4.0", "nh3": "nh3>=0.3"}
"""What is imported of the extra `playground`, and what pip calls it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="use the agent and the texts of this configuration; default: a demo agent that says what it got",
    )
    parser.add_argument(
        "--callback-url",
        default="",
        metavar="URL",
        help=f"write to a bot that runs already, such as {_EXAMPLE_URL}, "
        f"with {TOKEN_VARIABLE} and {KEY_VARIABLE} from the environment",
    )
    parser.add_argument(
        "--receive-id", default="", metavar="ID", help="the receive id of that bot; empty for an in-house bot"
    )
    parser.add_argument("--bot-name", default="", metavar="NAME", help="the name that people mention in groups")
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address of the page; default: 127.0.0.1, this machine only"
    )
    parser.add_argument("--port", type=port_argument, default=0, help="the port of the page; default: any free port")
    parser.add_argument("--open", action="store_true", help="open a browser")


class _BadArguments(Exception):
    """The arguments or the environment are wrong. The text is one sentence."""


def main(args: argparse.Namespace) -> int:
    """Run the playground until it is stopped, and return the exit code."""
    if missing := [f"'{needed}'" for name, needed in _PACKAGES.items() if find_spec(name) is None]:
        return _fail(
            f"the page needs packages that are not installed: pip install {' '.join(missing)}",
            _EXIT_UNAVAILABLE,
        )
    # Only here, because it needs the packages of the extra.
    module = import_module("maven_channel_wecom.playground.run")
    try:
        options = module.PlaygroundOptions(
            host=args.host,
            port=args.port,
            configured=read_own_file(args.config) if args.config else None,
            own_bot=module.OwnBot(*_own_bot(args)) if args.callback_url else None,
            bot=args.bot_name,
            opens_browser=args.open,
        )
        return int(run_async(lambda: module.run_playground(options, _print)))
    except (_BadArguments, UnreadableConfiguration, WrongConfiguration) as problem:
        return _fail(str(problem), _EXIT_BAD_ARGUMENTS)
    except CannotListen as problem:
        return _fail(str(problem), _EXIT_UNAVAILABLE)
    except Stopped:
        return _EXIT_OK


def _own_bot(args: argparse.Namespace) -> tuple[str, str, str, str]:
    """Return callback URL, token, key and receive id of a bot that runs already."""
    if args.config:
        text = "--config and --callback-url exclude each other: a bot that runs already has its configuration"
        raise _BadArguments(text)
    if not is_http_url(args.callback_url):
        text = f"--callback-url must be a URL such as {_EXAMPLE_URL}"
        raise _BadArguments(text)
    token, key = os.environ.get(TOKEN_VARIABLE, ""), os.environ.get(KEY_VARIABLE, "")
    if not token:
        text = f"no token: set {TOKEN_VARIABLE}"
        raise _BadArguments(text)
    try:
        cipher.decode_key(key)
    except ValueError as problem:
        text = f"the EncodingAESKey ({KEY_VARIABLE}) {problem}"
        raise _BadArguments(text) from None
    return args.callback_url, token, key, args.receive_id


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"maven-wecom playground: {sentence}\n")
    return code
