"""`maven-wecom playground`: opens a chat with a bot in the browser, and shows what travels."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.host.document import UnreadableConfiguration, read_document
from maven_channel_wecom.protocol import cipher
from maven_channel_wecom.simulator.console import KEY_VARIABLE, TOKEN_VARIABLE, is_http_url

if TYPE_CHECKING:
    import argparse

_EXIT_UNAVAILABLE: Final = 1
_EXIT_BAD_ARGUMENTS: Final = 2
_PACKAGES: Final = ("markdown_it", "nh3")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="use the agent and the texts of this configuration; default: an echo",
    )
    parser.add_argument(
        "--callback-url",
        default="",
        metavar="URL",
        help=f"write to a bot that runs already, with {TOKEN_VARIABLE} and {KEY_VARIABLE} from the environment",
    )
    parser.add_argument(
        "--receive-id", default="", metavar="ID", help="the receive id of that bot; empty for an in-house bot"
    )
    parser.add_argument("--bot-name", default="", metavar="NAME", help="the name that people mention in groups")
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address of the page; default: 127.0.0.1, this machine only"
    )
    parser.add_argument("--port", type=int, default=0, help="the port of the page; default: any free port")
    parser.add_argument("--open", action="store_true", help="open a browser")


def main(args: argparse.Namespace) -> int:
    """Run the playground until it is stopped, and return the exit code."""
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        return _fail(
            f"{' and '.join(missing)} is not installed: pip install 'maven-channel-wecom[playground]'",
            _EXIT_UNAVAILABLE,
        )
    if args.config and args.callback_url:
        return _fail("--config and --callback-url exclude each other: a bot that runs already has its configuration")
    # Only here, because it needs the packages of the extra.
    module = import_module("maven_channel_wecom.playground.run")
    own_bot, configured = None, None
    try:
        if args.callback_url:
            own_bot = module.OwnBot(
                args.callback_url,
                os.environ.get(TOKEN_VARIABLE, ""),
                os.environ.get(KEY_VARIABLE, ""),
                args.receive_id,
            )
            if not is_http_url(args.callback_url):
                return _fail("--callback-url must be a URL such as http://127.0.0.1:9886/wecom/bot")
            if not own_bot.token:
                return _fail(f"no token: set {TOKEN_VARIABLE}")
            cipher.decode_key(own_bot.encoding_aes_key)
        configured = read_document(args.config) if args.config else None
    except ValueError as problem:
        return _fail(f"the EncodingAESKey ({KEY_VARIABLE}) {problem}")
    except UnreadableConfiguration as problem:
        return _fail(str(problem))
    options = module.PlaygroundOptions(
        host=args.host,
        port=args.port,
        configured=configured,
        own_bot=own_bot,
        bot=args.bot_name,
        opens_browser=args.open,
    )
    try:
        return int(asyncio.run(module.run_playground(options, _print)))
    except OSError as problem:
        return _fail(f"cannot listen on {args.host} port {args.port}: {problem.strerror}; choose another --port", 1)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(sentence: str, code: int = _EXIT_BAD_ARGUMENTS) -> int:
    sys.stderr.write(f"maven-wecom playground: {sentence}\n")
    return code
