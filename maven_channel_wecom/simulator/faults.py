"""Scripted misbehavior of WeCom's side, for replies and media alike. What spoils the file itself is in `media_faults`.

A fault is played instead of the honest answer. All but one let the request be judged first, so offences are found
under faults too.
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

# 90313: worth another try on the same URL.
_TRANSIENT_CODES: Final = frozenset(
    {errcodes.SYSTEM_BUSY, errcodes.DATA_CONFLICT, errcodes.RATE_LIMIT, errcodes.CONCURRENCY_LIMIT}
)
_FIRST_SERVER_ERROR = 500
_MISSING_BYTES = 16


@dataclass(frozen=True)
class InterceptedRequest:
    """One request before it is answered.

    `inspect` reads and judges it; `accept` carries it out too and returns the honest answer.
    """

    request: web.Request
    inspect: Callable[[], Awaitable[object]]
    accept: Callable[[], Awaitable[web.Response]]


class Fault(Protocol):
    """Something that goes wrong; calling it plays it."""

    @property
    def repeatable(self) -> bool:
        """Whether a bot may send the same reply again after it."""
        ...

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        """Play it."""
        ...


@dataclass(frozen=True)
class Errcode:
    """WeCom's own refusal; not carried out."""

    code: int

    @property
    def repeatable(self) -> bool:
        """Whether WeCom itself may succeed on the next try."""
        return self.code in _TRANSIENT_CODES

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        """Answer with the code."""
        await intercepted.inspect()
        return web.json_response({"errcode": self.code, "errmsg": "scripted"})


@dataclass(frozen=True)
class Status:
    """An HTTP status and a few words; not carried out."""

    status: int

    @property
    def repeatable(self) -> bool:
        """Whether it is a server error."""
        return self.status >= _FIRST_SERVER_ERROR

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        """Answer with the status."""
        await intercepted.inspect()
        return web.Response(status=self.status, text="scripted")


@dataclass(frozen=True)
class HtmlPage:
    """Status 200 and the page of some proxy on the way; not carried out."""

    repeatable: ClassVar[bool] = False

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        """Answer with the page."""
        await intercepted.inspect()
        return web.Response(text="<html><body>Please log in</body></html>", content_type="text/html")


@dataclass(frozen=True)
class ResetBeforeReading:
    """The connection is reset once the head of the request is there; not carried out."""

    repeatable: ClassVar[bool] = False

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        """Hang up."""
        return _reset(intercepted.request)


@dataclass(frozen=True)
class ResetAfterReading:
    """The request is carried out, then the connection is reset without an answer."""

    repeatable: ClassVar[bool] = False

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        """Carry out, hang up."""
        await intercepted.accept()
        return _reset(intercepted.request)


@dataclass(frozen=True)
class Delay:
    """The request is carried out, `reached` is set, and the answer is held back until a test sets `release`."""

    release: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    repeatable: ClassVar[bool] = False

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        """Carry out, wait, answer."""
        answer = await intercepted.accept()
        self.reached.set()
        await self.release.wait()
        return answer


@dataclass(frozen=True)
class CutBody:
    """The request is carried out, and the connection ends before the announced end of the answer's body."""

    repeatable: ClassVar[bool] = False

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        """Carry out, answer in part, hang up."""
        answer = await _begin(intercepted)
        answer.force_close()
        return answer


@dataclass(frozen=True)
class Stall:
    """The request is carried out, and the answer stops in the middle, with the connection open."""

    repeatable: ClassVar[bool] = False

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        """Carry out, answer in part, hold on."""
        await _begin(intercepted)
        await asyncio.Event().wait()
        return _reset(intercepted.request)  # pragma: no cover  # the wait ends by cancellation only


F = TypeVar("F")


class FaultScript(Generic[F]):
    """Faults waiting for their intercepted: those of one message before those for whatever comes next."""

    def __init__(self) -> None:
        self._next: deque[F | None] = deque()
        self._by_message: dict[str, deque[F | None]] = {}

    def add(self, *faults: F | None, message_id: str = "") -> None:
        """Add one fault for each coming request; None is an honest answer. `message_id` empty: of any message."""
        queue = self._by_message.setdefault(message_id, deque()) if message_id else self._next
        queue.extend(faults)

    def take(self, message_id: str) -> F | None:
        """Return the fault to play now, None for an honest answer."""
        own = self._by_message.get(message_id)
        if own:
            return own.popleft()
        return self._next.popleft() if self._next else None


async def _begin(intercepted: InterceptedRequest) -> web.StreamResponse:
    """Carry the request out, and send the head of the answer and the first half of its body."""
    honest = await intercepted.accept()
    body = honest.body if isinstance(honest.body, bytes) else b""
    answer = web.StreamResponse(status=honest.status, headers={"Content-Type": honest.content_type})
    answer.content_length = len(body) + _MISSING_BYTES
    await answer.prepare(intercepted.request)
    await answer.write(body[: len(body) // 2 + 1])
    return answer


def _reset(request: web.Request) -> web.StreamResponse:
    """Close the connection with RST instead of FIN; the response returned goes nowhere."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()
