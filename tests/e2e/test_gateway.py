"""Tests for the gateway as an operator runs it, from the configuration file to the exit code."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from maven_channel_wecom.simulator.faults import Errcode
from maven_channel_wecom.simulator.media_faults import Expired
from maven_channel_wecom.simulator.messages import Image, Text, Voice
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.deployment import Bot
from tests.e2e.gateway_process import GatewayProcess
from tests.fakes.proxies import HttpProxy
from tests.host.fake_responses import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.watch import Watch

# The example on the documentation page of the original channel.
ORIGINAL: dict[str, Any] = {
    "enabled": True,
    "token": "your-token",
    "encodingAESKey": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
    "receiveId": "",
    "port": 9886,
    "allowFrom": ["zhangsan"],
    "proxy": "",
}


async def set_callback_url(bot: Bot, gateway: GatewayProcess) -> None:
    """Set the simulator's callback URL to the port that the gateway listens on."""
    port = await gateway.port_of("wecom callback server listening")
    bot.wecom.callback_url = f"http://127.0.0.1:{port}/wecom/bot"


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.text()


async def test_a_gateway_starts_answers_drains_and_exits_0(watch: Watch, tmp_path: Path) -> None:
    """The token comes from a file, the key from the environment; two log lines match the original channel's exactly."""
    bot = Bot(watch)
    token = tmp_path / "token"
    token.write_text(f"{bot.token}\n", encoding="utf-8")
    secrets = {"token": {"file": str(token)}, "encodingAESKey": {"env": "WECOM_KEY_OF_THIS_TEST"}}
    document = {"gateway": {"port": 0}, "channels": {"wecom": bot.settings | secrets}}
    environment = {"WECOM_KEY_OF_THIS_TEST": bot.key}
    async with bot.wecom, GatewayProcess(watch, tmp_path, document, environment=environment) as gateway:
        status_port = await gateway.port_of("gateway status server listening")
        await set_callback_url(bot, gateway)
        await gateway.until("gateway channels started")
        assert (await bot.wecom.check_url()).passed
        assert await bot.ask(Text("are you up and running?")) == "are you up and running?"
        await gateway.until("wecom reply delivered")
        assert (await bot.ask(Image(draw_png(4, 4)))).startswith("[image image/png")
        await gateway.until("wecom reply delivered")
        assert await get(status_port, "/healthz") == (200, '{"status": "ok", "reasons": []}')
        assert await get(status_port, "/readyz") == (200, '{"ready": true, "reasons": []}')
        _, metrics = await get(status_port, "/metrics")
        watch.record_output("/metrics", metrics)
        assert 'maven_wecom_replies_total{channel="wecom",outcome="delivered",reason="ok"} 2.0' in metrics
        gateway.terminate()
        assert await gateway.exit_code() == 0
        assert bot.wecom.recorded.offences == []
    stamp = r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d INFO "
    for line in (r"wecom callback server listening port=[1-9]\d*", r"gateway channels started channels=\[wecom\]"):
        assert [logged for logged in gateway.lines if re.fullmatch(stamp + line, logged)]


@pytest.mark.parametrize("style", ["text", "json"])
async def test_a_gateway_at_debug_level_shows_no_secret(watch: Watch, tmp_path: Path, style: str) -> None:
    """The run includes third-party loggers, a proxy password, an expired media URL and a refused reply."""
    bot = Bot(watch)
    watch.register("a proxy password", "canary-password")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(bot.wecom)
        to_port = urlsplit(bot.wecom.base_url).port
        proxy = await stack.enter_async_context(HttpProxy(to_port, user="canary-user", password="canary-password"))
        address = f"http://canary-user:canary-password@127.0.0.1:{proxy.port}"
        document = {
            "gateway": {"port": 0},
            "channels": {"wecom": bot.settings | {"proxy": address, "state": f"sqlite:{tmp_path}/state.db"}},
            "logging": {"level": "debug", "format": style},
        }
        async with GatewayProcess(watch, tmp_path, document) as gateway:
            status_port = await gateway.port_of("gateway status server listening")
            await set_callback_url(bot, gateway)
            await gateway.until("gateway channels started")
            assert await bot.ask(Text("words that stay private"), group="canary-group") == "words that stay private"
            bot.wecom.media_faults.add(Expired())
            assert "unavailable" in await bot.ask(Image(draw_png(4, 4)), user="canary-user-id")
            bot.wecom.reply_faults.add(Errcode(45002))
            await bot.send(Text("an answer that is refused"), quote=Voice("quoted words of a user"))
            await gateway.until("wecom reply not delivered")
            assert (await bot.wecom.request("POST", query="msg_signature=canary", body=b"canary")).status == 400
            for path in ("/metrics", "/healthz", "/readyz"):
                watch.record_output(path, (await get(status_port, path))[1])
            gateway.terminate()
            assert await gateway.exit_code() == 0
    assert len(gateway.lines) > 20


async def test_a_gateway_delivers_answers_in_progress_after_sigterm(watch: Watch, tmp_path: Path) -> None:
    """A callback that arrives while the gateway drains gets 503."""
    bot = Bot(watch)
    async with serving() as responses:
        # The agent holds back the end of its JSON answer.
        responses.json({"output_text": "the answer that took its time"})
        responses.hold = asyncio.Event()
        document = {
            "gateway": {"port": 0},
            "agent": {"type": "responses", "url": responses.url, "model": "maven"},
            "channels": {"wecom": bot.settings},
        }
        async with bot.wecom, GatewayProcess(watch, tmp_path, document) as gateway:
            status_port = await gateway.port_of("gateway status server listening")
            await set_callback_url(bot, gateway)
            await gateway.until("gateway channels started")
            sent = await bot.send(Text("think about this one"))
            async with asyncio.timeout(10):
                await responses.asked.wait()
            gateway.terminate()
            await gateway.until("gateway draining")
            assert (await get(status_port, "/healthz"))[0] == 200
            assert (await get(status_port, "/readyz"))[0] == 503
            late = await bot.send(Text("too late for this one"), user="bob")
            assert late.status == 503
            responses.hold.set()
            assert (await sent.reply()).content == "the answer that took its time"
            assert await gateway.exit_code() == 0
            assert {reply.message_id for reply in bot.wecom.recorded.replies} == bot.wecom.recorded.acknowledged_ids
            assert bot.wecom.recorded.offences == []


async def test_every_problem_of_a_configuration_is_printed_with_exit_code_2(watch: Watch, tmp_path: Path) -> None:
    """Each sentence names its key, and no sentence contains a secret."""
    watch.register("a secret", "canary-password", "canary-token", "canary-previous")
    document = {
        "gateway": {"prot": 1},
        "agent": {"type": "responses"},
        "cron": [{"name": "daily", "every": "now", "message": "m", "deliver": True, "channel": "wecom", "to": "g"}],
        "channels": {
            "wecom": {
                "encodingAESKey": "canary-token-too-short",
                "port": "9886",
                "allowFrom": "zhangsan",
                "mentionName": ["Maven"],
                "proxy": "ftp://user:canary-password@127.0.0.1:1",
                "overflow": "wrap",
                "previousToken": {"env": "NO_SUCH_VARIABLE_4711"},
                "previousEncodingAESKey": "canary-previous",
            },
            "support": {"type": "wecom", "token": "two words canary-token"},
        },
    }
    async with GatewayProcess(watch, tmp_path, document) as gateway:
        assert await gateway.exit_code() == 2
    output = "\n".join(gateway.lines)
    keys = (
        "gateway.prot",
        "agent.url",
        "agent.model",
        "cron[0].every",
        "channels.wecom.token is required",
        "channels.wecom.encodingAESKey must have 43 characters, this one has 22",
        "channels.wecom.port",
        "channels.wecom.allowFrom",
        "channels.wecom.mentionName is not a known key; did you mean channels.wecom.mentionNames?",
        "channels.wecom.proxy must start with",
        "channels.wecom.overflow",
        "channels.wecom.previousToken takes its value from the environment variable NO_SUCH_VARIABLE_4711",
        "channels.wecom.previousEncodingAESKey",
        "channels.support.token",
        "channels.support.encodingAESKey is required",
    )
    assert [key for key in keys if f"  - {key}" not in output] == []
    assert f"{gateway.config} has {len(keys)} problems:" in gateway.lines[0]
    assert len(gateway.lines) == len(keys) + 1


async def test_a_callback_port_in_use_gives_one_sentence_and_exit_code_1(watch: Watch, tmp_path: Path) -> None:
    bot = Bot(watch)
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = occupied.getsockname()[1]
        document = {"gateway": {"port": 0}, "channels": {"wecom": bot.settings | {"port": port}}}
        async with GatewayProcess(watch, tmp_path, document) as gateway:
            assert await gateway.exit_code() == 1
    assert gateway.lines[-1].startswith(f"maven-wecom: channels.wecom cannot listen on 127.0.0.1:{port}: ")
    assert not any("Traceback" in line for line in gateway.lines)


async def test_the_example_configuration_of_the_original_channel_runs(watch: Watch, tmp_path: Path) -> None:
    """Only the port is changed. Replies to the simulator stay refused, because its address is private."""
    bot = Bot(watch)
    bot.wecom.use_credentials(token=ORIGINAL["token"], encoding_aes_key=ORIGINAL["encodingAESKey"])
    watch.register("a secret", ORIGINAL["token"], ORIGINAL["encodingAESKey"])
    document = {"gateway": {"port": 0}, "channels": {"wecom": ORIGINAL | {"port": 0}}}
    async with bot.wecom, GatewayProcess(watch, tmp_path, document) as gateway:
        await set_callback_url(bot, gateway)
        await gateway.until("gateway channels started")
        assert (await bot.wecom.check_url()).passed
        assert (await bot.send(Text("from an unknown sender"), user="lisi")).acknowledgement == b'"success"'
        await gateway.until("wecom callback refused")
        assert (await bot.send(Text("from an allowed sender"), user="zhangsan")).acknowledgement == b'"success"'
        assert "reason=forbidden_address" in await gateway.until("wecom reply not delivered")
        gateway.terminate()
        assert await gateway.exit_code() == 0
        assert bot.wecom.recorded.posts == {}
        assert bot.wecom.recorded.offences == []
