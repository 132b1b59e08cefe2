"""Tests that replies and media go through a proxy of every scheme, and never around it."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.simulator.messages import Image, Text
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.deployment import Bot, Deployment
from tests.e2e.injection import InjectionPlugin
from tests.e2e.manual_clock import ManualClock
from tests.fakes.certificates import Authority
from tests.fakes.proxies import HttpProxy, SocksProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.watch import Watch

SCHEMES = ["http", "https", "socks5", "socks5h"]
USER, PASSWORD = "proxy-user-4711", "proxy-password-4711"
PNG = draw_png(12, 12)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder: Path = tmp_path_factory.mktemp("certificates")
    return Authority(folder)


def proxy_for(scheme: str, authority: Authority, *, to_port: int | None) -> HttpProxy | SocksProxy:
    """Return a proxy that requires user and password."""
    if scheme.startswith("socks"):
        return SocksProxy(to_port, user=USER, password=PASSWORD)
    tls = authority.server("proxy.example") if scheme == "https" else None
    return HttpProxy(to_port, user=USER, password=PASSWORD, tls=tls)


@asynccontextmanager
async def deployment_behind(watch: Watch, url: str, authority: Authority, bot: Bot) -> AsyncIterator[Deployment]:
    """Run a deployment behind a proxy, with a manual clock and a TLS context that trusts `authority`."""
    watch.register("a proxy password", PASSWORD, USER)
    injection = InjectionPlugin(ManualClock(), tls=authority.trust)
    async with Deployment(watch, {"proxy": url}, plugins=[injection], bot=bot) as deployment:
        yield deployment


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_replies_and_media_go_through_the_proxy(watch: Watch, scheme: str, authority: Authority) -> None:
    bot = Bot(watch)
    async with bot.wecom:
        port = int(bot.wecom.base_url.rsplit(":", 1)[1])
        async with proxy_for(scheme, authority, to_port=port) as proxy:
            url = f"{scheme}://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}"
            async with deployment_behind(watch, url, authority, bot) as deployment:
                assert await deployment.ask(Image(PNG)) == f"[image image/png, {len(PNG)} bytes]"
                assert await deployment.ask("and a text") == "and a text"
                assert sum(bot.wecom.recorded.posts.values()) == 2
            wanted = ("127.0.0.1", port) if scheme.startswith("socks") else f"127.0.0.1:{port}"
            assert set(proxy.asked) == {wanted}


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_that_is_down_is_not_bypassed(watch: Watch, scheme: str, authority: Authority) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"{scheme}://{USER}:{PASSWORD}@127.0.0.1:{closed.getsockname()[1]}"
        bot = Bot(watch)
        async with bot.wecom, deployment_behind(watch, url, authority, bot) as deployment:
            await assert_nothing_arrives(deployment)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_that_refuses_is_not_bypassed(watch: Watch, scheme: str, authority: Authority) -> None:
    bot = Bot(watch)
    async with bot.wecom, proxy_for(scheme, authority, to_port=None) as proxy:
        url = f"{scheme}://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}"
        async with deployment_behind(watch, url, authority, bot) as deployment:
            sent = await deployment.send(Text("are you there?"))
            receipt = await deployment.auditor.receipt_for(sent.message_id)
            assert receipt.outcome == "undeliverable"
            assert receipt.reason in {"proxy", "http_5xx"}
            assert bot.wecom.recorded.posts == {}
        assert proxy.asked


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_that_rejects_the_password_is_not_bypassed(
    watch: Watch, scheme: str, authority: Authority
) -> None:
    bot = Bot(watch)
    async with bot.wecom:
        port = int(bot.wecom.base_url.rsplit(":", 1)[1])
        async with proxy_for(scheme, authority, to_port=port) as proxy:
            watch.register("a proxy password", "another-password-4711")
            url = f"{scheme}://{USER}:another-password-4711@127.0.0.1:{proxy.port}"
            async with deployment_behind(watch, url, authority, bot) as deployment:
                sent = await deployment.send(Text("are you there?"))
                receipt = await deployment.auditor.receipt_for(sent.message_id)
                assert receipt.outcome in {"undeliverable", "refused"}
                assert bot.wecom.recorded.posts == {}


async def test_the_installed_channel_uses_the_configured_proxy(watch: Watch) -> None:
    watch.register("a proxy password", PASSWORD, USER)
    bot = Bot(watch)
    async with bot.wecom:
        port = int(bot.wecom.base_url.rsplit(":", 1)[1])
        async with HttpProxy(port, user=USER, password=PASSWORD) as proxy:
            settings = {"proxy": f"http://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}"}
            async with Deployment(watch, settings, bot=bot) as deployment:
                assert (await deployment.ask(Image(PNG))).startswith("[image image/png")
            assert proxy.asked


async def assert_nothing_arrives(deployment: Deployment) -> None:
    """Send an image, and assert that neither download nor reply reaches WeCom."""
    sent = await deployment.send(Image(PNG))
    receipt = await deployment.auditor.receipt_for(sent.message_id)
    assert (receipt.outcome, receipt.reason, receipt.attempts) == ("undeliverable", "proxy", 3)
    assert await deployment.metric("media_fetches_total", outcome="connect") == 1
    recorded = deployment.wecom.recorded
    assert (recorded.media_requests, recorded.posts) == ({}, {})
