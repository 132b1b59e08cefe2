"""`maven-wecom chat`: the playground in a terminal, with the console of the simulator and a gateway of its own."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.host.document import UnreadableConfiguration
from maven_channel_wecom.playground.gateway_document import chat_document, configured_agent
from maven_channel_wecom.playground.labels import Label
from maven_channel_wecom.playground.own_file import WrongConfiguration, read_own_file
from maven_channel_wecom.playground.writing_agent import WRITING_SECONDS, WritingAgent
from maven_channel_wecom.simulator.console import run_console
from maven_channel_wecom.simulator.gateway_process import GatewayFailed, GatewayProcess, free_port
from maven_channel_wecom.simulator.keys import new_encoding_aes_key, new_token
from maven_channel_wecom.simulator.line_reader import read_lines
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from maven_channel_wecom.stop_signals import Stopped, run_async

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Callable

_EXIT_OK = 0
_EXIT_FAILED = 1
_EXIT_BAD_ARGUMENTS = 2

_ABILITIES: Final = Label(
    "你好！我是演示智能体，会说明收到了什么：文字、`/image 路径`、`/file 路径`、`/voice 文字`。\n\n"
    "输入 `markdown`，看看企业微信支持的格式；`/help` 列出其余命令。",
    "Hello! I am a demo agent and say what I got: text, `/image PATH`, `/file PATH` or `/voice TEXT`.\n\n"
    "Write `markdown` to see the formats that WeCom supports; `/help` lists the other commands.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="a configuration whose agent answers, and whose bot's texts and rules hold; default: a demo agent that "
        "says what it got, in answers that grow",
    )
    parser.add_argument("--user", default="alice", metavar="ID", help="the user who writes")
    parser.add_argument("--group", default="", metavar="ID", help="the group to write in; default: the single chat")


def main(args: argparse.Namespace) -> int:
    """Chat until /quit, the end of the input or an interrupt, and return the exit code."""
    try:
        configured = read_own_file(args.config) if args.config else None
    except (UnreadableConfiguration, WrongConfiguration) as problem:
        return _fail(str(problem), _EXIT_BAD_ARGUMENTS)
    try:
        lines = read_lines(sys.stdin.fileno())
        return run_async(lambda: chat(configured, lines, _print, user=args.user, group=args.group))
    except Stopped:
        return _EXIT_OK


async def chat(
    configured: object,
    lines: AsyncIterator[str],
    print_line: Callable[[str], None],
    *,
    user: str,
    group: str = "",
    writing_seconds: float = WRITING_SECONDS,
) -> int:
    """Run a gateway and the console until the lines end, and return an exit code.

    Args:
        configured: the operator's configuration, None for none.
        lines: the lines that the operator types.
        print_line: prints one line.
        user: the user who writes.
        group: the group to write in; empty for the single chat.
        writing_seconds: the time between two words of the demo's agent.
    """
    token, key = new_token(), new_encoding_aes_key()
    status_port, callback_port = free_port(), free_port()
    place = "and nothing leaves this machine…" if configured_agent(configured) is None else "and your agent answers…"
    print_line(f"Starting a gateway with generated secrets; WeCom is simulated, {place}")
    async with AsyncExitStack() as stack:
        agent_url = ""
        if configured is None:
            agent = WritingAgent(writing_seconds=writing_seconds, abilities=_ABILITIES)
            agent_url = (await stack.enter_async_context(agent)).url
        document = chat_document(
            configured,
            status_port=status_port,
            callback_port=callback_port,
            token=token,
            encoding_aes_key=key,
            agent_url=agent_url,
        )
        gateway = await asyncio.to_thread(GatewayProcess, document, status_port=status_port)
        url = f"http://127.0.0.1:{callback_port}/wecom/bot"
        wecom = await stack.enter_async_context(SimulatedWeCom(url, token=token, encoding_aes_key=key))
        try:
            await stack.enter_async_context(gateway)
        except GatewayFailed as failure:
            for line in gateway.stderr_tail:
                print_line(f"  {line}")
            return _fail(str(failure), _EXIT_FAILED)
        await run_console(wecom, lines, print_line, user=user, group=group)
    return _EXIT_OK


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(sentence: str, exit_code: int) -> int:
    sys.stderr.write(f"maven-wecom chat: {sentence}\n")
    return exit_code
