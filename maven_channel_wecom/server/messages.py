"""The requests and answers that the server and its receiver exchange, and the encoding of an answer."""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable


class Request:
    """One whole request to the callback path.

    Attributes:
        method: `GET` or `POST`. HEAD is handed on as GET, and the body of its answer is left out.
        query: the raw bytes after `?`; empty if there are none.
        body: the whole body, at most BODY_BYTES.
    """

    __slots__ = ("_respond", "body", "method", "query")

    def __init__(self, method: str, query: bytes, body: bytes, respond: Callable[[Answer], bool]) -> None:
        self.method = method
        self.query = query
        self.body = body
        self._respond: Callable[[Answer], bool] | None = respond

    def answer(self, answer: Answer) -> bool:
        """Answer exactly once, at any time, from the event loop.

        Returns:
            Whether the answer was written. It was not if the client has left.

        Raises:
            RuntimeError: the request has already been answered.
        """
        respond, self._respond = self._respond, None
        if respond is None:
            message = "the request has already been answered"
            raise RuntimeError(message)
        return respond(answer)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer. `verifies` is True if the request proved that it comes from WeCom: its envelope opened."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    headers: dict[str, str] = {}
    verifies: bool = False


_RETRY_AFTER_SECONDS: Final = 5

# The body depends on the status alone, so that it reveals nothing about the cause.
_BODIES: Final = {
    400: b"bad request",
    401: b"unauthorized",
    404: b"not found",
    405: b"method not allowed",
    408: b"request timeout",
    413: b"payload too large",
    415: b"unsupported media type",
    417: b"expectation failed",
    431: b"request header fields too large",
    503: b"service unavailable",
}
_HEADERS: Final = {
    405: {"Allow": "GET, HEAD, POST"},
    # RFC 9110 15.5.16: a body without a content coding would be accepted.
    415: {"Accept-Encoding": "identity"},
    503: {"Retry-After": str(_RETRY_AFTER_SECONDS)},
}
_ERRORS: Final = {
    status: Answer(status=status, body=body, headers=_HEADERS.get(status, {})) for status, body in _BODIES.items()
}

RETRY_LATER: Final = msgspec.structs.replace(_ERRORS[503], verifies=True)
"""The answer to a genuine callback that cannot be admitted now."""


def error_answer(status: int) -> Answer:
    """Return the answer to a request that is not accepted: its status, and nothing about the cause."""
    return _ERRORS[status]


class Receiver(Protocol):
    """Handles the requests to the callback path. Its methods must not raise, whatever a client sends."""

    def check_head(self, method: str, query: bytes) -> Answer | None:
        """Check the head of a request, before its body is read.

        Returns:
            The answer that refuses the request, whose body is then not read; None to read the body.
        """
        ...

    def receive(self, request: Request) -> None:
        """Handle a whole request, and answer it now or later."""
        ...


SERVER: Final = "maven"

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class ResponseWriter:
    """Encodes answers as HTTP/1.1. Answers within one second share their Date header."""

    def __init__(self) -> None:
        self._second = 0
        self._server_and_date = b""

    def encode(self, answer: Answer, *, connection: str = "", with_body: bool = True) -> bytes:
        """Return the bytes of a whole response.

        Args:
            answer: the answer to encode.
            connection: the value of the Connection header; empty for no such header.
            with_body: False for the answer to HEAD, which has the Content-Length of the omitted body.
        """
        second = int(time.time())
        if second != self._second:
            self._second = second
            # RFC 9110 6.6.1. The doctor compares clocks by this header.
            self._server_and_date = f"Server: {SERVER}\r\nDate: {formatdate(second, usegmt=True)}\r\n".encode()
        extra_headers = "".join([f"{name}: {value}\r\n" for name, value in answer.headers.items()])
        if connection:
            extra_headers += f"Connection: {connection}\r\n"
        return b"%b%bContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n%b" % (
            _STATUS_LINES[answer.status],
            self._server_and_date,
            answer.content_type.encode(),
            len(answer.body),
            extra_headers.encode(),
            answer.body if with_body else b"",
        )
