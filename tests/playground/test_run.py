"""A whole playground, with a real gateway."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.playground.chat_history import BotEntry
from maven_channel_wecom.playground.form import WrittenForm, to_message
from maven_channel_wecom.playground.run import OwnBot, Playground, PlaygroundOptions, is_loopback, run_playground
from maven_channel_wecom.simulator.gateway_process import GatewayFailed, free_port
from maven_channel_wecom.simulator.messages import Text
from maven_channel_wecom.stop_signals import Stopped, run_async
from tests.playground.conftest import until_answered, view
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.bots import Bot

FAST = PlaygroundOptions(writing_seconds=0.005, refresh_seconds=0.1)


async def test_a_picture_in_a_group_is_answered_by_the_gateway_in_a_stream() -> None:
    async with Playground(FAST) as playground:
        history, seen = playground.history, view(group=True)
        message = to_message(WrittenForm(kind="sample", text="see"), in_group=True, bot="Maven")
        history.write(seen.chat, "lina", message)
        history.write(seen.chat, "zhangwei", Text("@Maven hi there"), mode="reply")
        async with asyncio.timeout(20):
            await until_answered(history, 2)
        answers = [entry for entry in history.entries if isinstance(entry, BotEntry)]
        assert {entry.form for entry in answers} == {"stream", "reply"}
        assert any("**320 × 200** pixels" in entry.content for entry in answers)
        assert history.wecom.recorded.offences == []
        assert history.url_check is not None
        assert history.url_check.passed


async def test_a_configuration_with_a_mistake_is_a_failure_with_the_gateways_words() -> None:
    configured = {"agent": {"type": "responses", "url": "nonsense", "model": "m"}}
    lines: list[str] = []
    assert await run_playground(PlaygroundOptions(configured=configured), lines.append) == 1
    assert any("agent.url" in line for line in lines)
    with pytest.raises(GatewayFailed):
        async with Playground(PlaygroundOptions(configured=configured)):
            pass


async def test_a_bot_that_runs_already_is_written_to_at_its_own_url(wecom: SimulatedWeCom, replying: Bot) -> None:
    token, key = new_token(), new_encoding_aes_key()
    wecom.use_credentials(token=token, encoding_aes_key=key)
    replying.credentials = wecom.credentials
    own = OwnBot(replying.url, token, key)
    async with Playground(PlaygroundOptions(own_bot=own, bot="Bob")) as playground:
        playground.history.write(view().chat, "lina", Text("hi"))
        await until_answered(playground.history)
        assert playground.history.modes == {}
    assert [callback.sender_id for callback in replying.received] == ["lina"]
    assert repr(own) == "<OwnBot>"
    assert repr(PlaygroundOptions(configured={"agent": {"apiKey": "x"}}, own_bot=own)) == "<PlaygroundOptions>"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_it_prints_its_address_and_stops_at_a_signal(host: str, number: signal.Signals, *, warned: bool) -> None:
    lines: list[str] = []

    def stop_at_the_end(line: str) -> None:
        lines.append(line)
        if "Ctrl-C" in line:
            os.kill(os.getpid(), number)

    nobody = f"http://127.0.0.1:{free_port()}/wecom/bot"
    options = PlaygroundOptions(host=host, own_bot=OwnBot(nobody, new_token(), new_encoding_aes_key()))
    with pytest.raises(Stopped):
        run_async(lambda: run_playground(options, stop_at_the_end))
    assert lines[0].startswith("The playground is at http://127.0.0.1:")
    assert ("from elsewhere at http://ADDRESS-OF-THIS-MACHINE:" in lines[0]) is warned
    assert any(line.startswith("WARNING") for line in lines) is warned


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("box.lan", False)],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected
