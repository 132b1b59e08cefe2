"""What a doctor is shown in these tests: configurations full of canaries, and bots that answer a URL check wrongly."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from maven_channel_wecom.protocol import cipher, envelope
from tests.fakes.sites import Site

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

TOKEN = "canarytoken4711"
KEY = "canaryKeyabcdefghijklmnopqrstuvwxyz01234567"
PASSWORD = "canary-password-4711"
CANARIES = (TOKEN, KEY, PASSWORD, "canary")
CREDENTIALS = envelope.Credentials(TOKEN, cipher.decode_key(KEY))


def entry(**settings: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a configuration may hold
    """Return a good entry of channels, and what differs from it."""
    return {"token": TOKEN, "encodingAESKey": KEY, "host": "127.0.0.1", "port": 0} | settings


def written(folder: Path, document: object) -> Path:
    """Write a configuration that its owner alone may read."""
    path = folder / "config.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    path.chmod(0o600)
    return path


def with_bot(folder: Path, **settings: Any) -> Path:  # noqa: ANN401 - see entry
    """Write a configuration with one bot."""
    return written(folder, {"gateway": {"port": 0}, "channels": {"wecom": entry(**settings)}})


class FakeBot(Site):
    """Opens the check, and answers it with what `spoil` makes of the right text, in so many pieces."""

    def __init__(
        self,
        spoil: Callable[[bytes], bytes] = bytes,
        *,
        status: str = "200 OK",
        headers: str = "",
        before: Callable[[], None] = lambda: None,
        pieces: int = 1,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(self._answer, tls)
        self._spoil = spoil
        self._head = f"HTTP/1.1 {status}\r\n{headers}"
        self._before = before
        self._pieces = pieces

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        target = self.requests[-1].line.split(" ")[1]
        query = dict(parse_qsl(urlsplit(target).query, strict_parsing=True))
        signed = envelope.read_query(query)
        body = self._spoil(envelope.open_envelope([CREDENTIALS], signed, envelope.read_echo(query)).message)
        self._before()
        writer.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode())
        size = -(-len(body) // self._pieces) or 1
        for start in range(0, len(body), size):
            writer.write(body[start : start + size])
            await writer.drain()
            # So that whoever reads one piece only has no other yet.
            await asyncio.sleep(0.02 if self._pieces > 1 else 0)
