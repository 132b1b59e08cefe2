"""Scripted misbehavior of WeCom's storage: what it serves instead of the encrypted file. Any `Fault` works here too."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from maven_channel_wecom.protocol import cipher
from maven_channel_wecom.simulator.faults import InterceptedRequest

_CHUNK_BYTES = 65_536


@dataclass(frozen=True)
class InterceptedDownload(InterceptedRequest):
    """One download in hand: `content` is the file itself, `key` the one it is encrypted with."""

    content: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"<InterceptedDownload of {len(self.content)} bytes>"


class MediaFault(Protocol):
    """Something that goes wrong with a download; calling it plays it."""

    async def __call__(self, intercepted: InterceptedDownload) -> web.StreamResponse:
        """Play it."""
        ...


@dataclass(frozen=True)
class Plain:
    """The file without encryption."""

    async def __call__(self, intercepted: InterceptedDownload) -> web.StreamResponse:
        """Serve the file as it is."""
        return web.Response(body=intercepted.content)


@dataclass(frozen=True)
class WrongKey:
    """The file encrypted with somebody else's key."""

    async def __call__(self, intercepted: InterceptedDownload) -> web.StreamResponse:
        """Serve what does not open."""
        stranger = bytes(byte ^ 0xFF for byte in intercepted.key)
        return web.Response(body=cipher.encrypt(stranger, intercepted.content))


@dataclass(frozen=True)
class Garbage:
    """Random bytes; choose a multiple of 32 to make them look like ciphertext."""

    size_bytes: int = 1_024

    async def __call__(self, intercepted: InterceptedDownload) -> web.StreamResponse:  # noqa: ARG002  # nothing of the file is served
        """Serve noise."""
        return web.Response(body=os.urandom(self.size_bytes))


@dataclass(frozen=True)
class WrongLength:
    """The ciphertext without its last byte: complete by its Content-Length, and no multiple of a block."""

    async def __call__(self, intercepted: InterceptedDownload) -> web.StreamResponse:
        """Serve all but a byte."""
        return web.Response(body=cipher.encrypt(intercepted.key, intercepted.content)[:-1])


@dataclass(frozen=True)
class Endless:
    """Bytes without end and without a Content-Length, until the bot hangs up."""

    async def __call__(self, intercepted: InterceptedDownload) -> web.StreamResponse:
        """Serve until nobody listens."""
        answer = web.StreamResponse()
        await answer.prepare(intercepted.request)
        try:
            while True:
                await answer.write(bytes(_CHUNK_BYTES))
        except ConnectionError:
            return answer


@dataclass(frozen=True)
class Expired:
    """The storage's refusal of a URL older than five minutes."""

    async def __call__(self, intercepted: InterceptedDownload) -> web.StreamResponse:  # noqa: ARG002  # nothing of the file is served
        """Refuse."""
        return expired()


def expired() -> web.Response:
    """Return what the storage says when the five minutes are over."""
    return web.Response(status=403, text="Request has expired", content_type="application/xml")
