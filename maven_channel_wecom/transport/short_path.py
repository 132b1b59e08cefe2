"""The short path: an ordinary callback is answered inside its connection's protocol, without a request object or task.

Ordinary is a POST to the one path, whole in one segment, with a length, a body that is neither coded nor chunked, and
no header that asks for anything. Everything else, from its first byte on, is aiohttp's, which gets the connection for
good and never knows that somebody looked before. Two thirds of the time a callback takes would be aiohttp's otherwise.
"""

from __future__ import annotations

import re
from typing import Final

HEAD_BYTES: Final = 8 * 1024
"""Of headers that are ordinary. Longer ones are judged by aiohttp."""

_LINE_END: Final = b" HTTP/1.1"

# RFC 9110 5.1 and 5.5: a name is a token, a value is visible characters, spaces and tabs. A header named here asks for
# something, or says where the body ends in another way than its length. More headers than these are aiohttp's to judge.
_HEADERS: Final = re.compile(
    rb"(?:(?!connection|content-encoding|expect|transfer-encoding|upgrade|te:|trailer)"
    rb"[!#$%&'*+.^_`|~0-9A-Z-]+:[\t\x20-\x7e\x80-\xff]*\r\n|connection:[ \t]*keep-alive[ \t]*\r\n){2,64}",
    re.IGNORECASE,
)
_HEADER: Final = re.compile(rb"([^:]+):[ \t]*([^\r]*)\r\n")
_LENGTH: Final = re.compile(rb"(0|[1-9][0-9]{0,6})[ \t]*")

# Callers send the same headers again and again, but for the length, and that has few values: so a judgment is kept.
_KEPT_JUDGMENTS: Final = 256


class ShortPath:
    """Recognizes the ordinary callbacks to one path."""

    def __init__(self, path: str) -> None:
        self._line_start = b"POST " + path.encode() + b"?"
        self._lengths: dict[bytes, int] = {}

    def read(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Return the query and the body of a segment that is one ordinary callback, None for everything else.

        The query is whatever bytes stood there: whoever takes it must know it as ordinary, too.
        """
        if not data.startswith(self._line_start):
            return None
        head, end, body = data.partition(b"\r\n\r\n")
        line, _, headers = head.partition(b"\r\n")
        if not end or len(body) != (self._lengths.get(headers) or self._judge(headers)) or not line.endswith(_LINE_END):
            return None
        return line[len(self._line_start) : -len(_LINE_END)], body

    def _judge(self, headers: bytes) -> int:
        """Return the length of the body behind ordinary headers, -1 behind others."""
        lines = headers + b"\r\n"
        if len(lines) > HEAD_BYTES or not _HEADERS.fullmatch(lines):
            return -1
        found = _HEADER.findall(lines.lower())
        values = dict(found)
        length = _LENGTH.fullmatch(values.get(b"content-length", b""))
        # RFC 9112 3.2 and 6.3 ask for these two. Of some others there may be two, but not of all: aiohttp knows.
        if length is None or b"host" not in values or len(values) != len(found):
            return -1
        if len(self._lengths) >= _KEPT_JUDGMENTS:
            # Somebody sends ever other ones, or many callers came and went.
            self._lengths.clear()
        self._lengths[headers] = int(length[1])
        return self._lengths[headers]
