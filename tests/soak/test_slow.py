"""The short form of the slow connections, with a server that waits half a second for strangers and not fifteen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.transport.callback_answer import CallbackAnswer, dull_answer
from maven_channel_wecom.transport.callback_server import CallbackServer
from tests.soak.calling import GoodCallers
from tests.soak.slow import be_slow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

FORGED = "0"


class Receiver:
    """Takes whatever is not forged."""

    async def receive(
        self, method: str, query: Mapping[str, str], read_body: Callable[[], Awaitable[bytes]]
    ) -> CallbackAnswer:
        await read_body()
        return dull_answer(401) if query.get("msg_signature", FORGED) == FORGED else CallbackAnswer(status=200)

    def receive_ordinary(self, query: bytes, body: bytes) -> CallbackAnswer:
        return dull_answer(401) if b"msg_signature=0&" in query else CallbackAnswer(status=200)


@pytest.mark.parametrize("short_path", [True, False], ids=["short-path", "long-path"])
async def test_slow_connections_are_closed_and_good_callers_never_fail(*, short_path: bool) -> None:
    """Of whatever kind they are."""
    dropped: list[str] = []
    server = CallbackServer(
        Receiver(),
        host="127.0.0.1",
        port=0,
        path="/wecom/bot",
        dropped=dropped.append,
        short_path=short_path,
        most_connections=60,
        stranger_seconds=0.5,
    )
    url = f"http://127.0.0.1:{await server.start()}/wecom/bot"
    callers = GoodCallers(Credentials("token", bytes(32)), url)
    slow, good = await asyncio.gather(be_slow(url, connections=100, seconds=1), callers.call(seconds=1, per_second=50))
    callers.close()
    await server.stop()
    assert slow.closed == slow.opened > 0
    assert good.failed == 0
    assert "slow" in dropped
