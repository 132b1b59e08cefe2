"""Scripted faults of WeCom, for replies and media alike. Faults in a media file itself are in `media_faults`.

A fault replaces the regular answer. All but `ResetBeforeReading` let the request be judged first, so offences are
recorded under faults too.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Generic, Protocol, TypeVar

from aiohttp import web

from maven_channel_wecom.protocol import errcodes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# 90313: codes after which a retry on the same URL may succeed.
_TRANSIENT_CODES: Final = frozenset(
    {errcodes.SYSTEM_BUSY, errcodes.DATA_CONFLICT, errcodes.RATE_LIMIT, errcodes.CONCURRENCY_LIMIT}
)
_FIRST_SERVER_ERROR = 500
_MISSING_BYTES = 16


@dataclass(frozen=True)
class InterceptedRequest:
    """One request before it is answered.

    `inspect` reads and judges it. `accept` also carries it out, and returns the regular answer.
    """

    request: web.Request
    inspect: Callable[[], Awaitable[object]]
    accept: Callable[[], Awaitable[web.Response]]


class Fault(Protocol):
    """A fault of WeCom, played by calling it."""

    @property
    def repeatable(self) -> bool:
        """Whether a bot may send the same reply again after this fault."""
        ...

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        """Play the fault and return the answer."""
        ...


@dataclass(frozen=True)
class Errcode:
    """An answer with an errcode. The request is not carried out."""

    code: int

    @property
    def repeatable(self) -> bool:
        """Whether WeCom documents the code as temporary."""
        return self.code in _TRANSIENT_CODES

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        await intercepted.inspect()
        return web.json_response({"errcode": self.code, "errmsg": "scripted"})


@dataclass(frozen=True)
class Status:
    """An answer with an HTTP status. The request is not carried out."""

    status: int

    @property
    def repeatable(self) -> bool:
        """Whether the status is a server error."""
        return self.status >= _FIRST_SERVER_ERROR

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        await intercepted.inspect()
        return web.Response(status=self.status, text="scripted")


@dataclass(frozen=True)
class HtmlPage:
    """Status 200 with a web page, as from a proxy in between. The request is not carried out."""

    repeatable: ClassVar[bool] = False

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        await intercepted.inspect()
        return web.Response(text="<html><body>Please log in</body></html>", content_type="text/html")


@dataclass(frozen=True)
class ResetBeforeReading:
    """A connection that is reset after the head of the request arrived. The request is not carried out."""

    repeatable: ClassVar[bool] = False

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        return _reset(intercepted.request)


@dataclass(frozen=True)
class ResetAfterReading:
    """A connection that is reset without an answer after the request was carried out."""

    repeatable: ClassVar[bool] = False

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        await intercepted.accept()
        return _reset(intercepted.request)


@dataclass(frozen=True)
class Delay:
    """An answer held back until `release` is set; the request was carried out. `reached` is set before the wait."""

    release: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    repeatable: ClassVar[bool] = False

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        answer = await intercepted.accept()
        self.reached.set()
        await self.release.wait()
        return answer


@dataclass(frozen=True)
class CutBody:
    """An answer that ends before its Content-Length, after the request was carried out."""

    repeatable: ClassVar[bool] = False

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        answer = await _begin(intercepted)
        answer.force_close()
        return answer


@dataclass(frozen=True)
class Stall:
    """An answer that stops in the middle while the connection stays open, after the request was carried out."""

    repeatable: ClassVar[bool] = False

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        await _begin(intercepted)
        await asyncio.Event().wait()
        return _reset(intercepted.request)  # pragma: no cover  # only cancellation ends the wait


F = TypeVar("F")


class FaultScript(Generic[F]):
    """Queues of faults for coming requests. Those scripted for a message id take precedence over the general ones."""

    def __init__(self) -> None:
        self._next: deque[F | None] = deque()
        self._by_message: dict[str, deque[F | None]] = {}

    def add(self, *faults: F | None, message_id: str = "") -> None:
        """Add one fault for each coming request; None is a regular answer. An empty `message_id` means any message."""
        queue = self._by_message.setdefault(message_id, deque()) if message_id else self._next
        queue.extend(faults)

    def take(self, message_id: str) -> F | None:
        """Remove and return the fault for a request of this message, None for a regular answer."""
        own = self._by_message.get(message_id)
        if own:
            return own.popleft()
        return self._next.popleft() if self._next else None


async def _begin(intercepted: InterceptedRequest) -> web.StreamResponse:
    """Carry the request out, and send the head of the answer and the first half of its body."""
    regular = await intercepted.accept()
    body = regular.body if isinstance(regular.body, bytes) else b""
    answer = web.StreamResponse(status=regular.status, headers={"Content-Type": regular.content_type})
    answer.content_length = len(body) + _MISSING_BYTES
    await answer.prepare(intercepted.request)
    await answer.write(body[: len(body) // 2 + 1])
    return answer


def _reset(request: web.Request) -> web.StreamResponse:
    """Close the connection with RST instead of FIN. The returned response is never sent."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()
