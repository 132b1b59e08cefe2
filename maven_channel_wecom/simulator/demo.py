"""`maven-wecom demo`: runs real gateway processes against a simulated WeCom, and prints one line for each rule."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.demo_agent import answer_to
from maven_channel_wecom.simulator.demo_scenes import SCENES, STREAM_SCENES, Scene
from maven_channel_wecom.simulator.gateway_process import GATEWAY_PROGRAM, GatewayFailed, GatewayProcess, free_port
from maven_channel_wecom.simulator.keys import new_encoding_aes_key, new_token
from maven_channel_wecom.simulator.streaming_agent import StreamingAgent
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from maven_channel_wecom.slow_step import SlowStep
from maven_channel_wecom.stop_signals import Stopped, run_async

if TYPE_CHECKING:
    from collections.abc import Callable

_SENT_WIDTH = 36
_RECEIVED_WIDTH = 44
# Lower: the demo ends earlier. Higher: the bubble grows in more frames.
_WORD_SECONDS = 0.35
# Faster than WeCom, about once a second, because the agent and its streams are faster as well.
_REFRESH_SECONDS = 0.25
_ECHOES = "A gateway with the echo agent runs as a process of its own; the simulator plays WeCom."
_STREAMS = (
    "\nAnother gateway streams the answers of an agent that counts slowly; its streams last three seconds at most."
)

# Streams that last three seconds instead of five and a half minutes, which nobody would wait for.
_SHORT_STREAMS = (
    "import msgspec; from maven_channel_wecom import plugin;"
    f" plugin.STREAM_TIMES = msgspec.structs.replace(plugin.STREAM_TIMES, life=3.0); {GATEWAY_PROGRAM}"
)


def main() -> int:
    """Run the demo, and return 0 if every scene passed and the bot committed no offence, else 1."""
    try:
        return run_async(lambda: run_demo(_print))
    except Stopped:
        _print("stopped")
        raise


async def run_demo(print_line: Callable[[str], None], *, command: tuple[str, ...] = ()) -> int:
    """Play all scenes with a gateway that echoes and one that streams, until one fails, and print a summary.

    Args:
        print_line: prints one line.
        command: another command than the gateway's; it takes `--config FILE`.
    """
    token, key = new_token(), new_encoding_aes_key()
    failures: list[str] = []
    messages = replies = streams = offences = 0
    async with StreamingAgent(answer_to, piece_seconds=_WORD_SECONDS) as agent:
        for agent_url, scenes, title in (("", SCENES, _ECHOES), (agent.url, STREAM_SCENES, _STREAMS)):
            gateway = DemoGateway(token=token, encoding_aes_key=key, agent_url=agent_url, command=command)
            async with SimulatedWeCom(gateway.callback_url, token=token, encoding_aes_key=key) as wecom:
                wecom.refresh_seconds = _REFRESH_SECONDS
                failures += await _play_with(gateway, wecom, scenes, title, print_line)
                failures += [offence.describe() for offence in wecom.recorded.offences]
            messages += len(wecom.recorded.acknowledged_ids)
            replies += len(wecom.recorded.replies)
            streams += len(wecom.recorded.bubbles)
            offences += len(wecom.recorded.offences)
            if failures:
                break
    for failure in failures:
        print_line(f"FAILED: {failure}")
    print_line(f"{messages} messages, {replies} replies, {streams} streams, {offences} offences.")
    return 1 if failures else 0


async def _play_with(
    gateway: DemoGateway,
    wecom: SimulatedWeCom,
    scenes: tuple[Scene, ...],
    title: str,
    print_line: Callable[[str], None],
) -> list[str]:
    """Start a gateway, play scenes and stop it. Return one sentence for each failure."""
    failures: list[str] = []
    try:
        async with AsyncExitStack() as stack:
            with SlowStep("starting a gateway"):
                await stack.enter_async_context(gateway)
            print_line(f"{title}\n")
            failures += await play(wecom, scenes, print_line)
            exit_code = await gateway.stop()
            print_line(f"\nSIGTERM: the gateway drained and ended with exit code {exit_code}.")
            if exit_code:
                failures.append(f"the gateway ended with exit code {exit_code}, not 0")
    except GatewayFailed as failure:
        failures.append(str(failure))
    if failures and gateway.stderr_tail:
        print_line("The last lines of the gateway:")
        for line in gateway.stderr_tail:
            print_line(f"  {line}")
    return failures


async def play(wecom: SimulatedWeCom, scenes: tuple[Scene, ...], print_line: Callable[[str], None]) -> list[str]:
    """Play scenes in order and return one sentence for each that failed. One whose answer is missing ends the demo."""
    failures: list[str] = []
    print_line(_row("     WeCom sends", "comes back", "the rule"))
    for scene in scenes:
        try:
            result = await scene(wecom)
        except (TimeoutError, LookupError) as failure:
            failures.append(f"{scene.__name__}: {failure}")
            print_line(f"FAIL {scene.__name__}")
            break
        print_line(_row(f"{'ok  ' if result.passed else 'FAIL'} {result.sent}", result.received, result.rule))
        if not result.passed:
            failures.append(f"{scene.__name__}: rule broken: {result.rule}")
    return failures


class DemoGateway(GatewayProcess):
    """The gateway of the demo.

    Args:
        token: the token of its bot.
        encoding_aes_key: the key of its bot.
        agent_url: the agent whose answers it streams, for a few seconds at most; empty for echoes and no streams.
        command: another command that takes `--config FILE`.

    Attributes:
        callback_url: the callback URL of its bot.
    """

    def __init__(
        self, *, token: str, encoding_aes_key: str, agent_url: str = "", command: tuple[str, ...] = ()
    ) -> None:
        status_port, callback_port = free_port(), free_port()
        self.callback_url = f"http://127.0.0.1:{callback_port}/wecom/bot"
        document = _configuration(
            status_port=status_port,
            callback_port=callback_port,
            token=token,
            encoding_aes_key=encoding_aes_key,
            agent_url=agent_url,
        )
        start = (sys.executable, "-c", _SHORT_STREAMS, "gateway") if agent_url else ()
        super().__init__(document, status_port=status_port, command=command or start)


def _configuration(
    *, status_port: int, callback_port: int, token: str, encoding_aes_key: str, agent_url: str = ""
) -> dict[str, object]:
    """Return a gateway configuration with one bot, and an agent that echoes each message.

    With an `agent_url` that agent answers instead, and people see its answers grow.
    """
    wecom: dict[str, object] = {
        "enabled": True,
        "token": token,
        "encodingAESKey": encoding_aes_key,
        "host": "127.0.0.1",
        "port": callback_port,
        "mentionNames": ["Maven"],
        "welcomeText": {"zh": "您好，请提问。", "en": "Hello, ask me anything."},
        "allowPrivateNetwork": True,
    }
    agent = {"type": "echo"}
    if agent_url:
        wecom["progress"] = "stream"
        agent = {"type": "responses", "url": agent_url, "model": "demo"}
    return {
        "gateway": {"host": "127.0.0.1", "port": status_port},
        "agent": agent,
        "channels": {"wecom": wecom},
    }


def _row(sent: str, received: str, rule: str) -> str:
    return f"{sent:<{_SENT_WIDTH}}  {received:<{_RECEIVED_WIDTH}}  {rule}"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
