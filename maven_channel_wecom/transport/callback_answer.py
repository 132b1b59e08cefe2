"""The answer to a callback as a value, and as bytes on the wire."""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import msgspec

# Looked up in the enumeration for each answer it costs 0.2 µs.
_OK: Final = HTTPStatus.OK.value

SERVER: Final = "maven"
"""Without a Server header of ours aiohttp tells its own version and that of Python."""


class CallbackAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    headers: dict[str, str] = {}
    genuine: bool = False
    """Whether it was WeCom's callback all the same that is not taken: whoever brought it is no stranger."""

    @property
    def trusts(self) -> bool:
        """Whether the connection it goes to has shown that it is WeCom's."""
        return self.genuine or self.status == _OK


_RETRY_AFTER_SECONDS: Final = 5

# A caller learns nothing from a body: every cause with the same status gets the same one.
_DULL_BODIES: Final = {
    400: b"bad request",
    401: b"unauthorized",
    404: b"not found",
    405: b"method not allowed",
    408: b"request timeout",
    413: b"payload too large",
    503: b"service unavailable",
}
_DULL_HEADERS: Final = {
    405: {"Allow": "GET, POST"},
    503: {"Retry-After": str(_RETRY_AFTER_SECONDS)},
}
_DULL: Final = {
    status: CallbackAnswer(status=status, body=body, headers=_DULL_HEADERS.get(status, {}))
    for status, body in _DULL_BODIES.items()
}


UNTAKEN: Final = msgspec.structs.replace(_DULL[503], genuine=True)
"""The answer to a callback of WeCom that cannot be taken now."""


def dull_answer(status: int) -> CallbackAnswer:
    """Return the answer to whatever is not taken: its status and nothing about why."""
    return _DULL.get(status) or CallbackAnswer(status=status, body=_DULL_BODIES[400])


_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class Wire:
    """Writes answers as HTTP/1.1; the date, which all answers of a second share, is made once."""

    def __init__(self) -> None:
        self._second = 0
        self._dated = b""

    def bytes_of(self, answer: CallbackAnswer) -> bytes:
        """Return a whole response: status line, headers, body."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            # RFC 9110 6.6.1; the doctor compares clocks by it.
            self._dated = f"Server: {SERVER}\r\nDate: {formatdate(second, usegmt=True)}\r\n".encode()
        further = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items()) if answer.headers else ""
        return b"%b%bContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n%b" % (
            _STATUS_LINES[answer.status],
            self._dated,
            answer.content_type.encode(),
            len(answer.body),
            further.encode(),
            answer.body,
        )
