"""Requests and answers: what the server and its receiver exchange, and an answer as bytes."""

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
        method: `GET` or `POST`. HEAD is handed on as GET, and the body of its answer left out.
        query: what stood behind `?`, raw; empty without.
        body: the whole body, at most BODY_BYTES.
    """

    __slots__ = ("_respond", "body", "method", "query")

    def __init__(self, method: str, query: bytes, body: bytes, respond: Callable[[Answer], None]) -> None:
        self.method = method
        self.query = query
        self.body = body
        self._respond: Callable[[Answer], None] | None = respond

    def answer(self, answer: Answer) -> None:
        """Answer, exactly once, at any time, from the event loop. The caller may have left.

        Raises:
            RuntimeError: the request was answered before.
        """
        respond, self._respond = self._respond, None
        if respond is None:
            message = "a request is answered once"
            raise RuntimeError(message)
        respond(answer)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer. `verifies` is True when the request showed that it comes from WeCom: its envelope opened."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    headers: dict[str, str] = {}
    verifies: bool = False


_RETRY_AFTER_SECONDS: Final = 5

# A caller learns nothing from a body: every cause with the same status gets the same one.
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
    # RFC 9110 15.5.16: says that a body without a coding would be taken.
    415: {"Accept-Encoding": "identity"},
    503: {"Retry-After": str(_RETRY_AFTER_SECONDS)},
}
_ERRORS: Final = {
    status: Answer(status=status, body=body, headers=_HEADERS.get(status, {})) for status, body in _BODIES.items()
}

RETRY_LATER: Final = msgspec.structs.replace(_ERRORS[503], verifies=True)
"""The answer to a callback of WeCom that cannot be admitted now."""


def error_answer(status: int) -> Answer:
    """Return the answer to whatever is not accepted: its status and nothing about why."""
    return _ERRORS[status]


class Receiver(Protocol):
    """Answers the requests to the callback path. What a caller sends makes no method raise."""

    def check_head(self, method: str, query: bytes) -> Answer | None:
        """Judge a request by its head, before its body is asked for.

        Returns:
            The answer that refuses the request, whose body is not read; None if the body is wanted.
        """
        ...

    def receive(self, request: Request) -> None:
        """Take a whole request, and have it answered now or later."""
        ...


SERVER: Final = "maven"

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class ResponseWriter:
    """Writes answers as HTTP/1.1; answers of one second share their Date."""

    def __init__(self) -> None:
        self._second = 0
        self._server_and_date = b""

    def encode(self, answer: Answer, *, connection: str = "", with_body: bool = True) -> bytes:
        """Return a whole response.

        Args:
            answer: what is said.
            connection: the value of a Connection header; none is written without.
            with_body: False for the answer to HEAD, which has the Content-Length of the body that is left out.
        """
        second = int(time.time())
        if second != self._second:
            self._second = second
            # RFC 9110 6.6.1; the doctor compares clocks by it.
            self._server_and_date = f"Server: {SERVER}\r\nDate: {formatdate(second, usegmt=True)}\r\n".encode()
        further = "".join([f"{name}: {value}\r\n" for name, value in answer.headers.items()])
        if connection:
            further += f"Connection: {connection}\r\n"
        return b"%b%bContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n%b" % (
            _STATUS_LINES[answer.status],
            self._server_and_date,
            answer.content_type.encode(),
            len(answer.body),
            further.encode(),
            answer.body if with_body else b"",
        )
