"""The gateway process of the demo."""

from __future__ import annotations

import sys

import pytest

from maven_channel_wecom.simulator import demo_gateway
from tests.suite_watch import new_encoding_aes_key, new_token


def test_the_configuration_has_one_bot_on_loopback_and_an_echo_agent() -> None:
    token, key = new_token(), new_encoding_aes_key()
    found = demo_gateway.configuration(status_port=1, callback_port=2, token=token, encoding_aes_key=key)
    assert found == {
        "gateway": {"host": "127.0.0.1", "port": 1},
        "agent": {"type": "echo"},
        "channels": {
            "wecom": {
                "enabled": True,
                "token": token,
                "encodingAESKey": key,
                "host": "127.0.0.1",
                "port": 2,
                "mentionNames": ["Maven"],
                "welcomeText": {"zh": "您好，请提问。", "en": "Hello, ask me anything."},
                "allowPrivateNetwork": True,
            }
        },
    }


def test_with_an_agent_its_answers_are_streamed() -> None:
    found = demo_gateway.configuration(
        status_port=1, callback_port=2, token="t", encoding_aes_key="k", agent_url="http://127.0.0.1:3/v1/responses"
    )
    assert found["agent"] == {"type": "responses", "url": "http://127.0.0.1:3/v1/responses", "model": "demo"}
    assert isinstance(found["channels"], dict)
    assert found["channels"]["wecom"]["progress"] == "stream"


async def test_the_exit_code_and_the_end_of_stderr_are_returned() -> None:
    code = (
        "import http.server as h, json, signal, sys;"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7));"
        "port = json.load(open(sys.argv[-1]))['gateway']['port'];"
        "R = type('R', (h.BaseHTTPRequestHandler,), {'do_GET': lambda s: (s.send_response(200), s.end_headers())});"
        "h.HTTPServer(('127.0.0.1', port), R).serve_forever()"
    )
    gateway = demo_gateway.DemoGateway(
        token=new_token(), encoding_aes_key=new_encoding_aes_key(), command=(sys.executable, "-c", code)
    )
    async with gateway:
        assert await gateway.stop() == 7
        assert await gateway.ended() == 7
    assert any("GET /readyz" in line for line in gateway.stderr_tail)


async def test_a_gateway_that_exits_before_it_is_ready_is_an_error() -> None:
    gateway = demo_gateway.DemoGateway(
        token=new_token(),
        encoding_aes_key=new_encoding_aes_key(),
        command=(sys.executable, "-c", "raise SystemExit(3)"),
    )
    with pytest.raises(demo_gateway.GatewayFailed, match="ended with exit code 3 before it was ready"):
        await gateway.__aenter__()


async def test_any_configuration_can_be_run_and_one_that_was_not_started_has_no_end() -> None:
    gateway = demo_gateway.GatewayProcess({"channels": 3}, status_port=demo_gateway.free_port())
    with pytest.raises(demo_gateway.GatewayFailed, match="was not started"):
        await gateway.ended()
    with pytest.raises(demo_gateway.GatewayFailed, match="exit code 2 before it was ready"):
        async with gateway:
            pass
    assert any("channels" in line for line in gateway.stderr_tail)
