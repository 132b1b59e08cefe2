"""Configurations whose secrets are canaries, and a bot that answers a URL check wrongly on request."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from maven_channel_wecom.protocol import cipher, envelope
from maven_channel_wecom.server.messages import ResponseWriter, error_answer
from tests.fakes.sites import Asked, Site

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from pathlib import Path

TOKEN = "canarytoken4711"
KEY = "canaryKeyabcdefghijklmnopqrstuvwxyz01234567"
PASSWORD = "canary-password-4711"
CANARIES = (TOKEN, KEY, PASSWORD, "canary")
CREDENTIALS = envelope.Credentials(TOKEN, cipher.decode_key(KEY))


def entry(**settings: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """Return a valid entry of channels, with some settings replaced."""
    return {"token": TOKEN, "encodingAESKey": KEY, "host": "127.0.0.1", "port": 0} | settings


def write_config(folder: Path, document: object) -> Path:
    """Write a configuration file that only its owner may read."""
    path = folder / "config.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    path.chmod(0o600)
    return path


def bot_config(folder: Path, **settings: Any) -> Path:  # noqa: ANN401 - see entry
    """Write a configuration file with one bot."""
    return write_config(folder, {"gateway": {"port": 0}, "channels": {"wecom": entry(**settings)}})


def own_error(status: int) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    """Return a script that answers with an error as the channel does."""

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(ResponseWriter().encode(error_answer(status)))
        await writer.drain()

    return script


class FakeBot(Site):
    """Opens the URL check, passes the right text to `spoil` and answers with the result, split into `pieces` writes.

    A POST is answered by `post`, by default as the channel answers a wrong signature. `requests` has the URL checks,
    `posts` the other requests.
    """

    def __init__(
        self,
        spoil: Callable[[bytes], bytes] = bytes,
        *,
        status: str = "200 OK",
        headers: str = "",
        before: Callable[[], None] = lambda: None,
        pieces: int = 1,
        post: Callable[[asyncio.StreamWriter], Awaitable[None]] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(self._answer, tls)
        self._spoil = spoil
        self._head = f"HTTP/1.1 {status}\r\n{headers}"
        self._before = before
        self._pieces = pieces
        self._post = post or own_error(401)
        self.posts: list[Asked] = []

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        method, target, _ = self.requests[-1].line.split(" ")
        if method == "POST":
            self.posts.append(self.requests.pop())
            await self._post(writer)
            return
        query = dict(parse_qsl(urlsplit(target).query, strict_parsing=True))
        signed = envelope.read_query(query)
        body = self._spoil(envelope.open_envelope([CREDENTIALS], signed, envelope.read_echo(query)).message)
        self._before()
        writer.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode())
        size = -(-len(body) // self._pieces) or 1
        for start in range(0, len(body), size):
            writer.write(body[start : start + size])
            await writer.drain()
            # Lets the client read each piece before the next one arrives.
            await asyncio.sleep(0.02 if self._pieces > 1 else 0)
