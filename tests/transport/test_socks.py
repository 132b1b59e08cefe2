"""Behavior specific to SOCKS proxies; `test_egress_proxies.py` tests what all proxies have in common."""

from __future__ import annotations

import subprocess
import sys

import pytest

from maven_channel_wecom.egress.egress import Egress
from maven_channel_wecom.errors import RequestNotSent
from tests.fakes.names import Names
from tests.fakes.proxies import SocksProxy

ADDRESS = "93.184.216.34"


async def failure(egress: Egress, url: str) -> RequestNotSent:
    with pytest.raises(RequestNotSent) as caught:
        await egress.post(url, b"{}", timeout_seconds=5)
    await egress.close()
    return caught.value


async def test_if_a_socks_proxy_hangs_up_in_its_handshake_the_request_was_not_sent() -> None:
    async with SocksProxy(mute=True) as proxy:
        error = await failure(Egress(proxy=f"socks5h://127.0.0.1:{proxy.port}"), "https://files.example/")
    assert error.reason == "proxy"


async def test_a_name_too_long_for_a_socks_proxy_is_not_sent() -> None:
    """SOCKS5 encodes the length of a name in one byte."""
    async with SocksProxy() as proxy:
        url = f"https://{'.'.join(['a' * 60] * 5)}/"
        error = await failure(Egress(proxy=f"socks5h://127.0.0.1:{proxy.port}"), url)
    assert (error.reason, proxy.asked) == ("proxy", [])


async def test_an_unresolvable_host_behind_socks5_has_the_reason_dns() -> None:
    """Behind socks5, unlike other proxies, we resolve the name of the host ourselves."""
    async with SocksProxy() as proxy:
        egress = Egress(proxy=f"socks5://127.0.0.1:{proxy.port}", resolver=Names({}))
        error = await failure(egress, "https://files.example/")
    assert (error.reason, proxy.asked) == ("dns", [])


async def test_socks5_tries_the_next_address_when_the_proxy_cannot_reach_one() -> None:
    two = Names({"files.example": [[ADDRESS, "2606:4700::1"]]})
    async with SocksProxy() as proxy:
        error = await failure(Egress(proxy=f"socks5://127.0.0.1:{proxy.port}", resolver=two), "https://files.example/")
    assert error.reason == "proxy"
    assert proxy.asked == [(ADDRESS, 443), ("2606:4700::1", 443)]


def test_the_socks_client_is_imported_before_the_first_request() -> None:
    """Importing it takes too long to do while a reply waits."""
    program = (
        "import sys\n"
        "from maven_channel_wecom.egress.egress import Egress\n"
        "assert 'aiohttp_socks' not in sys.modules\n"
        "Egress(proxy='socks5://proxy.example:1080')\n"
        "assert 'aiohttp_socks' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603 - our own interpreter
