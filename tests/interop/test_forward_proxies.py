"""Replies and media through real forward proxies."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.simulator.messages import File, Image, Text
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.deployment import Bot, Deployment
from tests.e2e.injection import InjectionPlugin
from tests.e2e.manual_clock import ManualClock
from tests.fakes.proxies import relay
from tests.fakes.sites import LoopbackServer
from tests.interop.forward_proxies import FORWARD_PROXIES, PASSWORD, USER

if TYPE_CHECKING:
    import asyncio
    import ssl
    from pathlib import Path

    from tests.e2e.watch import Watch
    from tests.fakes.certificates import Authority

pytestmark = pytest.mark.interop

PNG = draw_png(200, 200)
DOCUMENT = b"%PDF-1.7" + bytes(300_000)


class HttpsFront(LoopbackServer):
    """Speaks TLS in front of a simulated WeCom, as WeCom's own addresses do."""

    def __init__(self, to_port: int, tls: ssl.SSLContext) -> None:
        super().__init__(tls)
        self._to_port = to_port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await relay(reader, writer, self._to_port)


@pytest.mark.parametrize("target", ["http", "https"])
@pytest.mark.parametrize("name", FORWARD_PROXIES)
async def test_replies_and_media_go_through_the_proxy(
    watch: Watch, folder: Path, authority: Authority, name: str, target: str
) -> None:
    """WeCom has https addresses, as here with CONNECT. With http addresses an http proxy reads every request."""
    scheme, proxy = FORWARD_PROXIES[name]
    watch.register("a proxy password", PASSWORD, USER)
    clock = ManualClock()
    bot = Bot(watch, clock=clock.now)
    async with bot.wecom:
        port = int(bot.wecom.base_url.rsplit(":", 1)[1])
        async with HttpsFront(port, authority.server()) as secured:
            if target == "https":
                bot.wecom._base_url = f"https://127.0.0.1:{secured.port}"
            async with AsyncExitStack() as running_proxy:
                address = await running_proxy.enter_async_context(proxy.started(folder))
                plugins = [InjectionPlugin(clock, tls=authority.trust)]
                settings = {"proxy": f"{scheme}://{address}"}
                async with Deployment(watch, settings, plugins=plugins, bot=bot) as deployment:
                    assert await deployment.ask(Image(PNG)) == f"[image image/png, {len(PNG)} bytes]"
                    assert f"{len(DOCUMENT)} bytes" in await deployment.ask(File(DOCUMENT, name="report.pdf"))
                    assert await deployment.ask("and a text") == "and a text"
                    # Nothing goes around a proxy that has ended.
                    await running_proxy.aclose()
                    sent = await deployment.send(Text("are you there?"))
                    receipt = await deployment.auditor.receipt_for(sent.message_id)
                    assert (receipt.outcome, receipt.reason) == ("undeliverable", "proxy")
