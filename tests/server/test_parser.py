"""The parser: framing, limits and reasons of refusal, however the bytes are split into segments."""

from __future__ import annotations

import gc
import weakref

import pytest

from maven_channel_wecom.server.parser import BODY_BYTES, HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED, RequestParser

HOST = b"Host: bot.example.com\r\n"
LINE = b"POST /wecom/bot?a=b HTTP/1.1\r\n"
POST = LINE + HOST
LENGTH = b"Content-Length: 2\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def parse(*segments: bytes) -> RequestParser:
    parser = RequestParser()
    for segment in segments:
        parser.feed(segment)
    return parser


def rejection(*segments: bytes) -> tuple[int, str] | None:
    request = parse(*segments).requests[-1]
    return request.head_rejection or request.body_rejection


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(POST + LENGTH + b"\r\n{}", id="length"),
        pytest.param(POST + CHUNKED + b"\r\n2\r\n{}\r\n0\r\n\r\n", id="chunked"),
        pytest.param(POST + CHUNKED + b"\r\n1;extension=x\r\n{\r\n1\r\n}\r\n0\r\nX: trailer\r\n\r\n", id="chunks"),
        pytest.param(POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + LENGTH + b"\r\n{}", id="upgrade-length"),
        pytest.param(
            POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + CHUNKED + b"\r\n2\r\n{}\r\n0\r\n\r\n",
            id="upgrade-chunked",
        ),
    ],
)
def test_a_request_is_the_same_however_it_is_split(data: bytes) -> None:
    splits = [(data,), tuple(data[at : at + 1] for at in range(len(data)))]
    splits += [(data[:at], data[at:]) for at in range(1, len(data))]
    for segments in splits:
        parser = parse(*segments, POST + LENGTH + b"\r\n[]")
        assert [(each.method, each.path, each.query, bytes(each.body), each.complete) for each in parser.requests] == [
            ("POST", b"/wecom/bot", b"a=b", b"{}", True),
            ("POST", b"/wecom/bot", b"a=b", b"[]", True),
        ]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/wecom/bot", b"/wecom/bot", b""),
        (b"/wecom/bot?", b"/wecom/bot", b""),
        (b"/wecom/bot?a?b%20", b"/wecom/bot", b"a?b%20"),
        (b"/%77ecom/bot?a", b"/wecom/bot", b"a"),
        (b"http://bot.example.com/wecom/bot?a", b"/wecom/bot", b"a"),
        (b"https://bot.example.com/%77ecom/bot", b"/wecom/bot", b""),
        (b"http://bot.example.com?a=/b", b"/", b"a=/b"),
        (b"*", b"*", b""),
    ],
)
def test_a_target_is_split_into_path_and_query(target: bytes, path: bytes, query: bytes) -> None:
    (request,) = parse(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n").requests
    assert (request.path, request.query) == (path, query)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"hello\r\n\r\n", (400, "not_http"), id="hello"),
        pytest.param(b"get / HTTP/1.1\r\n" + HOST + b"\r\n", (400, "not_http"), id="lower-case"),
        pytest.param(b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", (400, "not_http"), id="no-such-version"),
        pytest.param(b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", (400, "not_http"), id="version-2"),
        pytest.param(b"GET / HTTP/0.9\r\n\r\n", (400, "not_http"), id="version-0.9"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", (400, "tls"), id="tls"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, "http2"), id="http2"),
        pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + POST, (400, "proxy_protocol"), id="proxy-v1"),
        pytest.param(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11", (400, "proxy_protocol"), id="proxy-v2"),
        pytest.param(LINE + LENGTH + b"\r\n{}", (400, "host"), id="no-host"),
        pytest.param(POST + HOST + LENGTH + b"\r\n{}", (400, "host"), id="two-hosts"),
        pytest.param(POST + b"Content-Length: 2\r\n" + LENGTH + b"\r\n{}", (400, "not_http"), id="two-lengths"),
        pytest.param(POST + b"Content-Length: +2\r\n\r\n{}", (400, "not_http"), id="signed-length"),
        pytest.param(POST + b"Content-Length: 2, 2\r\n\r\n{}", (400, "not_http"), id="list-of-lengths"),
        pytest.param(POST + b"Content-Length: \r\n\r\n{}", (400, "not_http"), id="empty-length"),
        pytest.param(POST + b"Content-Length: %s\r\n\r\n" % (b"9" * 30), (400, "not_http"), id="huge-length"),
        pytest.param(POST + LENGTH + CHUNKED + b"\r\n0\r\n\r\n", (400, "not_http"), id="length-and-chunked"),
        pytest.param(POST + CHUNKED + LENGTH + b"\r\n0\r\n\r\n", (400, "not_http"), id="chunked-and-length"),
        pytest.param(POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n", (400, "not_http"), id="chunked-twice"),
        pytest.param(LINE.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n0\r\n\r\n", (400, "not_http"), id="chunked-in-1.0"),
        pytest.param(POST + b"X-A: b\r\n c\r\n\r\n", (400, "not_http"), id="folded"),
        pytest.param(POST + b"X-A: b\rc\r\n\r\n", (400, "not_http"), id="bare-return"),
        pytest.param(POST + b"X-A: b\nX-B: c\r\n\r\n", (400, "not_http"), id="bare-newline"),
        pytest.param(POST + b"X-A: b\0c\r\n\r\n", (400, "not_http"), id="zero-byte"),
        pytest.param(POST + b"X-A : b\r\n\r\n", (400, "not_http"), id="space-before-colon"),
        pytest.param(POST + b"X(A): b\r\n\r\n", (400, "not_http"), id="no-token"),
        pytest.param(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", (415, "coded"), id="transfer-gzip"),
        pytest.param(POST + b"Transfer-Encoding: identity\r\n\r\n", (415, "coded"), id="transfer-identity"),
        pytest.param(POST + b"Content-Encoding: gzip\r\n" + LENGTH + b"\r\n{}", (415, "coded"), id="gzip"),
        pytest.param(POST + b"content-encoding: identity, br\r\n\r\n", (415, "coded"), id="br"),
        pytest.param(
            POST + b"Content-Encoding: identity\r\nContent-Encoding: zstd\r\n\r\n", (415, "coded"), id="second-zstd"
        ),
        pytest.param(POST + b"Expect: 200-maybe\r\n\r\n", (417, "expectation"), id="expects-something-else"),
        pytest.param(
            POST + b"X: %s\r\n\r\n" % bytes(HEAD_BYTES).replace(b"\0", b"y"), (431, "head_too_large"), id="long"
        ),
        pytest.param(POST + b"X: y\r\n" * MAX_HEADERS + b"\r\n", (431, "head_too_large"), id="many"),
        pytest.param(b"GET /" + b"a" * HEAD_BYTES, (431, "head_too_large"), id="long-line"),
        pytest.param(b"\r\n" * HEAD_BYTES, (431, "head_too_large"), id="empty-lines"),
        pytest.param(POST + CHUNKED + b"\r\nzz\r\n", (400, "aborted"), id="no-chunk"),
        pytest.param(POST + CHUNKED + b"\r\n-1\r\n{}\r\n0\r\n\r\n", (400, "aborted"), id="negative-chunk"),
        pytest.param(POST + CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n", (400, "aborted"), id="prefixed-chunk"),
        pytest.param(POST + CHUNKED + b"\r\n" + b"f" * 20 + b"\r\n", (400, "aborted"), id="huge-chunk"),
        pytest.param(POST + CHUNKED + b"\r\n2\n{}\n0\n\n", (400, "aborted"), id="chunks-with-bare-newlines"),
        pytest.param(POST + CHUNKED + b"\r\n1\r\n{}\r\n0\r\n\r\n", (400, "aborted"), id="chunk-too-long"),
    ],
)
def test_a_refused_request_has_the_status_and_reason_of_its_cause(data: bytes, expected: tuple[int, str]) -> None:
    assert rejection(data) == expected


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", "tls", id="tls"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2", id="http2"),
        pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + POST, "proxy_protocol", id="proxy-v1"),
        pytest.param(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11", "proxy_protocol", id="proxy-v2"),
    ],
)
def test_another_protocol_is_recognized_however_its_first_bytes_are_split(data: bytes, reason: str) -> None:
    splits = [tuple(data[at : at + 1] for at in range(len(data)))]
    splits += [(data[:at], data[at:]) for at in range(1, len(data))]
    for segments in splits:
        assert rejection(*segments) == (400, reason)


def test_an_empty_transfer_encoding_is_refused() -> None:
    """Newer releases of llhttp refuse it themselves."""
    assert rejection(POST + b"Transfer-Encoding: \r\n\r\n") in {(400, "not_http"), (415, "coded")}


def test_another_protocol_is_recognized_only_at_the_beginning_of_a_connection() -> None:
    assert rejection(POST + LENGTH + b"\r\n{}", b"\x16\x03\x01") == (400, "not_http")
    assert rejection(POST + CHUNKED + b"\r\n", b"PROXY ") == (400, "aborted")


@pytest.mark.parametrize("coding", [b"identity", b"Identity", b""])
def test_a_body_that_is_not_coded_is_read(coding: bytes) -> None:
    (request,) = parse(POST + b"Content-Encoding: " + coding + b"\r\n" + LENGTH + b"\r\n{}").requests
    assert request.head_rejection is None
    assert request.body == b"{}"


def test_a_head_within_the_limits_is_read() -> None:
    headers = b"".join(b"X-%d: y\r\n" % number for number in range(MAX_HEADERS - 2))
    (request,) = parse(POST + headers + LENGTH + b"\r\n{}").requests
    assert request.complete
    (request,) = parse(POST + b"X: %s\r\n" % (b"y" * (HEAD_BYTES - 200)) + LENGTH + b"\r\n{}").requests
    assert request.complete


def test_an_endless_head_or_trailer_is_refused_before_it_fills_memory() -> None:
    """The httptools parser buffers an incomplete header, trailer or chunk extension."""
    assert rejection(POST + b"X: ", *[b"y" * 1000] * 17) == (431, "head_too_large")
    assert rejection(POST + CHUNKED + b"\r\n0\r\nX: ", *[b"y" * 1000] * 17) == (413, "too_large")
    assert rejection(POST + CHUNKED + b"\r\n1;x=", *[b"y" * 1000] * 17) == (413, "too_large")


def test_a_body_of_exactly_the_limit_is_read_and_a_larger_one_refused() -> None:
    piece = b"10000\r\n" + bytes(65536) + b"\r\n"
    sixteen = parse(POST + CHUNKED + b"\r\n", *[piece] * 16, b"0\r\n\r\n").requests[0]
    assert len(sixteen.body) == BODY_BYTES
    assert sixteen.complete
    assert rejection(POST + CHUNKED + b"\r\n", *[piece] * 16, b"1\r\na\r\n") == (413, "too_large")


@pytest.mark.parametrize(
    ("data", "keep_alive"),
    [
        (b"GET / HTTP/1.1\r\n" + HOST + b"\r\n", True),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Connection: x, Close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
    ],
)
def test_nothing_is_parsed_after_the_last_request_of_a_connection(data: bytes, *, keep_alive: bool) -> None:
    parser = parse(data, data)
    assert [request.keep_alive for request in parser.requests] == [keep_alive] * (2 if keep_alive else 1)


def test_an_expectation_is_ignored_in_http_1_0() -> None:
    expect = b"Expect: 100-Continue\r\n" + LENGTH
    assert parse(POST + expect + b"\r\n").requests[0].expects_continue
    old = parse(LINE.replace(b"1.1", b"1.0") + expect.replace(b"100-C", b"xxx") + b"\r\n").requests[0]
    assert old.head_rejection is None
    assert not old.expects_continue


def test_trailers_are_ignored() -> None:
    trailer = b"Content-Encoding: gzip\r\nHost: x\r\nExpect: x\r\n"
    (request,) = parse(POST + CHUNKED + b"\r\n2\r\n{}\r\n0\r\n" + trailer + b"\r\n").requests
    assert (request.complete, request.body, request.announced_bytes) == (True, b"{}", 0)


def test_requests_after_an_upgrade_are_parsed() -> None:
    upgrade = b"GET /wecom/bot HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    parser = parse(upgrade + POST + LENGTH + b"\r\n{}" + upgrade)
    assert [(each.method, bytes(each.body)) for each in parser.requests] == [
        ("GET", b""),
        ("POST", b"{}"),
        ("GET", b""),
    ]


def test_requests_beyond_the_pipelining_limit_are_refused() -> None:
    parser = parse((POST + LENGTH + b"\r\n{}") * 1000)
    assert [each.head_rejection for each in parser.requests] == [None] * (MAX_PIPELINED + 1) + [(503, "pipelined")]
    parser.feed(POST)
    assert len(parser.requests) == MAX_PIPELINED + 2


def test_a_closed_parser_is_freed_at_once() -> None:
    """The parser and httptools refer to each other, and only the garbage collector frees an unbroken cycle."""
    gc.disable()
    try:
        parser = parse(POST + CHUNKED + b"\r\nzz\r\n")
        freed = weakref.ref(parser)
        parser.close()
        parser.feed(b"more")
        del parser
        assert freed() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("zeros", [0, 30, 5_000])
def test_a_length_may_begin_with_zeros(zeros: int) -> None:
    """Python refuses to convert a number of thousands of digits."""
    (request,) = parse(POST + b"Content-Length: " + b"0" * zeros + b"2\r\n\r\n{}").requests
    assert (request.announced_bytes, request.complete) == (2, True)
