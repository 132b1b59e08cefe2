"""The configuration of the playground's gateway."""

from __future__ import annotations

from typing import Any

import pytest

from maven_channel_wecom.config import problems
from maven_channel_wecom.host.configuration import interpret
from maven_channel_wecom.playground.gateway_document import (
    PlaygroundPorts,
    bot_entry,
    bot_name,
    chat_document,
    configured_agent,
    gateway_document,
)
from tests.suite_watch import new_encoding_aes_key, new_token

PORTS = PlaygroundPorts(18001, 18002, 18003)
CONFIGURED = {
    "agent": {"type": "responses", "url": "http://127.0.0.1:1/v1/responses", "model": "m", "apiKey": {"env": "K"}},
    "channels": {
        "off": {"type": "wecom", "enabled": False, "mentionNames": ["Off"]},
        "telegram": {"token": "t"},
        "sales": {
            "type": "wecom",
            "token": "the real token",
            "encodingAESKey": {"env": "KEY"},
            "mentionNames": ["@小助手"],
            "welcomeText": "hi",
            "state": "redis://prod",
            "proxy": "http://proxy",
            "allowFrom": ["boss"],
        },
    },
}


def document(configured: object = None) -> dict[str, Any]:
    return gateway_document(
        configured,
        ports=PORTS,
        token=new_token(),
        encoding_aes_key=new_encoding_aes_key(),
        agent_url="http://127.0.0.1:9/v1/responses",
    )


@pytest.mark.parametrize("configured", [None, CONFIGURED, [], {"channels": 3}, {"agent": {"type": "echo"}}])
def test_it_has_no_problems_whatever_the_configuration_is(configured: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", "k")
    made = document(configured)
    assert interpret(made)[1] == []
    for name, entry in made["channels"].items():
        assert problems(name, entry) == []


def test_one_bot_streams_and_one_sends_single_replies_on_loopback() -> None:
    made = document()
    channels = made["channels"]
    assert {name: (each["port"], each["progress"]) for name, each in channels.items()} == {
        "wecom": (18002, "stream"),
        "reply": (18003, "off"),
    }
    assert {each["host"] for each in [made["gateway"], *channels.values()]} == {"127.0.0.1"}
    assert made["agent"]["url"] == "http://127.0.0.1:9/v1/responses"


def test_of_the_operators_bot_only_its_texts_and_its_agent_are_used() -> None:
    """Its secrets, its state and its proxy stay untouched, and the made-up people may write."""
    made = document(CONFIGURED)
    entry = made["channels"]["wecom"]
    assert made["agent"] == CONFIGURED["agent"]
    assert configured_agent({"agent": {"type": "responses", "memoryState": "sqlite:memory.db"}}) == {
        "type": "responses"
    }
    assert (entry["welcomeText"], entry["mentionNames"]) == ("hi", ["@小助手"])
    assert not {"state", "proxy", "allowFrom"} & entry.keys()
    assert entry["token"] != "the real token"


def test_a_chat_has_the_configured_bot_but_not_its_connection() -> None:
    """Its port and state belong to a gateway that may be running."""
    given: dict[str, Any] = {
        "status_port": 18001,
        "callback_port": 18002,
        "token": new_token(),
        "encoding_aes_key": "k",
    }
    made: dict[str, Any] = chat_document(CONFIGURED, **given, agent_url="")
    entry = made["channels"]["wecom"]
    assert made["agent"] == CONFIGURED["agent"]
    assert (entry["port"], entry["welcomeText"], entry["allowFrom"]) == (18002, "hi", ["boss"])
    assert not {"state", "proxy", "progress"} & entry.keys()
    echo = chat_document({"agent": {"type": "echo", "memoryState": "sqlite:m.db"}}, **given, agent_url="")
    assert echo["agent"] == {"type": "echo"}


def test_the_name_of_the_bot_is_the_one_that_people_mention() -> None:
    assert bot_name(CONFIGURED) == "小助手"
    assert bot_name(None) == bot_name({"channels": {"wecom": {"mentionNames": ["@"]}}}) == "Maven"


def test_the_echo_is_no_configured_agent_because_it_does_not_stream() -> None:
    assert configured_agent({"agent": {"type": "echo"}}) is configured_agent({"agent": {}}) is None
    assert bot_entry({"channels": {"wecom": {"port": 1}}}) == {"port": 1}
