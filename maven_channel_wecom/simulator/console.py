"""`maven-wecom simulator`: sends what an operator types to a running bot, and prints answers and offences."""

from __future__ import annotations

import argparse
import asyncio
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from maven_channel_wecom.simulator.bubbles import BubbleFrame
from maven_channel_wecom.simulator.line_reader import read_lines
from maven_channel_wecom.simulator.listening import CannotListen
from maven_channel_wecom.simulator.messages import EnterChat, Feedback, File, Image, Message, Mixed, Text, Voice
from maven_channel_wecom.simulator.offences import Offence
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from maven_channel_wecom.stop_signals import Stopped, run_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from maven_channel_wecom.simulator.recorded import Reply
    from maven_channel_wecom.simulator.sent import SentCallback

TOKEN_VARIABLE: Final = "WECOM_TOKEN"  # noqa: S105  # the name of a variable
KEY_VARIABLE: Final = "WECOM_ENCODING_AES_KEY"

HINT_SECONDS: Final = 6.0
"""Lower: the hint also comes for an agent that is merely slow. Higher: the operator wonders longer what is wrong."""

_EXIT_FAILED = 1
_EXIT_BAD_ARGUMENTS = 2
# Lower: piped input ends without the answer of a slow agent. Higher: it waits longer for an answer that never comes.
_REPLY_SECONDS = 30.0
_MAX_PORT = 65_535
# Lower: a file that WeCom would send is refused. Higher: one that nobody would send takes more memory.
_MAX_FILE_BYTES = 200_000_000
# 101027 "feedback_event".
_RATINGS = {"good": 1, "bad": 2, "withdraw": 3}
_HELP = (
    "text, or /lines (several lines, until a lone .)  //COMMAND (a text that begins with a slash)  "
    "/quote TEXT (the next text quotes it)\n"
    "/image PATH  /mixed PATH TEXT  /file PATH  /voice TEXT  /enter  /feedback good|bad|withdraw [TEXT]  "
    "/group ID  /user ID  /again  /help  /quit  /new (starts a new conversation)"
)
# They are sent like any text: `agent.memory` starts over at them.
_SENT_COMMANDS: Final = frozenset({"/new", "/新话题"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--callback-url", default="http://127.0.0.1:9886/wecom/bot", metavar="URL", help="the callback URL of the bot"
    )
    parser.add_argument("--token", default="", help=f"the bot's token; default: environment variable {TOKEN_VARIABLE}")
    parser.add_argument(
        "--encoding-aes-key",
        default="",
        metavar="KEY",
        help=f"the bot's key; default: environment variable {KEY_VARIABLE}",
    )
    parser.add_argument("--receive-id", default="", metavar="ID", help="the receive id; empty for an in-house bot")
    parser.add_argument("--user", default="alice", metavar="ID", help="the user who writes")
    parser.add_argument("--group", default="", metavar="ID", help="the group to write in; default: the single chat")
    parser.add_argument("--port", type=port_argument, default=0, help="port for replies; default: any free port")


def main(args: argparse.Namespace) -> int:
    """Run the console until /quit or the end of the input, and return the exit code."""
    token = args.token or os.environ.get(TOKEN_VARIABLE, "")
    key = args.encoding_aes_key or os.environ.get(KEY_VARIABLE, "")
    if not token and not key:
        return _fail(
            f"{TOKEN_VARIABLE} and {KEY_VARIABLE} are not set: export them from secrets.env, which maven-wecom init"
            " writes: set -a; . ./secrets.env; set +a"
        )
    try:
        wecom = SimulatedWeCom(
            args.callback_url,
            token=token,
            encoding_aes_key=key,
            receive_id=args.receive_id,
            port=args.port,
        )
        if not wecom.credentials.token:
            return _fail(f"no token: give --token or set {TOKEN_VARIABLE}")
    except ValueError as problem:
        return _fail(f"the EncodingAESKey (--encoding-aes-key or {KEY_VARIABLE}) {problem}")
    if not is_http_url(args.callback_url):
        return _fail("--callback-url must be a URL such as http://127.0.0.1:9886/wecom/bot")
    try:
        run_async(lambda: _run(wecom, args.user, args.group))
    except CannotListen as problem:
        return _fail(f"{problem}; choose another --port", _EXIT_FAILED)
    except Stopped:
        pass
    return 0


async def _run(wecom: SimulatedWeCom, user: str, group: str) -> None:
    async with wecom:
        await run_console(wecom, read_lines(sys.stdin.fileno()), _print, user=user, group=group)


async def run_console(
    wecom: SimulatedWeCom,
    lines: AsyncIterator[str],
    print_line: Callable[[str], None],
    *,
    user: str,
    group: str = "",
    hint_seconds: float = HINT_SECONDS,
) -> None:
    """Check the URL, then send each line, until the lines end or one is /quit.

    Args:
        wecom: a started simulator with its callback URL set.
        lines: the lines that the operator types.
        print_line: prints one line.
        user: the user who writes, until /user changes it.
        group: the group to write in, until /group changes it; empty for the single chat.
        hint_seconds: after which time without an answer the operator is told what may be wrong.
    """
    bubbles = _BubbleLines()

    def print_item(item: Offence | Reply | BubbleFrame) -> None:
        print_line(bubbles.describe(item) if isinstance(item, BubbleFrame) else _describe(item))

    wecom.recorded.listeners.append(print_item)
    print_line(f"The simulated WeCom listens on {wecom.base_url}")
    check = await wecom.check_url()
    if check.passed:
        print_line(f"URL check passed in {check.elapsed_seconds * 1000:.0f} ms")
    else:
        print_line("URL check failed: WeCom's console would not save this URL")
    print_line(_HELP)
    console = _Console(wecom, print_line, user, group, hint_seconds)
    async for line in lines:
        if not await console.handle_line(line):
            return
    await console.finish()


_HINTS = {
    400: ": does the key differ?",
    401: ": does the token differ?",
    404: ": does the path differ?",
    503: ": it cannot accept messages now; its log and /readyz say why",
}


class _BubbleLines:
    """Describes how bubbles grow: what a frame adds, or its whole text if it does not continue the last one."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}

    def describe(self, frame: BubbleFrame) -> str:
        """Return the line for a change of a bubble."""
        before = self._shown.pop(frame.message_id, "")
        if not frame.finish:
            self._shown[frame.message_id] = frame.content
        continues = bool(before) and frame.content.startswith(before)
        text = frame.content.removeprefix(before) if continues else frame.content
        line = f"<- stream {'finished ' if frame.finish else ''}after {frame.after_seconds:.2f} s"
        if not text:
            return line if before else f"{line}, still empty"
        return f"{line}: {'…' if continues else ''}{text}"


class _Console:
    """The current user and chat, the last message, what the next one quotes, and lines that are not sent yet."""

    def __init__(
        self, wecom: SimulatedWeCom, print_line: Callable[[str], None], user: str, group: str, hint_seconds: float
    ) -> None:
        self._wecom = wecom
        self._print_line = print_line
        self._user = user
        self._group = group
        self._hint_seconds = hint_seconds
        self._last: SentCallback | None = None
        self._quote: Text | None = None
        self._lines: list[str] | None = None
        self._replies: set[asyncio.Task[None]] = set()

    async def handle_line(self, line: str) -> bool:
        """Send one line or run its command. Return false on /quit."""
        if self._lines is not None:
            await self._add_line(line)
            return True
        line = line.strip()
        if not line.startswith("/") or line.startswith("//") or line in _SENT_COMMANDS:
            if line:
                await self._send(Text(line if line in _SENT_COMMANDS else line.removeprefix("/")))
            return True
        command, _, argument = line.partition(" ")
        if command == "/quit":
            return False
        await self._run(command, argument.strip())
        return True

    async def _run(self, command: str, argument: str) -> None:
        match command:
            case "/user" | "/group" | "/quote" | "/lines":
                self._prepare(command, argument)
            case "/voice":
                await self._send(Voice(argument))
            case "/enter":
                await self._send_event(EnterChat())
            case "/feedback":
                await self._rate(argument)
            case "/image" | "/file" | "/mixed" if argument:
                await self._send_file(command, argument)
            case "/again":
                await self._redeliver()
            case "/image" | "/file" | "/mixed" | "/help":
                self._print_line(_HELP)
            case _:
                self._print_line(f"unknown command {command}: /{command} sends it as a text, /help lists the commands")

    def _prepare(self, command: str, argument: str) -> None:
        """Run a command that sends nothing and changes what is sent next."""
        match command:
            case "/user" if argument:
                self._user = argument
                self._print_line(f"writing as {argument}")
            case "/user":
                self._print_line(_HELP)
            case "/group":
                self._group = argument
                self._print_line(f"writing in the group {argument}" if argument else "writing in the single chat")
            case "/quote":
                self._quote = Text(argument) if argument else None
                self._print_line("the next text quotes it" if argument else "the next text quotes nothing")
            case _:
                self._lines = []
                self._print_line("every line is part of one text, until a lone .")

    async def finish(self) -> None:
        """Send lines that are not sent yet, and wait for outstanding answers, so that piped input gets them."""
        if self._lines is not None:
            await self._add_line(".")
        if self._replies:
            await asyncio.wait(self._replies)

    async def _wait_for_reply(self, sent: SentCallback) -> None:
        bubble = sent.bubble
        hint = "does the agent answer, and does the channel have allowPrivateNetwork?"
        if bubble is None:
            try:
                await sent.reply(self._hint_seconds)
            except TimeoutError:
                self._print_line(f"no answer yet: {hint}")
        try:
            if bubble is None or bubble.is_finished:
                await sent.reply(_REPLY_SECONDS)
            else:
                # Longer than WeCom asks, because a bot may end the stream and send the answer as a reply.
                await sent.answer(self._wecom.stream_seconds + _REPLY_SECONDS)
        except TimeoutError as problem:
            # What the first frame finishes may be a sentence, or a notice with the answer still to come.
            if bubble is None or not bubble.is_finished:
                self._print_line(f"{problem}: {hint}")

    async def _add_line(self, line: str) -> None:
        """Keep one of several lines; a lone full stop sends them as one text."""
        lines = self._lines or []
        if line.strip() != ".":
            self._lines = [*lines, line]
            return
        self._lines = None
        if text := "\n".join(lines).strip():
            await self._send(Text(text))

    async def _send_file(self, command: str, argument: str) -> None:
        name, _, text = argument.partition(" ") if command == "/mixed" else (argument, "", "")
        path = Path(name)
        try:
            content = await asyncio.to_thread(_read_file, path)
        except OSError as problem:
            self._print_line(f"cannot read {path}: {problem.strerror}")
            return
        except ValueError as problem:
            self._print_line(f"cannot read {path}: {problem}")
            return
        match command:
            case "/image":
                await self._send(Image(content, path.name))
            case "/mixed":
                await self._send(Mixed((Text(text.strip()), Image(content, path.name))))
            case _:
                await self._send(File(content, path.name))

    async def _send(self, message: Message) -> None:
        quote = None
        # 100719: a quote is shown with these two.
        if isinstance(message, Text | Mixed):
            quote, self._quote = self._quote, None
        try:
            self._last = await self._wecom.send(message, user=self._user, group=self._group, quote=quote)
        except ValueError as problem:
            self._print_line(f"{problem}; /group alone goes back to the single chat")
            return
        if self._last.acknowledged:
            waiting = asyncio.create_task(self._wait_for_reply(self._last))
            self._replies.add(waiting)
            waiting.add_done_callback(self._replies.discard)
        self._print_line(_describe_sent(self._last))

    async def _rate(self, argument: str) -> None:
        """Rate the last reply that can be rated, with one of the words of `_RATINGS` and a comment."""
        word, _, comment = argument.partition(" ")
        if word not in _RATINGS:
            self._print_line(_HELP)
            return
        ids = self._wecom.recorded.feedback_ids
        if ids:
            await self._send_event(Feedback(ids[-1], _RATINGS[word], content=comment))
        else:
            self._print_line("no reply can be rated: set feedback to true in the entry of the channel")

    async def _send_event(self, event: EnterChat | Feedback) -> None:
        sent = await self._wecom.send(event, user=self._user)
        self._print_line(_describe_sent(sent))
        if sent.welcome:
            self._print_line(f"<- welcome: {sent.welcome}")

    async def _redeliver(self) -> None:
        if self._last is None:
            self._print_line("nothing was sent yet")
            return
        self._print_line(_describe_sent(await self._wecom.redeliver(self._last)))


def _read_file(path: Path) -> bytes:
    """Return the content of a file. Raises OSError, or ValueError for what cannot be sent and a path with NUL."""
    status = path.stat()
    # A pipe that nobody writes to would keep this thread, and with it the process, from ending.
    if not stat.S_ISREG(status.st_mode):
        message = "it is a folder, a pipe or a device"
        raise ValueError(message)
    if status.st_size > _MAX_FILE_BYTES:
        message = f"it is larger than {_MAX_FILE_BYTES // 1_000_000} MB"
        raise ValueError(message)
    return path.read_bytes()


def port_argument(text: str) -> int:
    """Return the port in an argument. Raises ArgumentTypeError."""
    if not text.isascii() or not text.isdecimal() or not 0 <= int(text) <= _MAX_PORT:
        message = f"must be a port from 0 to {_MAX_PORT}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def is_http_url(text: str) -> bool:
    """Return whether a text is a URL that callbacks can be sent to."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _describe(item: Offence | Reply) -> str:
    if isinstance(item, Offence):
        return f"!! {item.describe()}"
    verdict = "reply" if item.accepted else "refused reply"
    return f"<- {verdict} after {item.after_seconds:.2f} s: {item.content}"


def _describe_sent(sent: SentCallback) -> str:
    if not sent.status:
        return "-> no answer: is the bot running, and is --callback-url its address?"
    milliseconds = sent.elapsed_seconds * 1000
    meaning = "acknowledged" if sent.acknowledged else f"not acknowledged, status {sent.status},"
    hint = _HINTS.get(sent.status, "")
    return f"-> {meaning} in {milliseconds:.0f} ms{hint}"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(sentence: str, code: int = _EXIT_BAD_ARGUMENTS) -> int:
    sys.stderr.write(f"maven-wecom simulator: {sentence}\n")
    return code
