"""The demo as a whole: with the real gateway, and with a gateway or bot that fails."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator import demo, demo_scenes
from maven_channel_wecom.simulator.gateway_process import free_port

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.bots import Bot


async def test_a_gateway_that_exits_early_fails_the_demo_and_its_stderr_is_printed() -> None:
    printed: list[str] = []
    command = (sys.executable, "-c", "import sys; sys.stderr.write('no such luck\\n'); sys.exit(3)")
    assert await demo.run_demo(printed.append, command=command) == 1
    assert "FAILED: the gateway ended with exit code 3 before it was ready" in printed
    assert "  no such luck" in printed


async def test_the_demo_passes_with_the_real_gateway() -> None:
    printed: list[str] = []
    assert await demo.run_demo(printed.append) == 0, printed
    assert printed[-1].endswith(" 0 offences.")


async def test_a_missing_reply_ends_the_demo(wecom: SimulatedWeCom, bot: Bot) -> None:

    async def silence(_wecom: SimulatedWeCom) -> demo_scenes.SceneResult:
        text = "no reply"
        raise TimeoutError(text)

    printed: list[str] = []
    failures = await demo.play(wecom, (demo_scenes.url_check, silence, demo_scenes.text), printed.append)
    assert failures == ["silence: no reply"]
    assert printed[-1] == "FAIL silence"


async def test_a_gateway_that_is_gone_ends_the_demo(wecom: SimulatedWeCom) -> None:
    """Nobody listens at the callback URL, so no message opens a stream."""
    wecom.callback_url = f"http://127.0.0.1:{free_port()}/"
    lines: list[str] = []
    for scene in demo_scenes.STREAM_SCENES:
        (failure,) = await demo.play(wecom, (scene,), lines.append)
        assert failure.startswith(f"{scene.__name__}: ")
