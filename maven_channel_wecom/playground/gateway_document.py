"""The configuration of the gateway that the playground starts."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

BOT_NAME: Final = "Maven"

STREAM_CHANNEL: Final = "wecom"
REPLY_CHANNEL: Final = "reply"

_TYPE: Final = "wecom"
# What decides how a bot answers. Its secrets, addresses, state and allow-lists belong to the real bot.
_COPIED: Final = frozenset({"mentionNames", "welcomeText", "progressText", "language", "overflow"})
# A gateway that runs holds this file.
_NOT_COPIED: Final = frozenset({"memoryState"})
_WELCOME: Final = {"zh": "您好，请提问。", "en": "Hello, ask me anything."}


class PlaygroundPorts(NamedTuple):
    """The ports of the gateway: its status server, and the bot with streamed answers and with single replies."""

    status: int
    stream: int
    reply: int


def gateway_document(
    configured: object, *, ports: PlaygroundPorts, token: str, encoding_aes_key: str, agent_url: str
) -> dict[str, object]:
    """Return a configuration with one bot at two addresses: one streams its answers, one sends single replies.

    Args:
        configured: the operator's configuration, None for none. Its agent answers, and its bot's texts are used.
        ports: where the gateway listens.
        token: the token of the bot.
        encoding_aes_key: the key of the bot.
        agent_url: the agent that answers if `configured` has none but the echo.
    """
    entry = {name: value for name, value in bot_entry(configured).items() if name in _COPIED}
    bot: dict[str, object] = {
        "mentionNames": [BOT_NAME],
        "welcomeText": _WELCOME,
        **entry,
        "type": _TYPE,
        "token": token,
        "encodingAESKey": encoding_aes_key,
        "host": "127.0.0.1",
        "allowPrivateNetwork": True,
        "feedback": True,
    }
    agent = configured_agent(configured) or {"type": "responses", "url": agent_url, "model": "playground"}
    return {
        "gateway": {"host": "127.0.0.1", "port": ports.status},
        "agent": agent,
        "channels": {
            STREAM_CHANNEL: {**bot, "port": ports.stream, "progress": "stream"},
            REPLY_CHANNEL: {**bot, "port": ports.reply, "progress": "off"},
        },
    }


def configured_agent(configured: object) -> dict[str, Any] | None:
    """Return the agent of a configuration, None if it has none or the echo, which does not stream."""
    match configured:
        case {"agent": dict() as agent} if agent.get("type", "echo") != "echo":
            return {name: value for name, value in agent.items() if name not in _NOT_COPIED}
    return None


def bot_name(configured: object) -> str:
    """Return the name that people mention in groups."""
    match bot_entry(configured).get("mentionNames"):
        case [str() as name, *_] if name.strip("@ "):
            return name.strip("@ ")
    return BOT_NAME


def bot_entry(configured: object) -> dict[str, Any]:
    """Return the first entry of a WeCom channel in a configuration, empty if there is none."""
    match configured:
        case {"channels": dict() as channels}:
            for name, entry in channels.items():
                if isinstance(entry, dict) and entry.get("type", name) == _TYPE and entry.get("enabled", True):
                    return entry
    return {}
