"""The short form of `make proof-slow`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.soak.callers import GoodCallers
from tests.soak.fleet import plain_gateway
from tests.soak.slow import hold_slow_connections

if TYPE_CHECKING:
    from pathlib import Path


async def test_slow_connections_are_closed_and_good_callers_never_fail(tmp_path: Path) -> None:
    async with plain_gateway(tmp_path) as (credentials, gateway):
        callers = GoodCallers(credentials, gateway.callback_url)
        slow, good = await asyncio.gather(
            hold_slow_connections(gateway.callback_url, connections=60, seconds=1),
            callers.call(seconds=2, per_second=50),
        )
        callers.close()
        dropped = (await gateway.samples())['maven_wecom_connections_dropped_total{channel="wecom",reason="slow"}']
    assert slow.closed == slow.opened > 0
    assert good.failed == 0
    assert dropped > 0
