"""`maven-wecom init`: asks about a new bot, writes its files, and says what to do in the console."""

from __future__ import annotations

import argparse
import getpass
import logging
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from yarl import URL

from maven_channel_wecom.host import gateway
from maven_channel_wecom.host.configuration import STATUS_PORT
from maven_channel_wecom.setup import files
from maven_channel_wecom.setup.answers import AGENT_KEY, KEY, PORT, TOKEN, Answers
from maven_channel_wecom.setup.console_steps import console_steps
from maven_channel_wecom.setup.url_check_watch import UrlCheckWatch
from maven_channel_wecom.simulator.console import port_argument
from maven_channel_wecom.simulator.keys import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from collections.abc import Callable

_EXIT_OK = 0
_EXIT_FAILED = 1
_EXIT_BAD_ARGUMENTS = 2

_QUESTIONS: Final = {
    "url": "Public URL of the bot, such as https://bot.example.com/wecom/bot (empty: later)",
    "name": "Name of the bot in WeCom (empty: none)",
    "agent_url": "URL of your agent, which ends with /v1/responses or /v1/chat/completions (empty: an echo)",
    "model": "Name of the agent's model",
    "agent_key": f"Key of the agent's API (empty: none; without a terminal, it is taken from {AGENT_KEY})",
}
_OF_AGENT: Final = frozenset({"model", "agent_key"})
"""Questions that are asked only if there is an agent."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    for name in ("url", "name", "agent_url", "model"):
        parser.add_argument(f"--{name.replace('_', '-')}", default="", metavar="TEXT", help=_QUESTIONS[name])
    parser.add_argument("--progress", default="", choices=("off", "notice", "stream"), help="what people see meanwhile")
    parser.add_argument("--port", type=port_argument, default=PORT, help=f"the port for callbacks; default: {PORT}")
    parser.add_argument(
        "--status-port",
        type=port_argument,
        default=STATUS_PORT,
        metavar="PORT",
        help=f"gateway.port; default: {STATUS_PORT}",
    )
    parser.add_argument("--folder", default=Path(), type=Path, metavar="DIR", help="where to write; default: here")
    parser.add_argument("--force", action="store_true", help="overwrite wecom.json and secrets.env")
    parser.add_argument("--start", action="store_true", help="run the gateway, and wait for the console's URL check")


def main(args: argparse.Namespace) -> int:
    """Write both files, print the steps, and with --start run the gateway. Return the exit code."""
    if not args.force and (found := files.existing(args.folder)):
        return _exist(found)
    answers = Answers(
        url=args.url,
        name=args.name,
        agent_url=args.agent_url,
        model=args.model,
        progress=args.progress,
        port=args.port,
        status_port=args.status_port,
        token=new_token(),
        encoding_aes_key=new_encoding_aes_key(),
        agent_key=os.environ.get(AGENT_KEY, "") if args.agent_url else "",
    )
    if problems := answers.problems():
        return _fail("; ".join(problems))
    if sys.stdin.isatty():
        try:
            answers = ask(answers, input, getpass.getpass, _print)
        except EOFError:
            # Ctrl-D leaves the cursor behind the question.
            _print("")
            return _fail("nothing was written", _EXIT_FAILED)
    if problems := answers.problems():
        return _fail("; ".join(problems))
    try:
        files.write(args.folder, answers.document(), answers.secrets, force=args.force)
    except OSError as error:
        return _not_written(args.folder, error)
    _print_steps(args, answers)
    return _start(args, answers) if args.start else _EXIT_OK


def ask(
    answers: Answers, read: Callable[[str], str], read_secret: Callable[[str], str], print_line: Callable[[str], None]
) -> Answers:
    """Ask for every answer that is missing, again if it is wrong, and return all of them.

    Args:
        answers: the answers that are known.
        read: prints a prompt and returns a line.
        read_secret: the same, without showing what is typed.
        print_line: prints one line.
    """
    for field, question in _QUESTIONS.items():
        if getattr(answers, field) or (field in _OF_AGENT and not answers.agent_url):
            continue
        while True:
            answer = (read_secret if field == "agent_key" else read)(f"{question}: ").strip()
            asked = msgspec.structs.replace(answers, **{field: answer})
            # Without its model, which is asked next, an agent is incomplete.
            complete = msgspec.structs.replace(asked, model="model") if field == "agent_url" and answer else asked
            problems = complete.problems()
            if not problems:
                break
            print_line("; ".join(problems))
        answers = asked
    return answers


def _print_steps(args: argparse.Namespace, answers: Answers) -> None:
    config, secrets = args.folder / files.CONFIG_NAME, args.folder / files.SECRETS_NAME
    _print(f"Written: {config}, and {secrets}, which only you may read.\n")
    shown = sys.stdout.isatty()
    token = answers.token if shown else f"the value of {TOKEN} in {secrets}"
    key = answers.encoding_aes_key if shown else f"the value of {KEY} in {secrets}"
    # Only with a slash, a shell looks for the file here and not in PATH.
    source = shlex.quote(str(secrets) if secrets.is_absolute() else f"./{secrets}")
    start = f"set -a; . {source}; set +a; {program(sys.argv[0])} gateway --config {shlex.quote(str(config))}"
    for line in console_steps(answers.callback_url, token, key, port=answers.port, start="" if args.start else start):
        _print(line)
    if args.start:
        _print(f"\nTo start it again: {start}")
    _print("")


def _start(args: argparse.Namespace, answers: Answers) -> int:
    config = args.folder / files.CONFIG_NAME
    url = answers.callback_url or "https://YOUR-DOMAIN/wecom/bot"
    doctor = f"{program(sys.argv[0])} doctor --config {shlex.quote(str(config))} --url {url}"
    hint = f"Does {url} lead to port {answers.port} of this machine? In another terminal with the secrets: {doctor}"
    watch = UrlCheckWatch(_print, path=URL(url).path, hint=hint)
    logger = logging.getLogger("maven_channel_wecom")
    logger.addHandler(watch)
    os.environ.update(answers.secrets)
    try:
        return gateway.main(argparse.Namespace(config=config))
    finally:
        logger.removeHandler(watch)


def program(called: str) -> str:
    """Return what a shell runs as this program: its name if that is in PATH, otherwise `called`, its path."""
    path = Path(called)
    if path.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m maven_channel_wecom"
    found = shutil.which(path.name)
    return path.name if found and path.exists() and path.samefile(found) else shlex.quote(called)


def _not_written(folder: Path, error: OSError) -> int:
    # Another process may have written the files since the first check.
    if isinstance(error, FileExistsError) and (found := files.existing(folder)):
        return _exist(found)
    return _fail(f"{error.filename} cannot be written: {error.strerror}", _EXIT_FAILED)


def _exist(found: list[Path]) -> int:
    names = " and ".join(str(path) for path in found)
    return _fail(f"{names} exist{'s' if len(found) == 1 else ''}; --force overwrites, with a new token and key")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(sentence: str, exit_code: int = _EXIT_BAD_ARGUMENTS) -> int:
    sys.stderr.write(f"maven-wecom init: {sentence}\n")
    return exit_code
