"""No request reaches an address that is not public, directly or through a proxy. All sockets here lead to 127.0.0.1."""

from __future__ import annotations

import io
import string
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maven_channel_wecom.egress.addresses import is_forbidden
from maven_channel_wecom.egress.egress import Egress
from maven_channel_wecom.egress.media_client import MediaClient
from maven_channel_wecom.errors import MediaUnavailable, NotSentReason, RequestNotSent
from tests.fakes.connecting import Diversion
from tests.fakes.names import Names
from tests.fakes.proxies import HttpProxy, SocksProxy
from tests.fakes.sites import Site, answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.certificates import Authority

ROUTES = ["direct", "http", "https", "socks5", "socks5h"]
URLS = [
    line
    for line in (Path(__file__).parent.parent / "vectors" / "forbidden_urls.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]


class Route:
    """An Egress, the socket factory and proxy that record its requests, and a site behind them that would answer."""

    def __init__(self, egress: Egress, site: Site, diversion: Diversion, proxy: HttpProxy | SocksProxy | None) -> None:
        self.egress = egress
        self.site = site
        self._diversion = diversion
        self.proxy = proxy

    @property
    def reached(self) -> list[object]:
        """The destinations that were asked for, and the requests that arrived."""
        if self.proxy is None:
            return [*self._diversion.wanted, *self.site.requests]
        return [*self.proxy.asked, *self.site.requests]


@asynccontextmanager
async def open_route(kind: str, names: Names, authority: Authority) -> AsyncIterator[Route]:
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(Site(answer(b"ok")))
        proxy: HttpProxy | SocksProxy | None = None
        if kind.startswith("socks"):
            proxy = await stack.enter_async_context(SocksProxy(site.port))
        elif kind != "direct":
            tls = authority.server() if kind == "https" else None
            proxy = await stack.enter_async_context(HttpProxy(site.port, tls=tls))
        diversion = Diversion(to_port=proxy.port if proxy else site.port)
        egress = Egress(
            proxy=f"{kind}://127.0.0.1:{proxy.port}" if proxy else None,
            resolver=names,
            socket_factory=diversion,
            tls=authority.trust,
        )
        stack.push_async_callback(egress.close)
        yield Route(egress, site, diversion, proxy)


def test_the_table_has_at_least_120_urls() -> None:
    """With an empty table the other tests would pass without testing anything."""
    assert len(URLS) >= 120


@pytest.mark.parametrize("kind", ROUTES)
async def test_no_reply_reaches_a_forbidden_address(kind: str, authority: Authority) -> None:
    """Every URL of the table is refused before anything leaves, though every name resolves to this machine."""
    async with open_route(kind, Names({"*": [["127.0.0.1", "::1"]]}), authority) as route:
        for url in URLS:
            with pytest.raises(RequestNotSent) as caught:
                await route.egress.post(url, b"{}", timeout_seconds=5)
            assert (url, caught.value.reason) in {(url, "forbidden_address"), (url, "bad_url")}
            assert (url, route.reached) == (url, [])


@pytest.mark.parametrize("kind", ROUTES)
async def test_no_download_reaches_a_forbidden_address(kind: str, authority: Authority) -> None:
    """A refused download is not retried."""
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    async with open_route(kind, Names({"*": [["127.0.0.1", "::1"]]}), authority) as route:
        media = MediaClient(route.egress, sleep=sleep)
        for url in URLS:
            with pytest.raises(MediaUnavailable) as caught:
                await media.get(url, io.BytesIO, limit_bytes=100, timeout_seconds=5)
            assert (url, caught.value.reason) in {(url, "forbidden_address"), (url, "bad_url")}
            assert (url, route.reached) == (url, [])
    assert delays == []


@pytest.mark.parametrize("kind", ROUTES)
async def test_a_public_host_is_reached_on_every_route(kind: str, authority: Authority) -> None:
    """The tests of the table would prove nothing if allowed requests did not arrive either."""
    async with open_route(kind, Names({"files.example": [["93.184.216.34"]]}), authority) as route:
        assert await route.egress.post("http://files.example/", b"{}", timeout_seconds=5) == (200, b"ok")
        wanted = {"direct": ("93.184.216.34", 80), "socks5": ("93.184.216.34", 80), "socks5h": ("files.example", 80)}
        assert route.reached[0] == wanted.get(kind, "files.example")


@pytest.mark.parametrize("kind", ROUTES)
async def test_a_public_literal_address_is_reached_on_every_route(kind: str, authority: Authority) -> None:
    """No name is resolved."""
    names = Names({})
    async with open_route(kind, names, authority) as route:
        assert await route.egress.post("http://[2606:4700::1]/", b"{}", timeout_seconds=5) == (200, b"ok")
    assert names.asked == []


@pytest.mark.parametrize("kind", ROUTES)
async def test_an_operator_may_allow_private_networks(kind: str, authority: Authority) -> None:
    """The simulator and on-premises installations have such addresses."""
    async with open_route(kind, Names({"localhost": [["127.0.0.1"]]}), authority) as route:
        proxy = route.proxy
        egress = Egress(
            proxy=f"{kind}://127.0.0.1:{proxy.port}" if proxy else None,
            allow_private_network=True,
            resolver=Names({"localhost": [["127.0.0.1"]]}),
            tls=authority.trust,
        )
        for host in ("localhost", "127.0.0.1"):
            url = f"http://{host}:{route.site.port}/"
            assert await egress.post(url, b"{}", timeout_seconds=5) == (200, b"ok")
        await egress.close()


@pytest.mark.parametrize("kind", ["direct", "socks5"])
@pytest.mark.parametrize(
    "answers",
    [["127.0.0.1"], ["10.0.0.1", "192.168.0.1"], ["::1"], ["::ffff:10.0.0.1"], ["fe80::1%eth0"], ["169.254.169.254"]],
    ids=" ".join,
)
async def test_a_name_with_only_forbidden_answers_is_refused(
    kind: str, answers: list[str], authority: Authority
) -> None:
    async with open_route(kind, Names({"files.example": [answers]}), authority) as route:
        for _ in range(2):
            with pytest.raises(RequestNotSent) as caught:
                await route.egress.post("http://files.example/", b"{}", timeout_seconds=5)
            assert caught.value.reason == "forbidden_address"
        assert route.reached == []


@pytest.mark.parametrize("kind", ["direct", "socks5"])
@pytest.mark.parametrize(
    "answers",
    [["127.0.0.1", "93.184.216.34"], ["93.184.216.34", "::1", "10.0.0.1"], ["fd00::1", "10.0.0.1", "93.184.216.34"]],
    ids=" ".join,
)
async def test_only_the_public_addresses_of_a_name_are_tried(
    kind: str, answers: list[str], authority: Authority
) -> None:
    """The public address may be the last one, and two connections may race."""
    async with open_route(kind, Names({"files.example": [answers]}), authority) as route:
        assert await route.egress.post("http://files.example/", b"{}", timeout_seconds=5) == (200, b"ok")
        assert [asked for asked in route.reached if isinstance(asked, tuple)] == [("93.184.216.34", 80)]


async def test_if_the_only_public_address_refuses_the_reason_is_connect() -> None:
    """The host was tried, so the reason is not a forbidden address."""
    diversion = Diversion()
    egress = Egress(
        resolver=Names({"files.example": [["93.184.216.34", "127.0.0.1", "::1"]]}), socket_factory=diversion
    )
    with pytest.raises(RequestNotSent) as caught:
        await egress.post("http://files.example/", b"{}", timeout_seconds=5)
    await egress.close()
    assert caught.value.reason == "connect"
    assert set(diversion.wanted) == {("93.184.216.34", 80)}


@pytest.mark.parametrize("kind", ["direct", "socks5"])
async def test_dns_rebinding_does_not_reach_a_private_address(kind: str, authority: Authority) -> None:
    """The resolver alternates between public and private addresses; the address that is checked is connected to."""
    names = Names({"files.example": [["93.184.216.34"], ["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::1"]]})
    async with open_route(kind, names, authority) as route:
        outcomes: list[str] = []
        # Each request has its own port, so that no cached address is used.
        for port in range(2000, 3000):
            try:
                await route.egress.post(f"http://files.example:{port}/", b"{}", timeout_seconds=5)
            except RequestNotSent as error:
                outcomes.append(error.reason)
            else:
                outcomes.append("sent")
        assert outcomes == ["sent", "forbidden_address"] * 500
        assert {asked[0] for asked in route.reached if isinstance(asked, tuple)} == {"93.184.216.34"}


async def test_a_literal_address_is_checked_when_its_socket_is_created() -> None:
    """A literal address is not resolved, so a check in the resolver alone would let it pass."""
    diversion = Diversion()
    names = Names({})
    egress = Egress(resolver=names, socket_factory=diversion)
    with pytest.raises(RequestNotSent) as caught:
        await egress.post("http://169.254.169.254/", b"{}", timeout_seconds=5)
    await egress.close()
    assert caught.value.reason == "forbidden_address"
    assert (diversion.wanted, names.asked) == ([], [])


@given(
    st.builds(
        str.__add__,
        st.sampled_from(["", "http://", "https://", "http://files.example", "http://files.example/?", "http://[::1]"]),
        st.one_of(st.text(), st.text(string.printable)),
    )
)
@settings(deadline=None)
async def test_any_text_in_place_of_a_url_is_refused_with_a_reason(text: str) -> None:
    """No connection to an address that is not public is attempted either."""
    diversion = Diversion()
    egress = Egress(resolver=Names({"*": [["93.184.216.34"]]}), socket_factory=diversion)
    with pytest.raises(RequestNotSent) as caught:
        await egress.post(text, b"{}", timeout_seconds=5)
    await egress.close()
    assert caught.value.reason in get_args(NotSentReason)
    assert not any(is_forbidden(address) for address, _ in diversion.wanted)
