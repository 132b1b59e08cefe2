"""Compares the framing of thousands of mutated requests with an independent parser: aiohttp's, in pure Python.

A reverse proxy and a server that disagree about where a request ends allow request smuggling.

Intended differences, apart from refusing the same request at an earlier or later byte:

- Accepted here and refused by aiohttp: several spaces in the request line (RFC 9112 3 allows this leniency), and empty
  lines before it. aiohttp also refuses a whole segment if a later request in it is broken, or if bytes follow the last
  request of a connection; this port answers the requests before.
- Refused here and accepted by aiohttp: see REFUSED_HERE.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

import pytest
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

# Undocumented, but the only available parser other than llhttp: with its C extension, aiohttp uses llhttp too.
from aiohttp.http_parser import HttpRequestParserPy

from maven_channel_wecom.server.parser import RequestParser

CASES: Final = 4_000

REFUSED_HERE: Final = {
    "not_http": "methods and versions that llhttp does not support, HTTP/0.9, HTTP/2.0",
    "host": "no Host, or two of them: for aiohttp this is the server's task, not the parser's",
    "coded": "any Content-Encoding, and any Transfer-Encoding but chunked",
    "expectation": "any expectation but 100-continue",
    "aborted": "chunk extensions with characters that are not allowed in a token",
}

_ODD_BYTES: Final = (
    *(b"\x00", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b",", b";", b"\xff", b"\x7f", b"\x0b"),
    *(b"0", b"f", b"-", b"+", b"_", b"x"),
)
_LENGTHS: Final = (
    *(b"", b"-1", b"+2", b"0x2", b"2_0", b" 2", b"2 ", b"2, 2", b"2;2", b"02", b"\xb2", b"9" * 19, b"2\x00"),
    *(b"18446744073709551616", b"3", b"1", b"0"),
)
_HEADERS: Final = (
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked, chunked"),
    *(b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, gzip", b"Transfer-Encoding: xchunked"),
    *(b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding:\tchunked "),
    *(b"transfer_encoding: chunked", b"Content-Length: 2", b"Content-Length: 3", b"Content-Length : 2", b"Host: b"),
    *(
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: Upgrade",
        b"Upgrade: h2c",
        b"Expect: 100-continue",
    ),
    *(b"X: a\r\n b", b" X: a", b"X", b": a", b"X: a\rb", b"Content-Encoding: gzip", b"TE: trailers", b"Trailer: X"),
)
_LINES: Final = (
    *(b"GET /p?q HTTP/1.1", b"POST /p?q HTTP/1.0", b"POST  /p?q HTTP/1.1", b"POST /p?q  HTTP/1.1"),
    *(
        b"POST /p q HTTP/1.1",
        b"POST /p?q HTTP/1.1 ",
        b"POST /p?q",
        b"POST http://a/p?q HTTP/1.1",
        b"POST /p?q HTTP/2.0",
    ),
    *(
        b"POST /p?q http/1.1",
        b"HEAD /p?q HTTP/1.1",
        b"post /p?q HTTP/1.1",
        b"POST /p?q HTTP/1.10",
        b"PUT /p?q HTTP/1.1",
    ),
    *(
        b"BREW /p?q HTTP/1.1",
        b"POST p?q HTTP/1.1",
        b"POST //p?q HTTP/1.1",
        b"POST /\xff?q HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
    ),
)
_NEXT: Final = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"

Requests = list[tuple[str, bytes]]


def mutated(rng: random.Random) -> bytes:
    """Return a request with random errors, followed by a correct one."""
    line = rng.choice(_LINES) if rng.random() < 0.3 else b"POST /p?q HTTP/1.1"
    headers = [b"Host: a"]
    if rng.random() < 0.5:
        headers.append(b"Transfer-Encoding: chunked")
        body = b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\n" + rng.choice((b"", b"", b"X: y\r\n")) + b"\r\n"
    else:
        headers.append(b"Content-Length: " + (rng.choice(_LENGTHS) if rng.random() < 0.3 else b"2"))
        body = b"{}"
    while rng.random() < 0.4:
        headers.insert(rng.randrange(len(headers) + 1), rng.choice(_HEADERS))
    if rng.random() < 0.03:
        headers.pop(rng.randrange(len(headers)))
    data = line + b"\r\n" + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        at = rng.randrange(len(data))
        new = rng.choice((b"", bytes([data[at] ^ 1 << rng.randrange(8)]), rng.choice(_ODD_BYTES)))
        data = data[:at] + new + data[at + rng.randrange(2) :]
    return data + _NEXT


def split_randomly(rng: random.Random, data: bytes) -> list[bytes]:
    ends = sorted({rng.randrange(1, len(data)) for _ in range(rng.choice((0, 0, 1, 2, 5)))})
    return [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def read_here(segments: list[bytes]) -> tuple[Requests, str | None]:
    """Return the complete requests, and the reason why the next one was refused."""
    parser = RequestParser()
    for segment in segments:
        parser.feed(segment)
    parsed = [(each.method, bytes(each.body)) for each in parser.requests if each.complete]
    rejections = [each.head_rejection or each.body_rejection for each in parser.requests]
    return parsed, next((each[1] for each in rejections if each is not None), None)


def read_by_aiohttp(segments: list[bytes]) -> tuple[Requests, str | None]:
    """Return the complete requests, and aiohttp's error for the next one."""

    async def unused(_request: web.BaseRequest) -> web.StreamResponse:
        raise NotImplementedError

    parser = HttpRequestParserPy(
        web.Server(unused)(), asyncio.get_running_loop(), 2**16, max_headers=128, auto_decompress=False
    )
    messages = []
    error = None
    try:
        for segment in segments:
            messages += parser.feed_data(segment)[0]
    except HttpProcessingError as refused:
        error = refused.message
    parsed: Requests = []
    for message, payload in messages:
        if (broken := payload.exception()) is not None:
            return parsed, str(broken)
        if payload.is_eof():
            parsed.append((message.method, payload.read_nowait()))
    return parsed, error


@pytest.mark.parametrize("seed", range(4))
async def test_both_parsers_return_the_same_requests_until_one_refuses_for_a_known_reason(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - the test must be repeatable
    agreements = 0
    for _ in range(CASES // 4):
        segments = split_randomly(rng, mutated(rng))
        here, refused_here = read_here(segments)
        there, refused_there = read_by_aiohttp(segments)
        common = min(len(here), len(there))
        assert here[:common] == there[:common], segments
        agreements += len(here) == len(there)
        if len(here) < len(there):
            closes = here and refused_here is None
            assert closes or refused_here in REFUSED_HERE, segments
        elif len(there) < len(here):
            assert refused_there is not None, segments
    assert agreements > CASES // 4 * 3 // 4
