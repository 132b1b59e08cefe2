"""Copies of everything that a running gateway stores, and a gateway that continues from them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maven_channel_wecom.cli import main
from maven_channel_wecom.simulator.messages import Text
from tests.e2e.deployment import Bot
from tests.e2e.gateway_process import GatewayProcess
from tests.e2e.test_gateway import set_callback_url
from tests.host.fake_responses import COMPLETED, delta, serving, sse

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.e2e.watch import Watch


async def test_a_gateway_continues_from_the_copies_of_another_that_was_running(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of the state is in the environment. The first gateway is killed, and its files are lost."""
    bot = Bot(watch)
    copies, first, second = (tmp_path / name for name in ("copies", "first", "second"))
    for folder in (copies, first, second):
        folder.mkdir()
    environment = {"WECOM_STATE": "sqlite:state.db"}
    async with bot.wecom, serving() as responses:
        responses.chunks = (sse(delta("nice to meet you"), COMPLETED),)
        agent = {"type": "responses", "url": responses.url, "model": "maven", "memoryState": "sqlite:memory.db"}
        entry = bot.settings | {"state": {"env": "WECOM_STATE"}}
        document = {"gateway": {"port": 0}, "agent": agent, "channels": {"wecom": entry}}
        async with GatewayProcess(watch, first, document, environment=environment) as gateway:
            await set_callback_url(bot, gateway)
            await gateway.until("gateway channels started")
            assert await bot.ask(Text("my name is Ada")) == "nice to meet you"
            await gateway.until("wecom reply delivered")
            monkeypatch.setenv("WECOM_STATE", f"sqlite:{first}/state.db")
            monkeypatch.chdir(first)
            command = ["backup", "--config", str(gateway.config), "--all-into", str(copies)]
            assert await asyncio.to_thread(main, command) == 0
            # The gateway goes on, and what it does now is in no copy.
            assert await bot.ask(Text("I live in London")) == "nice to meet you"
        for name, copy in (("state.db", "channels.wecom.state.db"), ("memory.db", "agent.memoryState.db")):
            (copies / copy).rename(second / name)
        async with GatewayProcess(watch, second, document, environment=environment) as gateway:
            await set_callback_url(bot, gateway)
            await gateway.until("gateway channels started")
            await bot.ask(Text("what is my name?"))
            gateway.terminate()
            assert await gateway.exit_code() == 0
        assert bot.wecom.recorded.offences == []
    questions = [
        [part["content"][0]["text"] for part in body["input"] if part["role"] == "user"]
        for _, body in responses.requests
    ]
    assert [sum("Ada" in question for question in asked) for asked in questions if asked] == [1, 1, 1]
    assert [any("London" in question for question in asked) for asked in questions if asked] == [False, True, False]
