"""Probing over the network: ports, readiness, names, connections, certificates. Nothing leaves this machine."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest
from yarl import URL

from maven_channel_wecom.doctor import probing
from maven_channel_wecom.doctor.probing import UrlProbe
from maven_channel_wecom.doctor.url_check import NoAnswer, judge_url_check
from tests.doctor.faulty_bots import FakeBot, bot_config, entry, write_config
from tests.fakes.certificates import Authority
from tests.fakes.clock import FakeClock
from tests.fakes.installed_aiodns import run_with_aiodns
from tests.fakes.names import Names
from tests.fakes.sites import PlainTextServer, Site, answer, in_turn

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doctor.conftest import Doctor


def bind_port() -> socket.socket:
    """Return a socket that is bound and does not listen."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


async def test_a_free_port_means_that_the_gateway_is_not_running(doctor: Doctor, tmp_path: Path) -> None:
    with bind_port() as bound:
        port = bound.getsockname()[1]
    found = await doctor.diagnose(bot_config(tmp_path, port=port))
    assert (found.exit_code, found.outcome("port")) == (1, "fail")
    assert "the gateway is not running" in found.detail("port")
    assert "回调地址请求不通过" in found.detail("port")
    # The check that could not be made is no second failure.
    assert "local_url" not in found.names()


async def test_a_bound_port_that_accepts_no_connection_is_reported_as_in_use(doctor: Doctor, tmp_path: Path) -> None:
    with bind_port() as bound:
        found = await doctor.diagnose(bot_config(tmp_path, port=bound.getsockname()[1]))
    assert "is in use, but connections to it fail" in found.detail("port")


async def test_a_listener_on_all_addresses_is_found(doctor: Doctor, tmp_path: Path) -> None:
    async with FakeBot() as bot:
        found = await doctor.diagnose(bot_config(tmp_path, host="0.0.0.0", port=bot.port))
    assert (found.outcome("port"), found.outcome("local_url")) == ("ok", "ok")


def test_a_host_that_is_not_an_address_is_not_local() -> None:
    """The host is too long for a name, so the resolver is not used."""
    assert probing.probe_port("x" * 64, 9886) == "not_local"


async def test_the_readiness_of_a_running_gateway_is_reported(doctor: Doctor, tmp_path: Path) -> None:
    ready = b'{"ready": true, "reasons": []}'
    not_ready = b'{"ready": false, "reasons": ["wecom: the disk is full", "b: \\u001b[2J"]}'
    async with FakeBot() as bot, Site(in_turn(answer(ready), answer(not_ready, status="503 No"))) as status:
        document = {"gateway": {"port": status.port}, "channels": {"wecom": entry(port=bot.port)}}
        good = await doctor.diagnose(write_config(tmp_path, document))
        bad = await doctor.diagnose(write_config(tmp_path, document))
    assert [asked.line for asked in status.requests] == ["GET /readyz HTTP/1.1"] * 2
    assert (good.exit_code, good.outcome("gateway")) == (0, "ok")
    assert (bad.exit_code, bad.outcome("gateway")) == (1, "fail")
    assert "it reports that it is not ready: wecom: the disk is full" in bad.detail("gateway")


@pytest.mark.parametrize("body", [b"<html>canary", b"[]", b'{"reasons": 7}', b"[" * 50_000, b"\xff", b""])
async def test_gateway_port_without_a_gateway_is_a_warning(doctor: Doctor, tmp_path: Path, body: bytes) -> None:
    """A gateway started with another file may still accept the callbacks, so it is not a failure."""
    async with FakeBot() as bot:
        async with Site(answer(body)) as status:
            document = {"gateway": {"port": status.port}, "channels": {"wecom": entry(port=bot.port)}}
            path = write_config(tmp_path, document)
            other = await doctor.diagnose(path)
        nothing = await doctor.diagnose(path)
    for found in (other, nothing):
        assert (found.exit_code, found.outcome("gateway")) == (0, "warn")
        assert f"no gateway answers on gateway.port {status.port}" in found.detail("gateway")


def test_an_installed_aiodns_is_not_used() -> None:
    program = """
from yarl import URL
from maven_channel_wecom.clock import SystemClock
from maven_channel_wecom.doctor.probing import UrlProbe

print(asyncio.run(UrlProbe(SystemClock()).get(URL("http://localhost:1/"))).reason)
"""
    assert run_with_aiodns(program) == "refused\n"


async def test_an_unknown_name_is_explained(doctor: Doctor, tmp_path: Path) -> None:
    names = Names({})
    found = await doctor.diagnose(bot_config(tmp_path), "--url", "https://bot.example.com/wecom/bot", resolver=names)
    assert (found.exit_code, names.asked) == (1, ["bot.example.com"])
    assert "the name cannot be resolved" in found.detail("public_url")


async def test_a_refused_connection_is_explained(doctor: Doctor, tmp_path: Path) -> None:
    async with FakeBot() as bot:
        url = bot.url
    found = await doctor.diagnose(bot_config(tmp_path), "--url", url)
    assert "the connection is refused" in found.detail("public_url")
    assert "leads to 127.0.0.1, which WeCom cannot reach" in found.detail("address")


async def test_a_trusted_certificate_passes(doctor: Doctor, tmp_path: Path) -> None:
    authority = await asyncio.to_thread(Authority, tmp_path)
    names = Names({"bot.example.com": [["127.0.0.1"]]})
    async with FakeBot(tls=authority.server("bot.example.com")) as bot:
        url = f"https://bot.example.com:{bot.port}/wecom/bot"
        found = await doctor.diagnose(bot_config(tmp_path), "--url", url, resolver=names, tls=authority.trust)
    assert (found.exit_code, found.outcome("public_url")) == (0, "ok")


async def test_a_url_that_leads_to_a_private_address_is_a_warning(doctor: Doctor, tmp_path: Path) -> None:
    async with FakeBot() as bot:
        found = await doctor.diagnose(bot_config(tmp_path, port=bot.port), "--url", bot.url)
    assert (found.exit_code, found.outcome("address"), found.outcome("public_url")) == (0, "warn", "ok")
    assert "leads to 127.0.0.1, which WeCom cannot reach" in found.detail("address")
    assert found.names().count("address") == 1


async def detail_for(url: str, **probe: Any) -> str:  # noqa: ANN401 - passed to UrlProbe
    """Check a URL in the event loop of the test, which lives until both ends of a failed handshake have closed."""
    answer = await UrlProbe(FakeClock(), **probe).get(URL(url), "a=b")
    return judge_url_check("public_url", "wecom", b"1", answer, path="/").detail


async def test_a_certificate_of_an_unknown_authority_is_explained_and_no_request_is_sent(tmp_path: Path) -> None:
    authority = await asyncio.to_thread(Authority, tmp_path)
    async with FakeBot(tls=authority.server()) as bot:
        assert "TLS: the authority of the certificate is unknown" in await detail_for(bot.url)
    assert bot.requests == []


async def test_a_certificate_for_another_name_is_explained(tmp_path: Path) -> None:
    authority = await asyncio.to_thread(Authority, tmp_path)
    names = Names({"bot.example.com": [["127.0.0.1"]]})
    async with FakeBot(tls=authority.server("other.example.com")) as bot:
        detail = await detail_for(f"https://bot.example.com:{bot.port}/", resolver=names, tls=authority.trust)
    assert "TLS: the certificate is for another name" in detail


async def test_a_port_without_tls_is_explained() -> None:
    async with PlainTextServer() as server:
        assert "TLS: the handshake failed" in await detail_for(f"https://127.0.0.1:{server.port}/")


@pytest.mark.parametrize(
    ("certificate", "sentence"),
    [(10, "has expired"), (18, "self-signed"), (21, "full chain"), (9999, "not one that WeCom would trust")],
)
def test_every_certificate_error_is_explained(certificate: int, sentence: str) -> None:
    failure = NoAnswer(reason="certificate", certificate=certificate)
    check = judge_url_check("public_url", "wecom", b"1", failure, path="/")
    assert check.outcome == "fail"
    assert sentence in check.detail
