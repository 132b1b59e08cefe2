"""Scripted faults of WeCom's media storage. Any `Fault` works for downloads too."""

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
    """One download before it is answered. `content` is the plain file, `key` the one that encrypts it."""

    content: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"<InterceptedDownload of {len(self.content)} bytes>"


class MediaFault(Protocol):
    """A fault of a download, played by calling it."""

    async def __call__(self, intercepted: InterceptedDownload) -> web.StreamResponse:
        """Play the fault and return the answer."""
        ...


@dataclass(frozen=True)
class Plain:
    """The file without encryption."""

    async def __call__(self, intercepted: InterceptedDownload) -> web.StreamResponse:
        return web.Response(body=intercepted.content)


@dataclass(frozen=True)
class WrongKey:
    """The file encrypted with another key."""

    async def __call__(self, intercepted: InterceptedDownload) -> web.StreamResponse:
        mask = 0xFF
        content = cipher.encrypt(bytes(byte ^ mask for byte in intercepted.key), intercepted.content)
        # By chance one of 255 wrong keys yields valid padding.
        while _opens(intercepted.key, content):
            mask -= 1
            content = cipher.encrypt(bytes(byte ^ mask for byte in intercepted.key), intercepted.content)
        return web.Response(body=content)


@dataclass(frozen=True)
class Garbage:
    """Random bytes that the bot's key does not open. With a size that is a multiple of 32 they look like ciphertext."""

    size_bytes: int = 1_024

    async def __call__(self, intercepted: InterceptedDownload) -> web.StreamResponse:
        content = os.urandom(self.size_bytes)
        # By chance one of 255 random texts ends in valid padding.
        while _opens(intercepted.key, content):
            content = os.urandom(self.size_bytes)
        return web.Response(body=content)


@dataclass(frozen=True)
class WrongLength:
    """The ciphertext without its last byte: its Content-Length is right, but it is not a multiple of the block size."""

    async def __call__(self, intercepted: InterceptedDownload) -> web.StreamResponse:
        return web.Response(body=cipher.encrypt(intercepted.key, intercepted.content)[:-1])


@dataclass(frozen=True)
class Endless:
    """Bytes without end and without a Content-Length, until the bot closes the connection."""

    async def __call__(self, intercepted: InterceptedDownload) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(intercepted.request)
        try:
            while True:
                await answer.write(bytes(_CHUNK_BYTES))
        except ConnectionError:
            return answer


@dataclass(frozen=True)
class Expired:
    """The refusal of a URL that is older than five minutes."""

    async def __call__(self, intercepted: InterceptedDownload) -> web.StreamResponse:  # noqa: ARG002  # the answer does not depend on the file
        return expired()


def expired() -> web.Response:
    """Return the answer of the storage to an expired URL."""
    return web.Response(status=403, text="Request has expired", content_type="application/xml")


def _opens(key: bytes, content: bytes) -> bool:
    try:
        cipher.decrypt(key, content)
    except ValueError:
        return False
    return True
