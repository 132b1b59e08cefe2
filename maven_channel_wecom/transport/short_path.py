"""The short path: an ordinary callback is answered inside its connection's protocol, without a request object or task.

Ordinary is a POST to the one path, whole in one segment, with a length, a body that is neither coded nor chunked, and
no header that asks for anything. Everything else, from its first byte on, is aiohttp's, which gets the connection for
good and never knows that somebody looked before. Two thirds of the time a callback takes would be aiohttp's otherwise.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from maven_channel_wecom.transport.callback_answer import CallbackAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maven_channel_wecom.transport.callback_answer import Wire
    from maven_channel_wecom.transport.connections import Connections

HEAD_BYTES: Final = 8 * 1024
"""Of an ordinary request. Longer ones are judged by aiohttp."""

# RFC 9110 5.1 and 5.5: a name is a token, a value is visible characters, spaces and tabs. A header named here asks for
# something, or says where the body ends in another way than its length. More headers than these are aiohttp's to judge.
_HEADERS: Final = (
    rb"((?:(?!connection|content-encoding|expect|transfer-encoding|upgrade|te:|trailer)"
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n|connection:[ \t]*keep-alive[ \t]*\r\n){2,64})\r\n"
)
_HEADER: Final = re.compile(rb"([^:]+):[ \t]*([^\r]*)\r\n")


class ShortPath:
    """Recognizes the ordinary callbacks to one path."""

    def __init__(self, path: str) -> None:
        line = rb"POST " + re.escape(path.encode()) + rb"\?([!-\"$-~]+) HTTP/1\.1\r\n"
        self._head = re.compile(line + b"(?i:" + _HEADERS + b")")

    def read(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Return the raw query and the body of a segment that is one ordinary callback, None for everything else."""
        head = self._head.match(data, 0, HEAD_BYTES)
        if head is None:
            return None
        headers = _HEADER.findall(head[2].lower())
        values = dict(headers)
        # RFC 9112 3.2 and 6.3 ask for these two. Of some others there may be two, but not of all: aiohttp knows.
        length = values.get(b"content-length", b"").rstrip(b" \t")
        if b"host" not in values or len(values) != len(headers) or length != b"%d" % (len(data) - head.end()):
            return None
        return head[1], data[head.end() :]


class Connection(asyncio.Protocol):
    """One connection until it brings something that is not ordinary.

    Args:
        connections: keeps count of it.
        read: tells an ordinary callback from the rest.
        receive: takes the raw query and body of one; returns its answer, an awaitable of it when that takes waiting, or
            None when it is not that ordinary after all.
        hand_over: takes the connection, with the bytes that came, for good.
        wire: writes answers.
    """

    def __init__(
        self,
        connections: Connections,
        read: Callable[[bytes], tuple[bytes, bytes] | None],
        receive: Callable[[bytes, bytes], CallbackAnswer | Awaitable[CallbackAnswer] | None],
        hand_over: Callable[[Connection, bytes], None],
        wire: Wire,
    ) -> None:
        self._connections = connections
        self._read = read
        self._receive = receive
        self._hand_over = hand_over
        self._wire = wire
        self._answering: asyncio.Task[None] | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See Protocol."""
        # Of TCP, whatever class the event loop gives it.
        self.transport = cast("asyncio.Transport", transport)
        self.peer = self._connections.add(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why does not matter
        """See Protocol. A callback being admitted is admitted all the same."""
        self._connections.remove(self.peer)

    def pause_writing(self) -> None:
        """See Protocol. Whoever leaves a hundred answers unread is no genuine caller."""
        self._connections.drop(self.peer, "slow")

    def data_received(self, data: bytes) -> None:
        """See Protocol."""
        if self._answering is not None:
            # Somebody does not wait for answers. What comes next is read when this one is answered.
            self._early += data
            self.transport.pause_reading()
            return
        request = self._read(data)
        answer = self._receive(*request) if request else None
        if answer is None:
            self._hand_over(self, data)
        elif isinstance(answer, CallbackAnswer):
            self._write(answer)
        else:
            self._answering = asyncio.get_running_loop().create_task(self._answer_later(answer))

    async def _answer_later(self, answer: Awaitable[CallbackAnswer]) -> None:
        self._write(await answer)
        self._answering = None
        if early := self._early:
            self._early = b""
            self.transport.resume_reading()
            self.data_received(early)

    def _write(self, answer: CallbackAnswer) -> None:
        if answer.status == HTTPStatus.OK:
            self._connections.trust(self.peer)
        self.transport.write(self._wire.bytes_of(answer))
