"""Tests for the life of a connection to a running channel."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from maven_channel_wecom.protocol.cipher import decode_key
from maven_channel_wecom.protocol.envelope import Credentials
from tests.e2e.deployment import Deployment
from tests.soak.callers import sealed_text

if TYPE_CHECKING:
    from tests.e2e.watch import Watch


async def test_idle_seconds_after_its_last_callback_a_connection_is_closed(watch: Watch) -> None:
    async with Deployment(watch, {"idleSeconds": 1}) as deployment:
        url = deployment.wecom.callback_url
        credentials = Credentials(deployment.bot.token, decode_key(deployment.bot.key))
        reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
        # Without answer: the echo agent does not repeat a blank.
        writer.write(sealed_text(credentials, url, message_id="m1", text=" "))
        # Less than an unverified connection may live.
        async with asyncio.timeout(8):
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
