"""An agent behind a proxy is reached through it, and why it is not is told."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from maven_channel_wecom.host.agents.agent import AgentError
from maven_channel_wecom.host.agents.agent_proxy import AgentProxy
from maven_channel_wecom.host.agents.http_agent import HttpAgent
from maven_channel_wecom.host.configuration import ChatCompletions
from tests.fakes.certificates import Authority
from tests.fakes.proxies import HttpProxy, SocksProxy
from tests.fakes.sites import LoopbackServer, PlainTextServer
from tests.host.fake_channel import turn
from tests.host.fake_responses import chunk, finish, serving, sse_data

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PASSWORD = "canary:p@ss/word"
QUOTED = "canary%3Ap%40ss%2Fword"


@asynccontextmanager
async def asking(url: str, proxy: str) -> AsyncIterator[HttpAgent]:
    agent = HttpAgent(
        ChatCompletions(url=url, model="maven", proxy=AgentProxy(proxy, "agent.proxy") if proxy else None)
    )
    try:
        async with asyncio.timeout(20):
            yield agent
    finally:
        await agent.close()


def new_proxy(scheme: str, to_port: int | None) -> HttpProxy | SocksProxy:
    if scheme.startswith("socks"):
        return SocksProxy(to_port, user="bot", password=PASSWORD)
    return HttpProxy(to_port, user="bot", password=PASSWORD)


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
async def test_a_request_goes_through_the_proxy_with_its_credentials(
    scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(serving("/v1/chat/completions"))
        fake.chunks = (sse_data(chunk({"content": "ok"}), finish("stop")),)
        port = URL(fake.url).port
        proxy = new_proxy(scheme, port)
        await stack.enter_async_context(proxy)
        # Only the proxy leads from this name to the agent. A SOCKS proxy with `socks5` is asked for an address.
        host = "127.0.0.1" if scheme == "socks5" else "agent.invalid"
        url = f"http://{host}:8443/v1/chat/completions"
        async with asking(url, f"{scheme}://bot:{QUOTED}@127.0.0.1:{proxy.port}") as agent:
            assert (await agent.answer(turn())).text == "ok"
            assert await agent.probe() is None
            assert agent.facts == {
                "agent": f"http://{host}:8443",
                "type": "chat-completions",
                "proxy": f"{scheme}://127.0.0.1:{proxy.port}",
                "proxy_source": "agent.proxy",
            }
    asked = (host, 8443) if scheme.startswith("socks") else f"{host}:8443"
    assert proxy.asked == [asked, asked]
    assert not any(name.lower().startswith("proxy-") for headers, _ in fake.requests for name in headers)
    assert "canary" not in caplog.text


def test_an_authority_in_ssl_cert_file_is_trusted_for_agent_and_proxy(tmp_path: Path) -> None:
    """In a process of its own, because the variable is read when it starts."""
    authority = Authority(tmp_path)
    program = """
import asyncio, sys
from maven_channel_wecom.host.agents.agent_proxy import AgentProxy
from maven_channel_wecom.host.agents.http_agent import HttpAgent
from maven_channel_wecom.host.configuration import ChatCompletions

async def main():
    url, *proxies = sys.argv[1:]
    proxy = AgentProxy(*proxies, "agent.proxy") if proxies else None
    agent = HttpAgent(ChatCompletions(url=url, model="maven", proxy=proxy))
    error = await agent.probe()
    print(error.facts["reason"] if error else "reachable")
    await agent.close()

asyncio.run(main())
"""

    async def reasons() -> list[str]:
        tls = authority.server("agent.invalid")
        async with serving(tls=tls) as fake, HttpProxy(URL(fake.url).port, tls=authority.server()) as proxy:
            proxied = (f"{URL(fake.url).with_host('agent.invalid')}", f"https://127.0.0.1:{proxy.port}")
            found = []
            for variables in ({}, {"SSL_CERT_FILE": str(authority.file)}):
                for arguments in ((fake.url,), proxied):
                    process = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-c", program, *arguments),
                        env={**os.environ, **variables},
                        stdout=subprocess.PIPE,
                    )
                    output, _ = await process.communicate()
                    found.append(output.decode().strip())
            return found

    assert asyncio.run(reasons()) == ["tls", "proxy_certificate", "reachable", "reachable"]


@pytest.mark.parametrize(
    ("proxy", "scheme", "target", "reason"),
    [
        pytest.param(HttpProxy(user="bot", password="right"), "http", "https", "proxy_credentials", id="password"),
        pytest.param(HttpProxy(user="bot", password="right"), "http", "http", "proxy_credentials", id="password-plain"),
        pytest.param(
            SocksProxy(user="bot", password="right"), "socks5h", "https", "proxy_credentials", id="socks-password"
        ),
        pytest.param(HttpProxy(user="bot", password=PASSWORD), "http", "https", "proxy_refused", id="refuses"),
        pytest.param(SocksProxy(), "socks5h", "http", "proxy_refused", id="socks-refuses"),
        pytest.param(SocksProxy(), "http", "https", "proxy_not_http", id="http-url-of-a-socks-proxy"),
        pytest.param(SocksProxy(), "http", "http", "proxy_not_http", id="http-url-of-a-socks-proxy-plain"),
        pytest.param(PlainTextServer(), "socks5h", "https", "proxy_not_socks", id="socks-url-of-an-http-proxy"),
        pytest.param(PlainTextServer(), "https", "https", "proxy_tls", id="https-url-of-an-http-proxy"),
        pytest.param(SocksProxy(), "socks5", "http", "dns", id="socks5-needs-the-address"),
    ],
)
async def test_the_failure_names_why_the_proxy_could_not_be_used(
    proxy: LoopbackServer, scheme: str, target: str, reason: str
) -> None:
    async with proxy:
        url = f"{target}://agent.invalid/v1/chat/completions"
        async with asking(url, f"{scheme}://bot:{QUOTED}@127.0.0.1:{proxy.port}") as agent:
            with pytest.raises(AgentError) as caught:
                await agent.answer(turn())
            probed = await agent.probe()
    # Objects of the failed connections must not report anything when they are collected.
    gc.collect()
    assert caught.value.facts == {"reason": reason}
    assert probed is not None
    assert probed.facts == {"reason": reason}
    assert "canary" not in caught.value.answer("en") + repr(caught.value) + repr(agent)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
async def test_an_unreachable_proxy_is_never_bypassed(scheme: str) -> None:
    async with serving() as fake:
        with socket.socket() as taken:
            # Bound but not listening: connections are refused.
            taken.bind(("127.0.0.1", 0))
            async with asking(fake.url, f"{scheme}://127.0.0.1:{taken.getsockname()[1]}") as agent:
                with pytest.raises(AgentError) as caught:
                    await agent.answer(turn())
    assert caught.value.facts == {"reason": "proxy_unreachable"}
    assert fake.requests == []


async def test_a_proxy_whose_name_is_unknown_is_not_taken_for_the_agent() -> None:
    async with asking("https://agent.invalid/", "http://proxy.invalid:3128") as agent:
        error = await agent.probe()
    assert error is not None
    assert error.facts == {"reason": "proxy_unresolved"}


async def test_the_environment_is_read_with_the_configuration_and_not_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aiohttp would honor it for some kinds of proxies only."""
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    async with serving() as fake, asking(fake.url, "") as agent:
        assert await agent.probe() is None
        assert agent.facts.keys() == {"agent", "type"}
