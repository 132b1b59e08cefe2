"""The demo: its scenes against a small correct bot and against bots that break its rules, then the real gateway."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator import demo, demo_gateway, demo_scenes
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.bots import Bot


async def test_every_scene_holds_for_a_correct_bot(wecom: SimulatedWeCom, bot: Bot) -> None:
    """A line for each, none failing, no offence."""
    said: list[str] = []
    assert await demo.play(wecom, demo_scenes.SCENES, said.append) == []
    assert [line[:4] for line in said[1:]] == ["ok  "] * len(demo_scenes.SCENES)
    assert wecom.recorded.offences == []


async def test_a_scene_that_does_not_hold_is_named(wecom: SimulatedWeCom, bot: Bot) -> None:
    """A bot that repeats the mention breaks that scene and no other."""
    bot.prefix = "@Maven "
    said: list[str] = []
    failures = await demo.play(wecom, demo_scenes.SCENES, said.append)
    assert failures == ["mention: not so: the mention is stripped, so commands match"]


async def test_a_silent_cut_is_noticed(wecom: SimulatedWeCom, bot: Bot) -> None:
    """A bot that leaves out the notice does not pass."""
    wecom_answer = "A long answer. " * 100
    bot.describe = lambda _item: wecom_answer
    shown = await demo_scenes.long_answer(wecom)
    assert (shown.held, shown.back) == (False, "1500 bytes, cut without a word")


async def test_a_gateway_that_dies_is_reported_with_its_last_words() -> None:
    """Exit code 1 and the end of its stderr."""
    said: list[str] = []
    command = (sys.executable, "-c", "import sys; sys.stderr.write('no such luck\\n'); sys.exit(3)")
    assert await demo.run_demo(said.append, command=command) == 1
    assert "FAILED: the gateway ended with exit code 3 before it was ready" in said
    assert "  no such luck" in said


def test_the_configuration_is_the_one_an_operator_would_write() -> None:
    """One bot on loopback, an echo agent, and the simulator's address allowed."""
    token, key = new_token(), new_encoding_aes_key()
    found = demo_gateway.configuration(status_port=1, callback_port=2, token=token, encoding_aes_key=key)
    assert found == {
        "gateway": {"host": "127.0.0.1", "port": 1},
        "agent": {"type": "echo"},
        "channels": {
            "wecom": {
                "enabled": True,
                "token": token,
                "encodingAESKey": key,
                "host": "127.0.0.1",
                "port": 2,
                "mentionNames": ["Maven"],
                "allowPrivateNetwork": True,
            }
        },
    }


async def test_the_demo_runs_against_the_real_gateway() -> None:
    """Every rule holds, no offence, exit code 0."""
    said: list[str] = []
    assert await demo.run_demo(said.append) == 0, said
    assert said[-1].endswith(" 0 offences.")


async def test_a_bot_that_falls_silent_ends_the_scenes(wecom: SimulatedWeCom, bot: Bot) -> None:
    """One failure, and no waiting for the rest."""

    async def silence(_wecom: SimulatedWeCom) -> demo_scenes.Shown:
        text = "no reply"
        raise TimeoutError(text)

    said: list[str] = []
    failures = await demo.play(wecom, (demo_scenes.url_check, silence, demo_scenes.text), said.append)
    assert failures == ["silence: no reply"]
    assert said[-1] == "FAIL silence"


async def test_a_gateway_that_ends_badly_fails_the_demo() -> None:
    """A process that is ready and silent plays no scene, and its exit code is told."""
    code = (
        "import http.server as h, json, signal, sys;"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7));"
        "port = json.load(open(sys.argv[-1]))['gateway']['port'];"
        "R = type('R', (h.BaseHTTPRequestHandler,), {'do_GET': lambda s: (s.send_response(200), s.end_headers())});"
        "h.HTTPServer(('127.0.0.1', port), R).serve_forever()"
    )
    gateway = demo_gateway.DemoGateway(
        token=new_token(), encoding_aes_key=new_encoding_aes_key(), command=(sys.executable, "-c", code)
    )
    async with gateway:
        assert await gateway.stop() == 7
    assert any("GET /readyz" in line for line in gateway.last_words)
