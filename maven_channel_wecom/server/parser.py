"""Parses requests from bytes, without I/O: httptools (llhttp without lenient flags) and the checks it leaves out."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

import httptools

if TYPE_CHECKING:
    from maven_channel_wecom.errors import BodyRejection, HttpRejection

HEAD_BYTES: Final = 16 * 1024
"""Maximum size of a request line and its headers. Lower: long cookies or a proxy's tracing headers cause 431s."""

MAX_HEADERS: Final = 128

BODY_BYTES: Final = 1024 * 1024
"""Maximum size of a body, as in the original channel. Media travel by URL, so a genuine body has a few kilobytes."""

MAX_PIPELINED: Final = 16
"""Maximum number of requests waiting for the answer to the previous one. WeCom and reverse proxies do not pipeline."""

_CHECKED_HEADERS: Final = frozenset({b"host", b"content-length", b"content-encoding", b"transfer-encoding", b"expect"})

# How connections of other protocols begin: a TLS handshake record (RFC 8446 5.1), the preface of HTTP/2 (RFC 9113 3.4),
# and the two versions of the PROXY protocol.
_SIGNATURES: Final[dict[bytes, HttpRejection]] = {
    b"\x16\x03": "tls",
    b"PRI * HTTP/2.0": "http2",
    b"PROXY ": "proxy_protocol",
    b"\r\n\r\n\x00\r\nQUIT\n": "proxy_protocol",
}
_SIGNATURE_BYTES: Final = max(map(len, _SIGNATURES))


class ParsedRequest:
    """A request whose head has arrived, with the part of its body that has arrived.

    Attributes:
        method: the request method.
        path: the path of the request target, percent-decoded.
        query: the raw bytes after its `?`; empty if there are none.
        keep_alive: whether the client allows more requests on the connection after the answer.
        is_http10: whether the client speaks HTTP/1.0.
        expects_continue: whether the client waits for `100 Continue` before it sends the body.
        announced_bytes: the Content-Length; 0 without one.
        body: the part of the body that has arrived.
        complete: whether the whole body has arrived.
        head_rejection: status and reason if the head was refused; there is no body then.
        body_rejection: status and reason if the body was refused.
    """

    __slots__ = (
        "announced_bytes",
        "body",
        "body_rejection",
        "complete",
        "expects_continue",
        "head_rejection",
        "is_http10",
        "keep_alive",
        "method",
        "path",
        "query",
    )

    def __init__(
        self,
        method: str = "",
        path: bytes = b"",
        query: bytes = b"",
        *,
        keep_alive: bool = False,
        is_http10: bool = False,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.keep_alive = keep_alive
        self.is_http10 = is_http10
        self.expects_continue = False
        self.announced_bytes = 0
        self.body: bytes | bytearray = b""
        self.complete = False
        self.head_rejection: tuple[int, HttpRejection] | None = None
        self.body_rejection: tuple[int, BodyRejection] | None = None


class RequestParser:
    """Parses the bytes of one connection into requests.

    Attributes:
        requests: the parsed requests, in order; the connection removes them. Only the last may be incomplete.
        stopped: whether parsing has ended because a request was refused or was the last of its connection.
    """

    def __init__(self) -> None:
        self.requests: deque[ParsedRequest] = deque()
        self.stopped = False
        self._http = httptools.HttpRequestParser(self)
        # The beginning of the connection, until the first head is complete.
        self._first_bytes: bytes | None = b""
        # Bytes since the last complete head or piece of a body; httptools may buffer all of them.
        self._pending_bytes = 0
        # The request whose body is being received; None while a head is being received.
        self._request: ParsedRequest | None = None
        self._upgrades = False
        self._target = b""
        self._fields: dict[bytes, list[bytes]] = {}
        self._headers = 0
        self._head_bytes = 0

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the connection. This never raises, whatever a client sends."""
        if self.stopped:
            return
        self._pending_bytes += len(data)
        if self._first_bytes is not None:
            self._first_bytes = (self._first_bytes + data)[:_SIGNATURE_BYTES]
        try:
            self._http.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse()
        if self._pending_bytes > HEAD_BYTES:
            self._refuse_pending()

    def close(self) -> None:
        """Stop parsing, and break the reference cycle with httptools, so that no garbage collection is needed."""
        self.stopped = True
        del self._http

    # Called by httptools.

    def on_message_begin(self) -> None:
        """Start a new head."""
        if self._request is not None:
            return
        if len(self.requests) > MAX_PIPELINED:
            self._refuse_head(503, "pipelined")
            raise _StopParsing
        self._target = b""
        self._fields = {}
        self._headers = 0
        self._head_bytes = 0

    def on_url(self, piece: bytes) -> None:
        """Append to the request target."""
        self._target += piece
        self._head_bytes += len(piece)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store the header if a later check needs it. Trailers are ignored."""
        if self._request is not None:
            return
        self._headers += 1
        self._head_bytes += len(name) + len(value) + 4
        if self._headers > MAX_HEADERS or self._head_bytes > HEAD_BYTES:
            self._refuse_head(431, "head_too_large")
            raise _StopParsing
        name = name.lower()
        if name in _CHECKED_HEADERS:
            self._fields.setdefault(name, []).append(value.strip(b" \t").lower())

    def on_headers_complete(self) -> None:
        """Check the head, and add the request."""
        if self._request is not None:
            return
        self._pending_bytes = 0
        self._first_bytes = None
        http = self._http
        version = http.get_http_version()
        rejection = _head_rejection(version, self._fields)
        if rejection is not None:
            self._refuse_head(*rejection)
            raise _StopParsing
        request = ParsedRequest(
            http.get_method().decode(),
            *_split_target(self._target),
            keep_alive=http.should_keep_alive(),
            is_http10=version == "1.0",
        )
        if b"content-length" in self._fields:
            # llhttp accepts 64 bits after any number of leading zeros; Python refuses to convert thousands of digits.
            request.announced_bytes = int(self._fields[b"content-length"][0].lstrip(b"0") or b"0")
        # An expectation in an HTTP/1.0 request is ignored (RFC 9110 10.1.1).
        request.expects_continue = b"expect" in self._fields and not request.is_http10
        self._upgrades = http.should_upgrade()
        self._request = request
        self.requests.append(request)

    def on_body(self, piece: bytes) -> None:
        """Append to the body."""
        self._pending_bytes = 0
        request = self._request
        if request is None:
            return
        if not request.body:
            request.body = piece
        elif isinstance(request.body, bytes):
            request.body = bytearray(request.body) + piece
        else:
            request.body += piece
        if len(request.body) > BODY_BYTES:
            self._refuse_body(413, "too_large")
            raise _StopParsing

    def on_message_complete(self) -> None:
        """Mark the request as complete."""
        request = self._request
        if request is None or (self._upgrades and self._announces_body()):
            return
        self._pending_bytes = 0
        self._request = None
        request.complete = True
        self.stopped = not request.keep_alive

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parse the bytes after a head that asks for another protocol, where llhttp stops.

        llhttp also ignores the body of such a request. A new parser reads it after a made-up head of the same framing.
        """
        self._upgrades = False
        if self._request is not None:
            length = self._fields.get(b"content-length")
            framing = b"Content-Length: " + length[0] if length else b"Transfer-Encoding: chunked"
            self._http = httptools.HttpRequestParser(self)
            rest = b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n" + rest
        self.feed(rest)

    def _announces_body(self) -> bool:
        return b"content-length" in self._fields or b"transfer-encoding" in self._fields

    def _refuse(self) -> None:
        if self.stopped:
            # An `on_` method has rejected the request, or bytes followed the last request.
            return
        # This includes an exception in an `on_` method: the request is rejected, and no client can fill the log.
        if self._request is not None:
            self._refuse_body(400, "aborted")
        else:
            self._refuse_head(400, _detect_protocol(self._first_bytes or b""))

    def _refuse_pending(self) -> None:
        if self.stopped:
            return
        if self._request is not None:
            # Trailers or chunk extensions.
            self._refuse_body(413, "too_large")
        else:
            self._refuse_head(431, "head_too_large")

    def _refuse_head(self, status: int, reason: HttpRejection) -> None:
        request = ParsedRequest()
        request.head_rejection = status, reason
        self.requests.append(request)
        self.stopped = True

    def _refuse_body(self, status: int, reason: BodyRejection) -> None:
        self.requests[-1].body_rejection = status, reason
        self.stopped = True


class _StopParsing(Exception):
    """Raised in a callback to stop httptools."""


def _head_rejection(version: str, fields: dict[bytes, list[bytes]]) -> tuple[int, HttpRejection] | None:
    """Return status and reason if a head that llhttp accepts is refused, otherwise None."""
    if version not in {"1.1", "1.0"}:
        return 400, "not_http"
    hosts = fields.get(b"host", ())
    # RFC 9112 3.2: an HTTP/1.1 request has exactly one Host header.
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        return 400, "host"
    transfer = fields.get(b"transfer-encoding")
    if transfer is not None and (version == "1.0" or transfer != [b"chunked"]):
        # RFC 9112 6.1: HTTP/1.0 has no Transfer-Encoding, and the framing of such a message is faulty. The RFC proposes
        # 501 for an unknown coding; the only 5xx of this port is the 503 that asks for a retry.
        return (400, "not_http") if version == "1.0" else (415, "coded")
    # Bodies are never decompressed: a few kilobytes may expand to gigabytes.
    if any(coding not in {b"", b"identity"} for coding in fields.get(b"content-encoding", ())):
        return 415, "coded"
    if version == "1.1" and any(expected != b"100-continue" for expected in fields.get(b"expect", ())):
        return 417, "expectation"
    return None


def _split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return the path and the query of a request target in origin form or absolute form (RFC 9112 3.2)."""
    if not target.startswith(b"/"):
        try:
            url = httptools.parse_url(target)
        except httptools.HttpParserInvalidURLError:
            return target, b""
        return unquote_to_bytes(url.path or b"/"), url.query or b""
    path, _, query = target.partition(b"?")
    return unquote_to_bytes(path) if b"%" in path else path, query


def _detect_protocol(first_bytes: bytes) -> HttpRejection:
    """Return the reason to refuse a connection whose first bytes are not HTTP/1.

    They may be only the beginning of another protocol's signature: a connection is refused at the first byte that HTTP
    does not allow.
    """
    for signature, reason in _SIGNATURES.items():
        if first_bytes and (first_bytes.startswith(signature) or signature.startswith(first_bytes)):
            return reason
    return "not_http"
