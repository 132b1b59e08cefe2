"""A gateway in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from maven_channel_wecom.simulator.gateway_process import GatewayFailed, GatewayProcess, free_port
from tests.suite_watch import new_encoding_aes_key

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_exit_code_and_the_end_of_stderr_are_returned() -> None:
    code = (
        "import http.server as h, json, signal, sys;"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7));"
        "port = json.load(open(sys.argv[-1]))['gateway']['port'];"
        "R = type('R', (h.BaseHTTPRequestHandler,), {'do_GET': lambda s: (s.send_response(200), s.end_headers())});"
        "h.HTTPServer(('127.0.0.1', port), R).serve_forever()"
    )
    port = free_port()
    async with GatewayProcess(
        {"gateway": {"port": port}}, status_port=port, command=(sys.executable, "-c", code)
    ) as gateway:
        assert await gateway.stop() == 7
        assert await gateway.ended() == 7
    assert any("GET /readyz" in line for line in gateway.stderr_tail)


PARENT = """
import asyncio, sys
from maven_channel_wecom.simulator.demo import DemoGateway

async def main():
    async with DemoGateway(token="t", encoding_aes_key=sys.argv[1], agent_url=sys.argv[2]) as gateway:
        print(gateway._process.pid, gateway.callback_url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("agent_url", ["", "http://127.0.0.1:1/v1/responses"], ids=["echo", "streams"])
async def test_a_gateway_ends_after_its_parent_was_killed_and_its_secrets_are_gone(
    tmp_path: Path, agent_url: str
) -> None:
    """Its configuration may hold the key of an operator's agent."""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, new_encoding_aes_key(), agent_url),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert parent.stdout
    number, url = (await parent.stdout.readline()).decode().split()
    assert await listens(url)
    parent.kill()
    await parent.wait()
    try:
        async with asyncio.timeout(20):
            while await listens(url):  # noqa: ASYNC110 - it is not a child of this process
                await asyncio.sleep(0.05)
    except TimeoutError:
        os.kill(int(number), signal.SIGKILL)
        raise
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


async def test_a_gateway_that_exits_before_it_is_ready_is_an_error() -> None:
    gateway = GatewayProcess({}, status_port=free_port(), command=(sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(GatewayFailed, match="ended with exit code 3 before it was ready"):
        await gateway.__aenter__()


async def test_any_configuration_can_be_run_and_one_that_was_not_started_has_no_end() -> None:
    gateway = GatewayProcess({"channels": 3}, status_port=free_port())
    with pytest.raises(GatewayFailed, match="was not started"):
        await gateway.ended()
    with pytest.raises(GatewayFailed, match="exit code 2 before it was ready"):
        async with gateway:
            pass
    assert any("channels" in line for line in gateway.stderr_tail)
