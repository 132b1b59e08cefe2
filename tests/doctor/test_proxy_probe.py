"""Probing a proxy: a connection to it and, with a public URL, a request through it."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.doctor.checks import ProxyFinding
from maven_channel_wecom.doctor.proxy_probe import connect_to_proxy
from tests.doctor.faulty_bots import PASSWORD, FakeBot, bot_config
from tests.fakes.certificates import Authority
from tests.fakes.names import Names
from tests.fakes.proxies import HttpProxy, SocksProxy
from tests.fakes.sites import PlainTextServer, Site, answer, hang_up, silence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.doctor.conftest import Diagnosis, Doctor


async def diagnose_through(doctor: Doctor, folder: Path, address: str, bot: Site, **probe: Any) -> Diagnosis:  # noqa: ANN401
    return await doctor.diagnose(bot_config(folder, proxy=address), "--url", bot.url, **probe)


async def test_with_a_url_a_request_also_goes_through_the_proxy(doctor: Doctor, tmp_path: Path) -> None:
    """The request goes out as replies do, with user and password; public_url is checked directly, as by WeCom."""
    async with FakeBot() as bot, HttpProxy(bot.port, user="user", password=PASSWORD) as proxy:
        found = await diagnose_through(doctor, tmp_path, f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}", bot)
        refused = await diagnose_through(doctor, tmp_path, f"http://user:canary@127.0.0.1:{proxy.port}", bot)
    assert (found.exit_code, found.outcome("proxy")) == (0, "ok")
    assert "the URL check also went through the proxy" in found.detail("proxy")
    assert "media never bypass it" in found.detail("proxy")
    assert "the proxy refused the user or the password" in refused.detail("proxy")
    assert (refused.exit_code, refused.outcome("proxy"), refused.outcome("public_url")) == (1, "fail", "ok")
    assert proxy.asked == [f"127.0.0.1:{bot.port}"] * 2
    # Twice directly, and once through the proxy with the right password.
    assert len(bot.requests) == 3
    assert not any("proxy-authorization" in asked.headers for asked in bot.requests)


async def test_an_answer_in_pieces_is_read_completely(doctor: Doctor, tmp_path: Path) -> None:
    async with FakeBot(pieces=3) as bot, HttpProxy(bot.port) as proxy:
        found = await diagnose_through(doctor, tmp_path, f"http://127.0.0.1:{proxy.port}", bot)
    assert (found.outcome("public_url"), found.outcome("proxy")) == ("ok", "ok")


async def test_a_request_goes_through_a_socks_proxy_and_its_refusal_is_reported(doctor: Doctor, tmp_path: Path) -> None:
    async with FakeBot() as bot:
        async with SocksProxy(bot.port) as proxy:
            found = await diagnose_through(doctor, tmp_path, f"socks5h://127.0.0.1:{proxy.port}", bot)
        async with SocksProxy() as closed:
            refused = await diagnose_through(doctor, tmp_path, f"socks5://127.0.0.1:{closed.port}", bot)
    assert (found.outcome("proxy"), proxy.asked) == ("ok", [("127.0.0.1", bot.port)])
    assert (refused.outcome("proxy"), closed.asked) == ("fail", [("127.0.0.1", bot.port)])


async def test_a_proxy_that_intercepts_tls_is_reported(doctor: Doctor, tmp_path: Path) -> None:
    authority = await asyncio.to_thread(Authority, tmp_path)
    other = await asyncio.to_thread(Authority, tmp_path)
    names = Names({"bot.example.com": [["127.0.0.1"]]})
    probe: dict[str, Any] = {"resolver": names, "tls": authority.trust}
    async with (
        FakeBot(tls=authority.server("bot.example.com")) as bot,
        FakeBot(tls=other.server("bot.example.com")) as interceptor,
        HttpProxy(bot.port) as honest,
        HttpProxy(interceptor.port) as intercepting,
    ):
        url = f"https://bot.example.com:{bot.port}/wecom/bot"
        path = bot_config(tmp_path, proxy=f"http://127.0.0.1:{honest.port}")
        found = await doctor.diagnose(path, "--url", url, **probe)
        path = bot_config(tmp_path, proxy=f"http://127.0.0.1:{intercepting.port}")
        intercepted = await doctor.diagnose(path, "--url", url, **probe)
    assert (found.outcome("proxy"), honest.asked) == ("ok", [f"bot.example.com:{bot.port}"])
    assert (intercepted.outcome("proxy"), intercepted.outcome("public_url")) == ("fail", "ok")
    assert "TLS through the proxy fails" in intercepted.detail("proxy")


async def test_no_connection_is_left_to_the_garbage_collector(doctor: Doctor, tmp_path: Path) -> None:
    """A TLS connection outlives its close, and the event loop of the doctor ends with the last check."""
    authority = await asyncio.to_thread(Authority, tmp_path)
    async with FakeBot(tls=authority.server("bot.example.com")) as bot, HttpProxy(bot.port) as proxy:
        path = bot_config(tmp_path, proxy=f"http://127.0.0.1:{proxy.port}")
        url = f"https://bot.example.com:{bot.port}/wecom/bot"
        names = Names({"bot.example.com": [["127.0.0.1"]]})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ResourceWarning)
            found = await doctor.diagnose(path, "--url", url, resolver=names, tls=authority.trust)
            gc.collect()
    assert found.outcome("proxy") == "ok"
    assert [str(warning.message) for warning in caught if warning.category is ResourceWarning] == []


@pytest.mark.parametrize(
    ("site", "outcome", "sentence"),
    [
        (answer(b"canary page"), "warn", "is not the right one"),
        (hang_up, "fail", "no answer came back"),
        (silence, "fail", "no answer came back"),
    ],
    ids=["page", "hang up", "silence"],
)
async def test_a_proxy_that_does_not_forward_is_reported(
    doctor: Doctor,
    tmp_path: Path,
    site: Callable[[asyncio.StreamWriter], Awaitable[None]],
    outcome: str,
    sentence: str,
) -> None:
    async with FakeBot() as bot, Site(site) as elsewhere, HttpProxy(elsewhere.port) as proxy:
        found = await diagnose_through(doctor, tmp_path, f"http://127.0.0.1:{proxy.port}", bot, answer_seconds=1)
    assert (found.outcome("proxy"), found.outcome("public_url")) == (outcome, "ok")
    assert sentence in found.detail("proxy")


async def test_without_a_url_the_proxy_is_only_connected_to(doctor: Doctor, tmp_path: Path) -> None:
    """The password of the proxy is not sent, and its address is not shown."""
    async with HttpProxy() as proxy:
        address = f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}"
        up = await doctor.diagnose(bot_config(tmp_path, proxy=address))
        # The doctor runs in a thread, and may end before this event loop has accepted its connection.
        async with asyncio.timeout(10):
            await proxy.came.wait()
    down = await doctor.diagnose(bot_config(tmp_path, proxy=address))
    assert (up.outcome("proxy"), down.outcome("proxy"), down.exit_code) == ("ok", "fail", 1)
    assert (proxy.accepted, proxy.asked) == (1, [])
    assert "no request was sent through it" in up.detail("proxy")
    assert str(proxy.port) not in up.detail("proxy") + down.detail("proxy")


async def test_a_proxy_that_speaks_another_protocol_than_its_url_is_reported(tmp_path: Path) -> None:
    """A connection alone would not show it, and replies would fail."""
    authority = await asyncio.to_thread(Authority, tmp_path)
    for proxy, scheme, sentence in (
        (Site(hang_up), "http", "if it is a SOCKS proxy, write socks5://"),
        (PlainTextServer(), "socks5", "if it is an http proxy, write http://"),
        (PlainTextServer(), "https", "if the proxy does not speak TLS, write http://"),
        (HttpProxy(tls=authority.server()), "https", "does not trust the certificate of the proxy"),
    ):
        async with proxy:
            found = await connect_to_proxy(f"{scheme}://127.0.0.1:{proxy.port}")
        assert found.kind == "unusable"
        assert sentence in found.detail


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
async def test_a_proxy_that_speaks_the_protocol_of_its_url_is_accepted(scheme: str, tmp_path: Path) -> None:
    authority = await asyncio.to_thread(Authority, tmp_path)
    proxy = SocksProxy() if "socks" in scheme else HttpProxy(tls=authority.server() if scheme == "https" else None)
    async with proxy:
        found = await connect_to_proxy(f"{scheme}://127.0.0.1:{proxy.port}", tls=authority.trust)
    assert found == ProxyFinding(kind="accepts")


async def test_without_a_proxy_there_is_no_proxy_check(doctor: Doctor, tmp_path: Path) -> None:
    assert "proxy" not in (await doctor.diagnose(bot_config(tmp_path))).names()
