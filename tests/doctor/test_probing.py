"""The way to the public address: names, connections, certificates. Nothing leaves this machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from yarl import URL

from maven_channel_wecom.doctor.probing import UrlProbe
from maven_channel_wecom.doctor.url_check import NoAnswer, judge_url_check
from tests.doctor.faulty_bots import FakeBot, with_bot
from tests.fakes.certificates import Authority
from tests.fakes.clock import FakeClock
from tests.fakes.names import Names
from tests.fakes.sites import LoopbackServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doctor.conftest import Doctor


async def test_a_name_that_nobody_knows_is_explained(doctor: Doctor, tmp_path: Path) -> None:
    """Asked of the resolver once, and of nobody else."""
    names = Names({})
    found = await doctor.ask(with_bot(tmp_path), "--url", "https://bot.example.com/wecom/bot", resolver=names)
    assert (found.code, names.asked) == (1, ["bot.example.com"])
    assert "the name cannot be resolved" in found.detail("public_url")


async def test_a_connection_that_is_refused_is_explained(doctor: Doctor, tmp_path: Path) -> None:
    """At a port that was somebody's a moment ago."""
    async with FakeBot() as bot:
        url = bot.url
    found = await doctor.ask(with_bot(tmp_path), "--url", url)
    assert "the connection is refused" in found.detail("public_url")


async def test_a_trusted_certificate_is_fine(doctor: Doctor, tmp_path: Path) -> None:
    """The whole way, by name."""
    authority = await asyncio.to_thread(Authority, tmp_path)
    names = Names({"bot.example.com": [["127.0.0.1"]]})
    async with FakeBot(tls=authority.server("bot.example.com")) as bot:
        url = f"https://bot.example.com:{bot.port}/wecom/bot"
        found = await doctor.ask(with_bot(tmp_path), "--url", url, resolver=names, tls=authority.trust)
    assert (found.code, found.outcome("public_url")) == (0, "ok")


async def test_a_url_that_leads_to_a_private_address_is_a_warning(doctor: Doctor, tmp_path: Path) -> None:
    """WeCom cannot come there, whatever came back to this machine."""
    async with FakeBot() as bot:
        found = await doctor.ask(with_bot(tmp_path, port=bot.port), "--url", bot.url)
    assert (found.code, found.outcome("address"), found.outcome("public_url")) == (0, "warn", "ok")
    assert "leads to 127.0.0.1, which WeCom cannot reach" in found.detail("address")
    assert found.names().count("address") == 1


async def told_of(url: str, **probe: Any) -> str:  # noqa: ANN401 - as UrlProbe
    """Send one check from the loop of the test, which lives until both ends of a broken handshake have hung up."""
    seen = await UrlProbe(FakeClock(), **probe).ask(URL(url), "a=b")
    return judge_url_check("public_url", "wecom", b"1", seen, path="/").detail


async def test_a_certificate_of_nobody_known_is_explained(tmp_path: Path) -> None:
    """By the authorities of this machine, and the request is not sent."""
    authority = await asyncio.to_thread(Authority, tmp_path)
    async with FakeBot(tls=authority.server()) as bot:
        assert "TLS: the authority of the certificate is unknown" in await told_of(bot.url)
    assert bot.requests == []


async def test_a_certificate_for_another_name_is_explained(tmp_path: Path) -> None:
    """However trusted it is."""
    authority = await asyncio.to_thread(Authority, tmp_path)
    names = Names({"bot.example.com": [["127.0.0.1"]]})
    async with FakeBot(tls=authority.server("other.example.com")) as bot:
        told = await told_of(f"https://bot.example.com:{bot.port}/", resolver=names, tls=authority.trust)
    assert "TLS: the certificate is for another name" in told


class PlainServer(LoopbackServer):
    """Takes a TLS greeting for a bad request, as web servers do."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()


async def test_a_port_without_tls_is_explained() -> None:
    """An https URL that leads to plain HTTP."""
    async with PlainServer() as server:
        assert "TLS: the handshake failed" in await told_of(f"https://127.0.0.1:{server.port}/")


@pytest.mark.parametrize(
    ("certificate", "sentence"),
    [(10, "has expired"), (18, "signed by itself"), (21, "full chain"), (9999, "not one that WeCom would trust")],
)
def test_every_fault_of_a_certificate_has_a_sentence(certificate: int, sentence: str) -> None:
    """Those without one of their own share the last."""
    seen = NoAnswer(reason="certificate", certificate=certificate)
    check = judge_url_check("public_url", "wecom", b"1", seen, path="/")
    assert check.outcome == "fail"
    assert sentence in check.detail
