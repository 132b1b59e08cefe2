"""A gateway in a process of its own."""

from __future__ import annotations

import sys

import pytest

from maven_channel_wecom.simulator.gateway_process import GatewayFailed, GatewayProcess, free_port


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
