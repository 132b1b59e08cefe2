"""Tests that neither media nor replies reach an address that is not public, unless `allowPrivateNetwork` is set.

Every socket is diverted, so that no test could reach a real address even if the guard failed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.contract.messages import UnavailableBlock
from maven_channel_wecom.simulator.messages import Image, Text
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.deployment import Deployment
from tests.e2e.injection import InjectionPlugin
from tests.e2e.manual_clock import ManualClock
from tests.e2e.recording_agent import RecordingAgent
from tests.fakes.connecting import Diversion
from tests.fakes.names import Names

if TYPE_CHECKING:
    from tests.e2e.watch import Watch

PUBLIC_ONLY = {"allowPrivateNetwork": False}
PUBLIC = "93.184.216.34"
FORBIDDEN = [
    "127.0.0.1",
    "10.0.0.8",
    "172.16.3.4",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "0.0.0.0",
    "[::1]",
    "[fe80::1]",
    "[fd00::7]",
    "[::ffff:10.0.0.8]",
    "inside.example",
    "half.example",
]
NAMES = {
    "inside.example": [["192.168.7.7"]],
    "half.example": [["10.2.3.4", "169.254.1.1"]],
    "outside.example": [[PUBLIC]],
}


def image_callback(host: str, reply_host: str) -> bytes:
    """Return a callback with a media URL at `host` and a reply URL at `reply_host`."""
    callback = {
        "msgid": "m-1",
        "msgtype": "image",
        "chattype": "single",
        "from": {"userid": "alice"},
        "response_url": f"http://{reply_host}/cgi-bin/aibot/response?response_code=canary-code",
        "image": {"url": f"http://{host}/latest/canary-media"},
    }
    return json.dumps(callback).encode()


@pytest.mark.parametrize("host", FORBIDDEN)
async def test_an_address_that_is_not_public_is_never_connected_to(watch: Watch, host: str) -> None:
    """No socket is created for the image or for the reply."""
    watch.register("a URL of WeCom", "canary-code", "canary-media")
    agent = RecordingAgent()
    diversion = Diversion()
    injection = InjectionPlugin(ManualClock(), diversion=diversion, resolver=Names(NAMES))
    async with Deployment(watch, PUBLIC_ONLY, agent=agent, plugins=[injection]) as deployment:
        await deployment.wecom.send_plaintext(image_callback(host, host), message_id="m-1")
        receipt = await deployment.auditor.receipt_for("m-1")
        assert await deployment.metric("reply_retries_total", reason="connect") == 0
    assert agent.blocks == (UnavailableBlock(kind="image", reason="forbidden_address"),)
    assert (receipt.outcome, receipt.reason, receipt.attempts) == ("undeliverable", "forbidden_address", 1)
    assert diversion.wanted == []


@pytest.mark.parametrize("host", [PUBLIC, "outside.example"])
async def test_a_public_address_is_connected_to(watch: Watch, host: str) -> None:
    """This setup does notice connections: three attempts each for image and reply."""
    watch.register("a URL of WeCom", "canary-code", "canary-media")
    diversion = Diversion()
    injection = InjectionPlugin(ManualClock(), diversion=diversion, resolver=Names(NAMES))
    async with Deployment(watch, PUBLIC_ONLY, plugins=[injection]) as deployment:
        await deployment.wecom.send_plaintext(image_callback(host, host), message_id="m-1")
        receipt = await deployment.auditor.receipt_for("m-1")
    assert (receipt.outcome, receipt.reason, receipt.attempts) == ("undeliverable", "connect", 3)
    assert diversion.wanted == [(PUBLIC, 80)] * 6


async def test_the_installed_channel_refuses_loopback(watch: Watch) -> None:
    """The channel is built by the installed plugin, without injected parts."""
    async with Deployment(watch, PUBLIC_ONLY) as deployment:
        sent = await deployment.send(Image(draw_png(4, 4)))
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        assert (receipt.outcome, receipt.reason) == ("undeliverable", "forbidden_address")
        assert await deployment.metric("media_fetches_total", outcome="forbidden_address") == 1
        assert await deployment.metric("replies_total", outcome="undeliverable", reason="forbidden_address") == 1
        assert (deployment.wecom.recorded.media_requests, deployment.wecom.recorded.posts) == ({}, {})
    (fields,) = watch.logged("wecom reply not delivered")
    assert fields["reason"] == "forbidden_address"


async def test_allow_private_network_permits_media_and_replies(watch: Watch) -> None:
    async with Deployment(watch, {"allowPrivateNetwork": True}) as deployment:
        assert (await deployment.ask(Image(draw_png(4, 4)))).startswith("[image image/png")
        assert await deployment.ask(Text("and a text too")) == "and a text too"
