"""`maven-wecom demo`: runs a real gateway process against a simulated WeCom, and prints one line for each rule."""

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
_RECEIVED_WIDTH = 44


def main() -> int:
    """Run the demo, and return 0 if every scene passed and the bot committed no offence, else 1."""
    try:
        return asyncio.run(run_demo(_print))
    except KeyboardInterrupt:
        _print("stopped")
        return 1


async def run_demo(print_line: Callable[[str], None], *, command: tuple[str, ...] = ()) -> int:
    """Start the gateway (or another command that takes `--config FILE`), play all scenes, stop it, print a summary."""
    token, key = new_token(), new_encoding_aes_key()
    gateway = DemoGateway(token=token, encoding_aes_key=key, command=command)
    failures: list[str] = []
    async with SimulatedWeCom(gateway.callback_url, token=token, encoding_aes_key=key) as wecom:
        try:
            async with gateway:
                print_line("A gateway with the echo agent runs as a process of its own; the simulator plays WeCom.\n")
                failures += await play(wecom, SCENES, print_line)
                exit_code = await gateway.stop()
                print_line(f"\nSIGTERM: the gateway drained and ended with exit code {exit_code}.")
                if exit_code:
                    failures.append(f"the gateway ended with exit code {exit_code}, not 0")
        except GatewayFailed as failure:
            failures.append(str(failure))
        failures += [offence.describe() for offence in wecom.recorded.offences]
        print_line(
            f"{len(wecom.recorded.acknowledged_ids)} messages, {len(wecom.recorded.replies)} replies,"
            f" {len(wecom.recorded.offences)} offences."
        )
    for failure_text in failures:
        print_line(f"FAILED: {failure_text}")
    if failures and gateway.stderr_tail:
        print_line("The last lines of the gateway:")
        for line in gateway.stderr_tail:
            print_line(f"  {line}")
    return 1 if failures else 0


async def play(wecom: SimulatedWeCom, scenes: tuple[Scene, ...], print_line: Callable[[str], None]) -> list[str]:
    """Play scenes in order and return one sentence for each that failed. A scene that times out ends the demo."""
    failures: list[str] = []
    print_line(_row("     WeCom sends", "comes back", "the rule"))
    for scene in scenes:
        try:
            result = await scene(wecom)
        except TimeoutError as failure:
            failures.append(f"{scene.__name__}: {failure}")
            print_line(f"FAIL {scene.__name__}")
            break
        print_line(_row(f"{'ok  ' if result.passed else 'FAIL'} {result.sent}", result.received, result.rule))
        if not result.passed:
            failures.append(f"{scene.__name__}: rule broken: {result.rule}")
    return failures


def _row(sent: str, received: str, rule: str) -> str:
    return f"{sent:<{_SENT_WIDTH}}  {received:<{_RECEIVED_WIDTH}}  {rule}"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
