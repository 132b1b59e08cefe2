"""Real reverse proxies in front of a gateway that runs as a process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.simulator.messages import Text
from tests.interop.curl import CurlClient
from tests.interop.gateways import callback_port, running_gateway
from tests.interop.programs import find_program
from tests.interop.reverse_proxies import FOR_REPLICAS, REVERSE_PROXIES
from tests.soak.replicas import durable_redis, running_replicas
from tests.soak.traffic import Traffic, tally

if TYPE_CHECKING:
    from pathlib import Path

    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.fakes.certificates import Authority

pytestmark = pytest.mark.interop

# Proxies buffer bodies of this size differently from small ones, some in a file.
LARGE_CHARACTERS = 60_000


async def use(client: CurlClient, wecom: SimulatedWeCom) -> None:
    """Make a simulated WeCom send its requests with curl."""
    assert wecom._client is not None
    await wecom._client.close()
    wecom._client = client  # type: ignore[assignment]  # it has the same methods


async def assert_answered(wecom: SimulatedWeCom, *, messages: int) -> None:
    """Send messages at once, and assert that each is acknowledged and answered."""
    texts = [f"message {number}" for number in range(messages)]
    sent = await asyncio.gather(*(wecom.send(Text(text), user=f"user {text}") for text in texts))
    assert [each.status for each in sent] == [200] * messages
    replies = await asyncio.gather(*(each.reply() for each in sent))
    assert [reply.content for reply in replies] == texts


@pytest.mark.parametrize("name", REVERSE_PROXIES)
async def test_every_callback_passes(folder: Path, authority: Authority, name: str) -> None:
    proxy = REVERSE_PROXIES[name]
    curl = find_program("curl", "curl")
    certificate = authority.certificate_file()
    async with (
        running_gateway(folder) as (gateway, wecom),
        proxy.in_front_of([callback_port(gateway)], folder, certificate=certificate) as url,
    ):
        wecom.callback_url = url
        client = CurlClient(curl, "--http2" if proxy.tls else "--http1.1", trust=authority.file)
        if proxy.tls:
            await use(client, wecom)
        assert (await wecom.check_url()).passed
        await assert_answered(wecom, messages=20)
        assert (await wecom.send(Text("字" * LARGE_CHARACTERS))).status == 200
        if not proxy.tls:
            client = CurlClient(curl, "--http1.1", "--header", "Expect: 100-continue")
            await use(client, wecom)
            await assert_answered(wecom, messages=3)
        assert set(client.versions) == {"2" if proxy.tls else "1.1"}
        samples = await gateway.samples()
        rejected = {series for series, value in samples.items() if "requests_rejected_total{" in series and value}
        # A health check of HAProxy connects and sends nothing, which is no request.
        assert rejected == set()


@pytest.mark.parametrize("name", FOR_REPLICAS)
async def test_replicas_restarted_one_after_the_other_lose_no_callback(folder: Path, name: str) -> None:
    with durable_redis() as redis:
        async with running_replicas(folder, redis.address(), count=2) as replicas:
            ports = [callback_port(gateway) for gateway in replicas.gateways]
            async with FOR_REPLICAS[name].in_front_of(ports, folder) as url:
                async with Traffic(replicas.wecom, lambda: [url], per_second=40) as traffic:
                    for gateway in replicas.gateways:
                        await asyncio.sleep(1)
                        assert await gateway.drain() == 0
                        await asyncio.sleep(1)
                        await gateway.start()
                    await asyncio.sleep(1)
                result = await tally(replicas.wecom, within_seconds=30)
    assert len(traffic.sent) > 100
    assert {sent.status for _, sent in traffic.sent} == {200}
    assert result.lost == result.answered_twice == []
