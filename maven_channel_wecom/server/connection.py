"""One connection: what comes is parsed, handed on and answered in order."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, cast

from maven_channel_wecom.server.bodies import SMALL_BODY_BYTES
from maven_channel_wecom.server.messages import CONTINUE, Request, error_answer
from maven_channel_wecom.server.parser import BODY_BYTES, RequestParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.errors import BodyRejection, HttpRejection
    from maven_channel_wecom.server.bodies import LargeBodies
    from maven_channel_wecom.server.connections import Connections
    from maven_channel_wecom.server.messages import Answer, Receiver, ResponseWriter
    from maven_channel_wecom.server.parser import ParsedRequest

SEGMENT_BYTES: Final = 64 * 1024
"""Read at once, and all that a connection may send ahead. A genuine callback has a few kilobytes."""

BODY_SECONDS: Final = 10.0
"""For a whole body, verified connections included. WeCom gives up after five."""

LINGER_SECONDS: Final = 1.0
"""A connection we close is read on for this long: closing it with unread data would destroy the answer (RFC 9112 9.6).
Lower: callers who are slow to send their body do not learn why it was refused."""

LINGER_BYTES: Final = 4 * 1024 * 1024
"""At most that much is read, and discarded, before a connection is closed."""

# What the receiver sees: the answer to HEAD is the answer to GET without its body (RFC 9110 9.3.2).
_METHODS: Final = {"GET": "GET", "HEAD": "GET", "POST": "POST"}


class Connection(asyncio.BufferedProtocol):
    """One connection of a server.

    Requests are handed on one at a time, the next when the one before is answered. While a request is being answered,
    one more segment is read and kept; then reading is paused.

    Args:
        receiver: takes the requests.
        path: the callback path.
        connections: keeps count of the connection.
        bodies: keeps count of its body.
        writer: writes answers.
        buffer: SEGMENT_BYTES for reading into, shared by all connections, as each takes its bytes out at once.
        body_seconds: see BODY_SECONDS.
        rejected: is told the reason and the status of a request that is answered here.

    Attributes:
        since: when it was made, or brought the last genuine callback, on the event loop's clock.
        verified: whether a genuine callback came over it.
    """

    def __init__(
        self,
        *,
        receiver: Receiver,
        path: bytes,
        connections: Connections,
        bodies: LargeBodies,
        writer: ResponseWriter,
        buffer: memoryview,
        body_seconds: float,
        rejected: Callable[[HttpRejection | BodyRejection, int], None],
    ) -> None:
        self.since = 0.0
        self.verified = False
        self._receiver = receiver
        self._path = path
        self._connections = connections
        self._bodies = bodies
        self._writer = writer
        self._buffer = buffer
        self._body_seconds = body_seconds
        self._rejected = rejected
        self._parser = RequestParser()
        self._transport: asyncio.Transport
        # The request that was accepted and whose body is being received.
        self._receiving: ParsedRequest | None = None
        # The request that is being answered, and the bytes that came meanwhile.
        self._answering: ParsedRequest | None = None
        self._early = b""
        # Whether reading is paused.
        self._paused = False
        # Whether the caller has stopped sending.
        self._ended = False
        # Whether no more requests are answered; what still comes is discarded.
        self._closing = False
        self._discarded_bytes = 0
        # Of the body, or of the lingering close.
        self._deadline = math.inf
        self._server_stops = False

    @property
    def answering(self) -> bool:
        """Whether a request is being answered."""
        return self._answering is not None

    @property
    def is_idle(self) -> bool:
        """Whether neither a body is being received nor a request answered."""
        return self._answering is None and self._receiving is None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Of TCP, whatever class the event loop gives it.
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the cause makes no difference
        # A request that was handed on stays with the receiver; its answer is discarded.
        if self._receiving is not None:
            self._rejected("aborted", 400)
        self._closing = True
        self._forget_requests()
        self._parser.close()
        self._connections.remove(self)

    def pause_writing(self) -> None:
        # A genuine caller reads its answers.
        self._connections.drop(self, "slow")

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the buffer has one size
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing:
            self._discarded_bytes += nbytes
            if self._discarded_bytes > LINGER_BYTES:
                self.abort()
        elif self._answering is not None:
            self._early += bytes(self._buffer[:nbytes])
            self._paused = True
            self._transport.pause_reading()
        else:
            self._parser.feed(bytes(self._buffer[:nbytes]))
            self._process_requests()

    def eof_received(self) -> bool:
        # A caller that only stopped sending still gets the answer to what it sent.
        self._ended = True
        return self._answering is not None

    # What the other parts of the server call.

    def reject(self, status: int, reason: HttpRejection | BodyRejection) -> None:
        """Answer the first request that came without asking the receiver; close unless it came in full."""
        request = self._parser.requests.popleft()
        self._forget_body()
        self._rejected(reason, status)
        self._send(request, error_answer(status))

    def check_deadline(self, now: float) -> None:
        """Reject a body that took too long, or end a lingering close."""
        if now < self._deadline:
            return
        if self._receiving is not None:
            self.reject(408, "slow")
        else:
            self.abort()

    def close_when_answered(self) -> None:
        """Close at once, or behind the answer if a request is being answered."""
        self._server_stops = True
        if self._answering is None:
            self._close()

    def abort(self) -> None:
        """Close at once, and say nothing."""
        self._closing = True
        self._forget_requests()
        self._transport.abort()

    # From requests to answers.

    def _process_requests(self) -> None:
        """Hand on or refuse the requests that came, until one is being answered or incomplete."""
        while self._answering is None and not self._closing and not self._transport.is_closing():
            if self._parser.requests:
                if not self._process_first(self._parser.requests[0]):
                    break
            elif self._early:
                early, self._early = self._early, b""
                self._parser.feed(early)
            else:
                break
        if self._answering is not None or self._transport.is_closing():
            return
        if self._ended:
            self._transport.close()
        elif self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _process_first(self, request: ParsedRequest) -> bool:
        """Refuse the first request or hand it on, and return True; False if its body has yet to come."""
        if request is not self._receiving and not self._accept(request):
            return True
        if request.body_rejection is not None:
            self.reject(*request.body_rejection)
        elif request.complete:
            self._forget_body()
            self._parser.requests.popleft()
            self._answering = request
            self._receiver.receive(Request(_METHODS[request.method], request.query, bytes(request.body), self._answer))
        else:
            self._wait_for_body(request)
            return False
        return True

    def _accept(self, request: ParsedRequest) -> bool:
        """Judge a request by its head; answer it and return False if it is refused."""
        if request.head_rejection is not None:
            self.reject(*request.head_rejection)
        elif request.path != self._path:
            self.reject(404, "path")
        elif request.method not in _METHODS:
            self.reject(405, "method")
        elif request.announced_bytes > BODY_BYTES:
            self.reject(413, "too_large")
        else:
            answer = self._receiver.check_head(_METHODS[request.method], request.query)
            if answer is None:
                self._receiving = request
                return True
            self._parser.requests.popleft()
            self._send(request, answer)
        return False

    def _wait_for_body(self, request: ParsedRequest) -> None:
        if request.expects_continue:
            request.expects_continue = False
            if not request.body:
                self._transport.write(CONTINUE)
        if self._deadline == math.inf:
            self._deadline = asyncio.get_running_loop().time() + self._body_seconds
        size = max(request.announced_bytes, len(request.body))
        if size > SMALL_BODY_BYTES:
            self._bodies.reserve(self, size)

    def _answer(self, answer: Answer) -> None:
        """Send the receiver's answer, and go on with what came meanwhile."""
        request, self._answering = self._answering, None
        if request is None or self._transport.is_closing():
            return
        if answer.verifies:
            self._connections.verify(self)
        self._send(request, answer)
        self._process_requests()

    def _send(self, request: ParsedRequest, answer: Answer) -> None:
        """Write an answer, and close if no other request can follow."""
        # Where the body of a request did not come in full, nobody knows where the next request begins.
        ends = not (request.complete and request.keep_alive) or self._server_stops
        ends |= self._ended and not self._parser.requests and not self._early
        connection = "close" if ends else "keep-alive" if request.is_http10 else ""
        response = self._writer.encode(answer, connection=connection, with_body=request.method != "HEAD")
        self._transport.write(response)
        if ends:
            self._close()

    def _close(self) -> None:
        """Close such that what was written arrives, even if the caller is still sending."""
        self._closing = True
        self._forget_requests()
        if self._transport.is_closing():
            return
        if self._ended or self._server_stops:
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:
            # The caller has reset the connection, and asyncio does not know yet.
            self._transport.abort()
            return
        self._deadline = asyncio.get_running_loop().time() + LINGER_SECONDS
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _forget_body(self) -> None:
        self._receiving = None
        self._deadline = math.inf
        self._bodies.release(self)

    def _forget_requests(self) -> None:
        self._forget_body()
        self._parser.requests.clear()
        self._early = b""
