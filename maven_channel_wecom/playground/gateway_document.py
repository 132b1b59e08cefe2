"""The configurations of the gateways that the playground and the chat start."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from maven_channel_wecom.config import TYPE, is_wecom

BOT_NAME: Final = "Maven"

STREAM_CHANNEL: Final = "wecom"
REPLY_CHANNEL: Final = "reply"

# What decides how a bot answers. Its secrets, addresses, state and allow-lists belong to the real bot.
_COPIED: Final = frozenset({"mentionNames", "welcomeText", "progressText", "language", "overflow"})
# A gateway that runs holds this file.
_NOT_COPIED: Final = frozenset({"memoryState"})
# What connects a bot to WeCom and its state. A chat on this machine has its own.
_CONNECTION: Final = frozenset(
    {
        *("type", "enabled", "token", "encodingAESKey", "previousToken", "previousEncodingAESKey"),
        *("receiveId", "botIds", "host", "port", "path", "proxy", "allowPrivateNetwork", "state", "maxSkewSeconds"),
    }
)
_WELCOME: Final = {"zh": "您好，请提问。", "en": "Hello, ask me anything."}
_UNCONFIGURED: Final = {
    "mentionNames": [BOT_NAME],
    "welcomeText": _WELCOME,
    "progress": "stream",
    "feedback": True,
}


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
        "type": TYPE,
        "token": token,
        "encodingAESKey": encoding_aes_key,
        "host": "127.0.0.1",
        "allowPrivateNetwork": True,
        "feedback": True,
    }
    agent = configured_agent(configured) or _demo_agent(agent_url)
    return {
        "gateway": {"host": "127.0.0.1", "port": ports.status},
        "agent": agent,
        "channels": {
            STREAM_CHANNEL: {**bot, "port": ports.stream, "progress": "stream"},
            REPLY_CHANNEL: {**bot, "port": ports.reply, "progress": "off"},
        },
    }


def chat_document(
    configured: object, *, status_port: int, callback_port: int, token: str, encoding_aes_key: str, agent_url: str
) -> dict[str, object]:
    """Return a configuration with one bot, which behaves as the configured one does.

    Args:
        configured: the operator's configuration, None for none. Its agent answers, which may be the echo, and its bot's
            texts and rules hold.
        status_port: the port of the status server.
        callback_port: the port of the bot.
        token: the token of the bot.
        encoding_aes_key: the key of the bot.
        agent_url: the agent that answers if nothing is configured.
    """
    agent = _demo_agent(agent_url) if configured is None else _configured_section(configured)
    entry = bot_entry(configured)
    bot = _UNCONFIGURED if configured is None else {key: entry[key] for key in entry if key not in _CONNECTION}
    connection = {
        "token": token,
        "encodingAESKey": encoding_aes_key,
        "host": "127.0.0.1",
        "port": callback_port,
        "allowPrivateNetwork": True,
    }
    return {
        "gateway": {"host": "127.0.0.1", "port": status_port},
        "agent": agent,
        "channels": {STREAM_CHANNEL: {**bot, **connection}},
    }


def configured_agent(configured: object) -> dict[str, Any] | None:
    """Return the agent of a configuration, None if it has none or the echo, which does not stream."""
    agent = _configured_section(configured)
    return agent if str(agent.get("type", "echo")).lower() != "echo" else None


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
            return next((entry for name, entry in channels.items() if is_bot(name, entry)), {})
    return {}


def is_bot(name: str, entry: object) -> bool:
    """Return whether an entry of `channels` is an enabled bot in WeCom."""
    return isinstance(entry, dict) and is_wecom(name, entry) and bool(entry.get("enabled", True))


def _demo_agent(url: str) -> dict[str, Any]:
    return {"type": "responses", "url": url, "model": "playground"}


def _configured_section(configured: object) -> dict[str, Any]:
    match configured:
        case {"agent": dict() as agent}:
            return {name: value for name, value in agent.items() if name not in _NOT_COPIED}
    return {}
