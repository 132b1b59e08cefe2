"""`maven-wecom demo`: a real gateway process, a simulated WeCom, and one line for each rule they show."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.demo_gateway import DemoGateway, GatewayFailed
from maven_channel_wecom.simulator.demo_scenes import SCENES, Scene
from maven_channel_wecom.simulator.keys import new_encoding_aes_key, new_token
from maven_channel_wecom.simulator.wecom import SimulatedWeCom

if TYPE_CHECKING:
    from collections.abc import Callable

_SENT_WIDTH = 36
_BACK_WIDTH = 44


def main() -> int:
    """Run the demo and return 0 only if everything went as it should."""
    try:
        return asyncio.run(run_demo(_print))
    except KeyboardInterrupt:
        _print("stopped")
        return 1


async def run_demo(say: Callable[[str], None], *, command: tuple[str, ...] = ()) -> int:
    """Start the gateway (or another command that takes `--config FILE`), play every scene, stop it, sum up."""
    token, key = new_token(), new_encoding_aes_key()
    gateway = DemoGateway(token=token, encoding_aes_key=key, command=command)
    failures: list[str] = []
    async with SimulatedWeCom(gateway.callback_url, token=token, encoding_aes_key=key) as wecom:
        try:
            async with gateway:
                say("A gateway with the echo agent runs as a process of its own; the simulator plays WeCom.\n")
                failures += await play(wecom, SCENES, say)
                exit_code = await gateway.stop()
                say(f"\nSIGTERM: the gateway drained and ended with exit code {exit_code}.")
                if exit_code:
                    failures.append(f"the gateway ended with exit code {exit_code}, not 0")
        except GatewayFailed as failure:
            failures.append(str(failure))
        failures += [offence.describe() for offence in wecom.recorded.offences]
        say(
            f"{len(wecom.recorded.acknowledged_ids)} messages, {len(wecom.recorded.replies)} replies,"
            f" {len(wecom.recorded.offences)} offences."
        )
    for failure_text in failures:
        say(f"FAILED: {failure_text}")
    if failures and gateway.last_words:
        say("The last lines of the gateway:")
        for line in gateway.last_words:
            say(f"  {line}")
    return 1 if failures else 0


async def play(wecom: SimulatedWeCom, scenes: tuple[Scene, ...], say: Callable[[str], None]) -> list[str]:
    """Play scenes one after another and return what did not hold, one sentence each; silence of the bot ends it."""
    failures: list[str] = []
    say(_row("     WeCom sends", "comes back", "the rule"))
    for scene in scenes:
        try:
            shown = await scene(wecom)
        except TimeoutError as failure:
            failures.append(f"{scene.__name__}: {failure}")
            say(f"FAIL {scene.__name__}")
            break
        say(_row(f"{'ok  ' if shown.held else 'FAIL'} {shown.sent}", shown.back, shown.rule))
        if not shown.held:
            failures.append(f"{scene.__name__}: not so: {shown.rule}")
    return failures


def _row(sent: str, back: str, rule: str) -> str:
    return f"{sent:<{_SENT_WIDTH}}  {back:<{_BACK_WIDTH}}  {rule}"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
