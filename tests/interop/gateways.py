"""Runs a gateway as a process, with a simulated WeCom."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from tests.soak.fleet import Gateway
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def running_gateway(folder: Path, *, state: str = "memory:") -> AsyncIterator[tuple[Gateway, SimulatedWeCom]]:
    """Run a gateway with the echo agent, and a simulated WeCom that must see no offence."""
    token, key = new_token(), new_encoding_aes_key()
    gateway = Gateway(folder, 1, token=token, encoding_aes_key=key, agent_url="", state=state)
    async with SimulatedWeCom(gateway.callback_url, token=token, encoding_aes_key=key) as wecom:
        await gateway.start()
        try:
            yield gateway, wecom
        finally:
            await gateway.kill()
    assert [offence.kind for offence in wecom.recorded.offences] == []


def callback_port(gateway: Gateway) -> int:
    port = urlsplit(gateway.callback_url).port
    assert port is not None
    return port
