"""Tests for requests to the callback port that are not callbacks: a minimal answer, and no effect on messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e.deployment import Deployment, assert_still_answers

if TYPE_CHECKING:
    from tests.e2e.watch import Watch

MEBIBYTE = 1024 * 1024
QUERY = f"msg_signature={'0' * 40}&timestamp=1700000000&nonce=n"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_a_method_other_than_get_head_and_post_is_405(watch: Watch, method: str) -> None:
    async with Deployment(watch) as deployment:
        answer = await deployment.wecom.request(method, query="a=b")
        assert answer.status == 405
        assert await deployment.metric("callbacks_total", kind="message", outcome="method") == 1
        await assert_still_answers(deployment)


async def test_a_body_over_a_mebibyte_is_413(watch: Watch) -> None:
    """The body limit holds for Content-Length and for chunked bodies; a body of exactly one MiB is read."""
    async with Deployment(watch) as deployment:
        assert (await deployment.wecom.request("POST", query=QUERY, body=bytes(MEBIBYTE + 1))).status == 413
        assert (await deployment.wecom.request("POST", query=QUERY, body=bytes(MEBIBYTE))).status == 400
        chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
        head = f"POST /wecom/bot?{QUERY}".encode() + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await deployment.wecom.send_bytes(head + chunk * 17, within_seconds=2)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert await deployment.metric("callbacks_total", kind="message", outcome="too_large") == 2
        await assert_still_answers(deployment)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /wecom/bot HTTP/9.9\r\n\r\n",
        b"\x00" * 4096,
        b"POST /wecom/bot HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /wecom/bot HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /wecom/bot HTTP/1.1\r\nHost: x\r\n" + b"X-Large: " + b"y" * 20_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"BREW /wecom/bot HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["tls", "another path", "version", "zeros", "negative length", "two lengths", "large header", "ssh", "coffee"],
)
async def test_bytes_that_are_not_a_callback_get_4xx_or_a_closed_connection(watch: Watch, data: bytes) -> None:
    async with Deployment(watch) as deployment:
        answer = await deployment.wecom.send_bytes(data, within_seconds=0.3)
        assert answer == b"" or answer.split()[1].startswith(b"4")
        assert b"Traceback" not in answer
        await assert_still_answers(deployment)


@pytest.mark.parametrize("path", ["/", "/wecom/bot/", "/wecom", "/metrics", "/healthz", "/readyz"])
async def test_the_callback_port_serves_only_the_callback_path(watch: Watch, path: str) -> None:
    async with Deployment(watch) as deployment:
        deployment.wecom.callback_url = f"http://127.0.0.1:{deployment.channel().port}{path}"
        assert (await deployment.wecom.request("GET")).status == 404


async def test_a_client_that_disconnects_within_a_body_has_no_effect(watch: Watch) -> None:
    async with Deployment(watch) as deployment:
        port = deployment.channel().port
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /wecom/bot HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        await assert_still_answers(deployment)


async def test_rejections_are_logged_at_a_limited_rate_and_all_counted(watch: Watch) -> None:
    """The rate limit keeps an attacker from filling the disk."""
    async with Deployment(watch) as deployment:
        for _ in range(40):
            assert (await deployment.wecom.request("POST", body=b"garbage of an attacker")).status == 400
        assert await deployment.metric("callbacks_total", kind="message", outcome="malformed") == 40
    assert 1 <= len(watch.logged("wecom callback rejected")) <= 5
