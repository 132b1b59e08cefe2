"""What the operator answers about a new bot, and the configuration that follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from yarl import URL

from maven_channel_wecom.config import KEYS
from maven_channel_wecom.host.agents.agent_url import API_PATHS, api_of
from maven_channel_wecom.host.configuration import STATUS_PORT
from maven_channel_wecom.host.gateway import configuration_problems

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN: Final = "WECOM_TOKEN"  # noqa: S105 - the name of a variable
KEY: Final = "WECOM_ENCODING_AES_KEY"
AGENT_KEY: Final = "AGENT_API_KEY"
AGENT_URL: Final = "AGENT_URL"
"""Environment variables that hold the secrets of the configuration."""

PORT: Final = int(next(key.default for key in KEYS if key.name == "port"))
"""The default port for callbacks."""

_CHANNEL: Final = "wecom"
_PATH: Final = "/wecom/bot"
_STATE: Final = "sqlite:wecom.db"
_UNKNOWN_API: Final = (
    f"the agent's URL must end with {' or '.join(API_PATHS.values())}, which tells its API; write another one into "
    "wecom.json later, with its agent.type"
)


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """The answers about one bot. An empty string is no answer.

    Args:
        url: the address at which WeCom will call the bot.
        name: the bot's name, which people mention in groups.
        agent_url: the URL of the agent's Responses or Chat Completions API; without one, the bot repeats each message.
        model: the agent's model, required with `agent_url`.
        progress: the value of the key `progress`.
        port: the port for callbacks.
        status_port: the value of the key `gateway.port`.
        token: the bot's token.
        encoding_aes_key: the bot's key.
        agent_key: the key of the agent's API.
    """

    url: str = ""
    name: str = ""
    agent_url: str = ""
    model: str = ""
    progress: str = ""
    port: int = PORT
    status_port: int = STATUS_PORT
    token: str
    encoding_aes_key: str
    agent_key: str = ""

    def __repr__(self) -> str:
        return "<Answers>"

    @property
    def callback_url(self) -> str:
        """The URL to enter in the console, with the default path if it has none; empty without an answer."""
        return str(URL(self.url) / _PATH[1:]) if self.url and self._path() == "/" else self.url

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets, by the names of their environment variables."""
        found = {TOKEN: self.token, KEY: self.encoding_aes_key, AGENT_KEY: self.agent_key}
        if self._hides_agent_url():
            found[AGENT_URL] = self.agent_url
        return {name: value for name, value in found.items() if value}

    def document(self) -> dict[str, Any]:
        """Return the configuration, with references to the environment in place of the secrets."""
        return self._document(lambda name: {"env": name})

    def problems(self) -> list[str]:
        """Return one sentence for each wrong answer."""
        unreadable = [name for name, value in self._texts().items() if not _is_encodable(value)]
        if unreadable:
            return [f"{each} must be UTF-8 text: check the terminal's encoding, LANG and LC_ALL" for each in unreadable]
        if not _is_public(self.url):
            return ["the URL must be like https://bot.example.com/wecom/bot"]
        if problems := configuration_problems(self._document(lambda name: self.secrets[name])):
            return problems
        return [_UNKNOWN_API] if self.agent_url and not api_of(self.agent_url) else []

    def _hides_agent_url(self) -> bool:
        """Return whether the agent's URL has a query, which may contain a key."""
        return "?" in self.agent_url

    def _texts(self) -> dict[str, str]:
        """Return what the operator typed, by its name in sentences."""
        return {
            "the URL": self.url,
            "the name": self.name,
            "the agent's URL": self.agent_url,
            "the model": self.model,
            AGENT_KEY: self.agent_key,
        }

    def _document(self, secret: Callable[[str], object]) -> dict[str, Any]:
        entry: dict[str, object] = {"token": secret(TOKEN), "encodingAESKey": secret(KEY)}
        if self.port != PORT:
            entry["port"] = self.port
        if self._path() not in {"/", _PATH}:
            entry["path"] = self._path()
        if self.name:
            entry["mentionNames"] = [self.name]
        if self.progress:
            entry["progress"] = self.progress
        entry["state"] = _STATE
        document: dict[str, Any] = {"channels": {_CHANNEL: entry}}
        if self.agent_url or self.model:
            url = secret(AGENT_URL) if self._hides_agent_url() else self.agent_url
            given = {"type": api_of(self.agent_url) or "responses", "url": url, "model": self.model}
            agent: dict[str, object] = {key: value for key, value in given.items() if value}
            if self.agent_key:
                agent["apiKey"] = secret(AGENT_KEY)
            document = {"agent": agent} | document
        if self.status_port != STATUS_PORT:
            document = {"gateway": {"port": self.status_port}} | document
        return document

    def _path(self) -> str:
        return URL(self.url).path or "/" if self.url else "/"


def _is_encodable(text: str) -> bool:
    """Return whether a text has no bytes that Python could not decode, which it keeps as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_public(text: str) -> bool:
    """Return whether a text is empty or an http or https URL that WeCom could call."""
    if not text:
        return True
    try:
        url = URL(text)
        usable = url.scheme in {"http", "https"} and bool(url.raw_host) and url.explicit_port != 0
    except (ValueError, IndexError):  # yarl raises IndexError on `[::1]@`
        return False
    plain = "@" not in url.raw_authority and not url.raw_query_string and not url.raw_fragment
    return usable and plain and text.isprintable() and " " not in text
