"""A configured proxy is always used, with its credentials; if that fails, nothing is sent."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import traceback
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from maven_channel_wecom.egress.egress import Egress
from maven_channel_wecom.errors import AnswerLost, RequestNotSent
from maven_channel_wecom.transport.proxy_failures import PROXY
from tests.fakes.connecting import Diversion
from tests.fakes.names import Names
from tests.fakes.proxies import HttpProxy, SocksProxy
from tests.fakes.sites import (
    LoopbackServer,
    PlainTextServer,
    Site,
    answer,
    hang_up,
    in_turn,
    reset,
    send_informational_answers,
    silence,
)

if TYPE_CHECKING:
    import ssl

    from maven_channel_wecom.transport.proxy_failures import ProxyFailure
    from tests.fakes.certificates import Authority

SCHEMES = ["http", "https", "socks5", "socks5h"]
PASSWORD = "canary:p@ss/word"
QUOTED = "canary%3Ap%40ss%2Fword"
ADDRESS = "93.184.216.34"


def names() -> Names:
    return Names({"files.example": [[ADDRESS]], "localhost": [["127.0.0.1"]]})


def egress_via(
    proxy: str, *, resolver: Names | None = None, tls: ssl.SSLContext | None = None, connect: float = 5
) -> Egress:
    """Return an Egress that uses `proxy`. Sockets that bypass it lead to its port anyway, or nowhere."""
    url = URL(proxy)
    diversion = Diversion(url.port if url.host == "127.0.0.1" else None)
    return Egress(proxy=proxy, resolver=resolver or names(), socket_factory=diversion, tls=tls, connect_seconds=connect)


def new_proxy(
    scheme: str, to_port: int | None, authority: Authority, password: str = PASSWORD
) -> HttpProxy | SocksProxy:
    if scheme.startswith("socks"):
        return SocksProxy(to_port, user="bot", password=password)
    return HttpProxy(to_port, user="bot", password=password, tls=authority.server() if scheme == "https" else None)


async def failure(egress: Egress, url: str, timeout_seconds: float = 5) -> RequestNotSent | AnswerLost:
    with pytest.raises((RequestNotSent, AnswerLost)) as caught:
        await egress.post(url, b"{}", timeout_seconds=timeout_seconds)
    await egress.close()
    rendered = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(egress)
    assert "canary" not in rendered
    assert isinstance(caught.value, RequestNotSent | AnswerLost)
    return caught.value


@pytest.mark.parametrize("target", ["http", "https"])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_request_goes_through_the_proxy_with_its_credentials(
    scheme: str, target: str, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Inside the tunnel the certificate is checked for the host's name, even if socks5 was asked for its address."""
    caplog.set_level(logging.DEBUG)
    async with AsyncExitStack() as stack:
        tls = authority.server("files.example") if target == "https" else None
        site = await stack.enter_async_context(Site(answer(b"ok"), tls=tls))
        proxy = new_proxy(scheme, site.port, authority)
        await stack.enter_async_context(proxy)
        egress = egress_via(f"{scheme}://bot:{QUOTED}@127.0.0.1:{proxy.port}", tls=authority.trust)
        for _ in range(2):
            url = f"{target}://files.example:8443/a%2Fb?c=canary"
            assert await egress.post(url, b"{}", timeout_seconds=5) == (200, b"ok")
            gc.collect()  # objects that keep the tunnel open must not be collected
        await egress.close()
    asked = (ADDRESS if scheme == "socks5" else "files.example", 8443)
    assert proxy.asked == ([asked] if scheme.startswith("socks") else ["files.example:8443"]) * 2
    assert [request.line for request in site.requests][:1] == ["POST /a%2Fb?c=canary HTTP/1.1"]
    assert site.requests[0].headers["host"] == "files.example:8443"
    assert not any(name.startswith("proxy-") for name in site.requests[0].headers)
    assert "canary" not in caplog.text


@pytest.mark.parametrize("target", ["http", "https"])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_an_unreachable_proxy_is_never_bypassed(scheme: str, target: str, authority: Authority) -> None:
    async with Site(answer(b"ok"), tls=authority.server() if target == "https" else None) as site:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            port = bound.getsockname()[1]
            egress = Egress(
                proxy=f"{scheme}://bot:{QUOTED}@127.0.0.1:{port}", allow_private_network=True, tls=authority.trust
            )
            error = await failure(egress, f"{target}://127.0.0.1:{site.port}/?canary")
    assert (type(error), error.reason) == (RequestNotSent, "proxy")
    assert site.accepted == 0


@pytest.mark.parametrize("configured", [False, True], ids=["direct", "proxied"])
@pytest.mark.parametrize("variable", ["http_proxy", "no_proxy"])
async def test_proxy_settings_in_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, variable: str, *, configured: bool
) -> None:
    """A proxy in the environment is not used, and cannot disable the configured one."""
    async with HttpProxy() as other, Site(answer(b"ok")) as site, HttpProxy(site.port) as proxy:
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv(variable, f"http://127.0.0.1:{other.port}" if variable == "http_proxy" else "*")
        egress = Egress(proxy=f"http://127.0.0.1:{proxy.port}" if configured else None, allow_private_network=True)
        assert await egress.post(site.url, b"{}", timeout_seconds=5) == (200, b"ok")
        await egress.close()
    assert (other.accepted, proxy.accepted, len(site.requests)) == (0, int(configured), 1)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", ["wrong password", "refuses"])
async def test_if_the_proxy_refuses_the_request_was_not_sent(scheme: str, case: str, authority: Authority) -> None:
    async with Site(answer(b"ok"), tls=authority.server("files.example")) as site:
        password = "another" if case == "wrong password" else PASSWORD
        to_port = None if case == "refuses" else site.port
        async with new_proxy(scheme, to_port, authority, password) as proxy:
            egress = egress_via(f"{scheme}://bot:{QUOTED}@127.0.0.1:{proxy.port}", tls=authority.trust)
            error = await failure(egress, "https://files.example/?canary")
    assert (type(error), error.reason) == (RequestNotSent, "proxy")
    assert site.requests == []


@pytest.mark.parametrize(
    "refusal",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"],
)
async def test_after_an_invalid_answer_of_an_http_proxy_the_request_was_not_sent(refusal: bytes) -> None:
    """The request is not sent before the tunnel is open."""
    async with HttpProxy(refusal=refusal) as proxy:
        error = await failure(egress_via(f"http://127.0.0.1:{proxy.port}"), "https://files.example/?canary")
    assert (type(error), error.reason) == (RequestNotSent, "proxy")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_unresolvable_proxy_has_the_reason_proxy(scheme: str, authority: Authority) -> None:
    """The failure is not reported as one of the host's name."""
    error = await failure(egress_via(f"{scheme}://proxy.example:3128", resolver=Names({})), "https://files.example/")
    assert (type(error), error.reason) == (RequestNotSent, "proxy")


async def test_an_untrusted_https_proxy_has_the_reason_proxy(authority: Authority) -> None:
    """The credentials are not sent to it either."""
    async with HttpProxy(tls=authority.server()) as proxy:
        error = await failure(
            egress_via(f"https://bot:{QUOTED}@127.0.0.1:{proxy.port}"), "https://files.example/?canary"
        )
    assert (type(error), error.reason, proxy.asked) == (RequestNotSent, "proxy", [])
    assert str(error) == PROXY["certificate"]


class ClosingServer(LoopbackServer):
    """Closes a connection at its first byte, as a SOCKS proxy does that reads another version."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)


@pytest.mark.parametrize(
    ("proxy", "url", "target", "cause"),
    [
        pytest.param(PlainTextServer(), "socks5h", "https", "not_socks", id="socks-url-of-an-answering-http-proxy"),
        pytest.param(HttpProxy(), "socks5", "https", "slow_socks", id="socks-url-of-a-waiting-http-proxy"),
        pytest.param(SocksProxy(), "http", "https", "not_http", id="http-url-of-a-socks-proxy"),
        pytest.param(SocksProxy(), "http", "http", "not_http", id="http-url-of-a-socks-proxy-plain"),
        pytest.param(ClosingServer(), "http", "https", "not_http", id="http-url-of-a-closing-socks-proxy"),
        pytest.param(PlainTextServer(), "https", "https", "tls", id="https-url-of-an-http-proxy"),
        pytest.param(HttpProxy(user="bot", password="right"), "http", "https", "credentials", id="http-password"),
        pytest.param(HttpProxy(user="bot", password="right"), "http", "http", "credentials", id="http-password-plain"),
        pytest.param(SocksProxy(user="bot", password="right"), "socks5", "https", "credentials", id="socks-password"),
        pytest.param(HttpProxy(user="bot", password=PASSWORD), "http", "https", "refused", id="http-refuses"),
        pytest.param(SocksProxy(), "socks5", "https", "refused", id="socks-refuses"),
    ],
)
async def test_the_error_names_why_the_proxy_could_not_be_used(
    proxy: LoopbackServer, url: str, target: str, cause: ProxyFailure
) -> None:
    """An answer of the proxy is not read as one of WeCom's, and an answer that it cannot give is not waited for."""
    async with proxy:
        egress = egress_via(f"{url}://bot:{QUOTED}@127.0.0.1:{proxy.port}", connect=0.3)
        error = await failure(egress, f"{target}://files.example/?canary")
    assert (type(error), str(error)) == (RequestNotSent, PROXY[cause])
    assert error.reason == ("connect_timeout" if cause == "slow_socks" else "proxy")


async def test_a_502_to_a_plain_url_may_be_the_hosts() -> None:
    """The request passed the proxy, so what it asks for may have happened."""
    async with Site(answer(b"", status="502 Bad Gateway")) as site, HttpProxy(site.port) as proxy:
        egress = egress_via(f"http://127.0.0.1:{proxy.port}")
        assert await egress.post("http://files.example/", b"{}", timeout_seconds=5) == (502, b"")
        await egress.close()
    assert len(site.requests) == 1


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_host_with_another_name_is_refused_behind_a_proxy_too(scheme: str, authority: Authority) -> None:
    """The tunnel opens, but leads to another host."""
    async with Site(answer(b"ok"), tls=authority.server("elsewhere.example")) as site:
        async with new_proxy(scheme, site.port, authority) as proxy:
            egress = egress_via(f"{scheme}://bot:{QUOTED}@127.0.0.1:{proxy.port}", tls=authority.trust)
            error = await failure(egress, "https://files.example/?canary")
        # asyncio of Python 3.11.7 does not report why a certificate was refused inside a TLS connection to the proxy.
        reasons = {"tls", "proxy"} if scheme == "https" else {"tls"}
        assert isinstance(error, RequestNotSent)
        assert error.reason in reasons
        assert site.requests == []


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_that_never_answers_is_a_connect_timeout(scheme: str, authority: Authority) -> None:
    """Connecting through a proxy has the same limit as connecting directly."""
    async with Site(silence) as silent:
        egress = egress_via(f"{scheme}://127.0.0.1:{silent.port}", tls=authority.trust, connect=0.05)
        async with asyncio.timeout(10):
            error = await failure(egress, "https://128.0.0.1/?canary", timeout_seconds=60)
    assert (type(error), error.reason) == (RequestNotSent, "connect_timeout")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("script", "reason"), [(reset, "reset"), (hang_up, "reset"), (silence, "timeout")])
async def test_a_failure_after_the_tunnel_opened_means_the_answer_is_lost(
    scheme: str, script: type, reason: str, authority: Authority
) -> None:
    """The request has passed the proxy, and may have arrived."""
    async with Site(script, tls=authority.server("files.example")) as site:
        async with new_proxy(scheme, site.port, authority) as proxy:
            egress = egress_via(f"{scheme}://bot:{QUOTED}@127.0.0.1:{proxy.port}", tls=authority.trust)
            error = await failure(egress, "https://files.example/?canary", 0.5 if reason == "timeout" else 5)
        assert (type(error), error.reason, len(site.requests)) == (AnswerLost, reason, 1)


@pytest.mark.parametrize("target", ["http", "https"])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_connection_with_only_informational_answers_is_aborted_behind_a_proxy_too(
    scheme: str, target: str, authority: Authority
) -> None:
    tls = authority.server("files.example") if target == "https" else None
    async with Site(send_informational_answers, tls=tls) as site, new_proxy(scheme, site.port, authority) as proxy:
        egress = egress_via(f"{scheme}://bot:{QUOTED}@127.0.0.1:{proxy.port}", tls=authority.trust)
        error = await failure(egress, f"{target}://files.example/?canary")
    assert (type(error), error.reason) == (AnswerLost, "reset")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_with_only_informational_answers_to_connect_is_aborted(scheme: str, authority: Authority) -> None:
    """The request itself was not sent yet."""
    tls = authority.server() if scheme == "https" else None
    async with Site(send_informational_answers, tls=tls) as proxy:
        egress = egress_via(f"{scheme}://127.0.0.1:{proxy.port}", tls=authority.trust)
        error = await failure(egress, "https://files.example/?canary")
    assert (type(error), error.reason) == (RequestNotSent, "proxy")


@pytest.mark.parametrize("status", ["302 Found", "307 Temporary Redirect"])
async def test_a_redirect_is_not_followed_through_a_proxy_either(status: str, authority: Authority) -> None:
    moved = answer(b"", status=status, headers="Location: http://other.example/\r\n")
    async with Site(in_turn(moved, answer(b"no"))) as site, HttpProxy(site.port) as proxy:
        egress = egress_via(f"http://127.0.0.1:{proxy.port}")
        assert (await egress.post("http://files.example/", b"{}", timeout_seconds=5))[0] == int(status[:3])
        await egress.close()
    assert proxy.asked == ["files.example"]
