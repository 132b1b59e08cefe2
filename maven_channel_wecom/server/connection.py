"""One connection: parses incoming requests, hands them to the receiver and answers them in order."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, cast

from maven_channel_wecom.server.messages import CONTINUE, Request, error_answer
from maven_channel_wecom.server.parser import BODY_BYTES, RequestParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.errors import BodyRejection, HttpRejection
    from maven_channel_wecom.server.connections import Connections
    from maven_channel_wecom.server.messages import Answer, Receiver, ResponseWriter
    from maven_channel_wecom.server.parser import ParsedRequest

SEGMENT_BYTES: Final = 64 * 1024
"""Maximum size of one read, and of the data kept from a client while its previous request is being answered. A genuine
callback has a few kilobytes."""

BODY_SECONDS: Final = 10.0
"""Maximum time to receive a whole body, on verified connections too. WeCom gives up after five seconds."""

LINGER_SECONDS: Final = 1.0
"""Maximum time to keep reading from a connection that the server closes: closing it with unread data would destroy the
answer (RFC 9112 9.6). Lower: clients that send their body slowly never see that they were rejected."""

LINGER_BYTES: Final = 4 * 1024 * 1024
"""Maximum number of bytes read and discarded from a connection that the server closes."""

# The method that the receiver sees. The answer to HEAD is the answer to GET without its body (RFC 9110 9.3.2).
_METHODS: Final = {"GET": "GET", "HEAD": "GET", "POST": "POST"}


class Connection(asyncio.BufferedProtocol):
    """One connection of a server.

    Requests are handed to the receiver one at a time, each after the previous one was answered. While a request is
    being answered, one more segment is read and kept; then reading is paused.

    Args:
        receiver: handles the requests.
        path: the callback path.
        connections: the connections of the server, to which this one adds itself, and their memory budget.
        writer: encodes answers.
        buffer: SEGMENT_BYTES to read into, shared by all connections, as each copies its bytes out immediately.
        body_seconds: maximum time to receive a whole body.
        rejected: called with the reason and the status of each request that is rejected without the receiver.

    Attributes:
        since: when the connection was made or last brought a genuine callback, on the event loop's clock.
        verified: whether a genuine callback has come over it.
    """

    def __init__(
        self,
        *,
        receiver: Receiver,
        path: bytes,
        connections: Connections,
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
        self._writer = writer
        self._buffer = buffer
        self._body_seconds = body_seconds
        self._rejected = rejected
        self._parser = RequestParser()
        self._transport: asyncio.Transport
        # The request that was accepted and whose body is being received.
        self._receiving: ParsedRequest | None = None
        # The request that is being answered, and the bytes that were read in the meantime.
        self._answering: ParsedRequest | None = None
        self._read_ahead = b""
        # Whether reading is paused.
        self._paused = False
        # Whether the client has stopped sending.
        self._eof = False
        # Whether no more requests are answered; anything that still arrives is discarded.
        self._closing = False
        self._discarded_bytes = 0
        # The deadline of the body, or of the lingering close.
        self._deadline = math.inf
        self._stopping = False

    @property
    def answering(self) -> bool:
        """Whether a request is being answered."""
        return self._answering is not None

    @property
    def is_idle(self) -> bool:
        """Whether neither a body is being received nor a request answered."""
        return self._answering is None and self._receiving is None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The callback port is TCP. The class depends on the event loop.
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the cause makes no difference
        # A request that the receiver already has stays there; its answer will be discarded.
        if self._receiving is not None:
            self._rejected("aborted", 400)
        self._closing = True
        self._discard_requests()
        self._parser.close()
        self._connections.remove(self)

    def pause_writing(self) -> None:
        # Unlike a genuine client, this one does not read its answers.
        self._connections.drop(self, "slow")

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the buffer has one size
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing:
            self._discarded_bytes += nbytes
            if self._discarded_bytes > LINGER_BYTES:
                self.abort()
        elif self._answering is not None:
            self._read_ahead += bytes(self._buffer[:nbytes])
            self._paused = True
            self._transport.pause_reading()
        else:
            self._parser.feed(bytes(self._buffer[:nbytes]))
            self._process_requests()

    def eof_received(self) -> bool:
        # A client that only stopped sending still gets the answers to its requests.
        self._eof = True
        return self._answering is not None

    # Called by the other parts of the server.

    def reject(self, status: int, reason: HttpRejection | BodyRejection) -> None:
        """Answer the oldest parsed request without the receiver. Closes the connection if the request is incomplete."""
        request = self._parser.requests.popleft()
        self._end_body()
        self._rejected(reason, status)
        self._send(request, error_answer(status))

    def check_deadline(self, now: float) -> None:
        """Reject a body that is past its deadline, or end a lingering close."""
        if now < self._deadline:
            return
        if self._receiving is not None:
            self.reject(408, "slow")
        else:
            self.abort()

    def close_when_answered(self) -> None:
        """Close now, or after the answer if a request is being answered."""
        self._stopping = True
        if self._answering is None:
            self._close()

    def abort(self) -> None:
        """Close now, without an answer."""
        self._closing = True
        self._discard_requests()
        self._transport.abort()

    # Requests and answers.

    def _process_requests(self) -> None:
        """Process the parsed requests in order until one is being answered or is incomplete."""
        while self._answering is None and not self._closing and not self._transport.is_closing():
            if self._parser.requests:
                if not self._process_first(self._parser.requests[0]):
                    break
            elif self._read_ahead:
                data, self._read_ahead = self._read_ahead, b""
                self._parser.feed(data)
            else:
                break
        if self._answering is not None or self._transport.is_closing():
            return
        if self._eof:
            self._transport.close()
        elif self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _process_first(self, request: ParsedRequest) -> bool:
        """Refuse the oldest request or hand it to the receiver. Return False if its body is still incomplete."""
        if request is not self._receiving and not self._accept(request):
            return True
        if request.body_rejection is not None:
            self.reject(*request.body_rejection)
        elif not self._connections.bodies.charge(self, len(request.body)):
            self.reject(503, "crowded")
        elif request.complete:
            self._parser.requests.popleft()
            self._answering = request
            self._end_body()
            self._receiver.receive(Request(_METHODS[request.method], request.query, bytes(request.body), self._answer))
        else:
            self._wait_for_body(request)
            return False
        return True

    def _accept(self, request: ParsedRequest) -> bool:
        """Check the head of a request. If it is refused, answer the request and return False."""
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

    def _answer(self, answer: Answer) -> bool:
        """Send the receiver's answer, and process what was read in the meantime. Return whether it was written."""
        request, self._answering = self._answering, None
        self._connections.bodies.release(self)
        if request is None or self._transport.is_closing():
            return False
        if answer.verifies:
            self._connections.verify(self)
        self._send(request, answer)
        self._process_requests()
        return True

    def _send(self, request: ParsedRequest, answer: Answer) -> None:
        """Write an answer, and close the connection if no other request can follow."""
        # After an incomplete body, the beginning of the next request is unknown.
        is_last = not (request.complete and request.keep_alive) or self._stopping
        is_last |= self._eof and not self._parser.requests and not self._read_ahead
        connection = "close" if is_last else "keep-alive" if request.is_http10 else ""
        response = self._writer.encode(answer, connection=connection, with_body=request.method != "HEAD")
        self._transport.write(response)
        if is_last:
            self._close()

    def _close(self) -> None:
        """Close so that the written answer still arrives, even if the client is still sending."""
        self._closing = True
        self._discard_requests()
        if self._transport.is_closing():
            return
        if self._eof or self._stopping:
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:
            # The client has reset the connection, which asyncio has not noticed yet.
            self._transport.abort()
            return
        self._deadline = asyncio.get_running_loop().time() + LINGER_SECONDS
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _end_body(self) -> None:
        self._receiving = None
        self._deadline = math.inf
        if self._answering is None:
            self._connections.bodies.release(self)

    def _discard_requests(self) -> None:
        self._end_body()
        self._parser.requests.clear()
        self._read_ahead = b""
