"""Generates mutated callbacks at every layer, from the inner JSON to TCP segments, each determined by seed and number.

Mutations inside the envelope are signed correctly, so that they reach the code behind the signature check.
"""

from __future__ import annotations

import base64
import itertools
import random
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_from_bytes

import msgspec

from maven_channel_wecom.protocol import cipher, signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.protocol.envelope import Credentials

ALLOWED_SENDER: Final = "guest"
"""The only sender of mutated messages on the allow-list. Its messages have no media, because a mutated URL could lead
anywhere."""

_TIMESTAMP: Final = "1700000000"
_MEBIBYTE: Final = 1024 * 1024
_HEADERS: Final = (
    (b"Host", b"127.0.0.1"),
    (b"User-Agent", b"Mozilla/4.0"),
    (b"Accept", b"*/*"),
    (b"Content-Type", b"application/json"),
)

# Values, keys and characters that have caused bugs in other parsers.
_ODD_JSON: Final = (
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e999",
    b"-0.0",
    b"9" * 400,
    b"NaN",
    b"[]",
    b"{}",
    b'""',
    b'"\\ud800"',
    b'"\\u0000"',
    b'"\x00\x1f"',
    b'"\xff\xfe"',
    b'"\xf0\x9f\x92"',
    b'"' + b"a" * 5000 + b'"',
    b"[" * 2000 + b"]" * 2000,
    b'{"a":' * 600 + b"1" + b"}" * 600,
    b"[" * 5000,
    b'"http://127.0.0.1:1/x "',
    b'"file:///etc/passwd"',
    b'"../../etc/passwd"',
    b'{"content":{"content":[1]}}',
)
_ODD_BYTES: Final = (
    *(
        b"\x00",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"%",
        b"%00",
        b"%0d%0a",
        b"%zz",
        b"\xff",
        b"\xe2\x80\xa8",
    ),
    *(b"&", b"=", b"?", b"#", b"/", b"//", b"..", b":", b";", b"@", b"\\", b'"', b"'", b"<", b"{", b"[", b"]", b"\x7f"),
)
_ODD_NUMBERS: Final = (
    *(b"", b"-1", b"+5", b"0x10", b"1e3", b"1_000", b" 5", b"5 ", b"5, 5", b"5, 6", b"\xb2", b"\xd9\xa1", b"00000005"),
    *(b"9" * 19, b"9" * 400, b"18446744073709551616", b"1048577", b"104857600", b"abc", b"5;5", b"5\x00"),
)
_ODD_DIGITS: Final = (
    *("１７００００００００", "1700000000 ", "+170000000", "170000000", "17000000000", "1700000000.0", "-170000000"),
    *("٠١٢٣٤٥٦٧٨٩", "1e9", "", "9" * 400, "0x6553f100", "1700000000\x00"),
)
_METHODS: Final = (
    b"GET",
    b"PUT",
    b"HEAD",
    b"OPTIONS",
    b"DELETE",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"post",
    b"BREW",
    b"P" * 300,
)
_VERSIONS: Final = (
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/1.10",
    b"HTTP/1",
    b"http/1.1",
    b"HTTP/9.9",
    b"ICY/1.1",
    b"",
)
_ODD_HEADERS: Final = (
    (b"Expect", b"100-continue"),
    (b"Expect", b"200-maybe"),
    (b"Upgrade", b"websocket"),
    (b"Upgrade", b"h2c"),
    (b"Connection", b"upgrade"),
    (b"Connection", b"close"),
    (b"Connection", b"keep-alive, keep-alive, x"),
    (b"User-Agent", b"another"),
    (b"Host", b"another"),
    (b"Host", b""),
    (b"Host", b"[::1"),
    (b"Host", b"a b"),
    (b"Host", b"\xff\xfe"),
    (b"Host", b"host.example:99999"),
    (b"Content-Type", b"application/json; charset=utf-99"),
    (b"Content-Type", b"multipart/form-data; boundary="),
    (b"Content-Type", b"\xff/\xff; charset=\xff"),
    (b"Content-Encoding", b"gzip"),
    (b"Content-Encoding", b"deflate, br, zstd"),
    (b"Content-Encoding", b"\xff"),
    (b"Transfer-Encoding", b"chunked"),
    (b"Transfer-Encoding", b"identity"),
    (b"Transfer-Encoding", b"chunked, chunked"),
    (b"Transfer-Encoding", b"xchunked"),
    (b"Transfer-Encoding", b"\x0bchunked"),
    (b"Transfer-Encoding", b"gzip, chunked"),
    (b"Cookie", b"a=b; " * 200),
    (b"Cookie", b"=;=;\xff=\x01"),
    (b"Sec-WebSocket-Key", b"x"),
    (b"X", b"y" * 7000),
    (b"X", b"y" * 9000),
    (b"X", b"folded\r\n and folded"),
    (b"X" * 9000, b"y"),
    (b"X Y", b"z"),
    (b"", b"z"),
    (b"X\x00", b"\x00"),
    (b"Content-Length ", b"5"),
    (b"Range", b"bytes=0-" + b"9" * 400),
    (b"If-Modified-Since", b"99 Foo 99999 99:99:99 XYZ"),
    (b"Forwarded", b'for=_;by=\xff;;="'),
)
_NONSENSE: Final = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    b"*1\r\n$4\r\nPING\r\n",
    b"\r\n" * 500,
    b"\x05\x01\x00",
    b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\n" * 2000 + b"GET / HTTP/1.1\r\n\r\n",
    b" GET / HTTP/1.1\r\n\r\n",
)


class Mutation(msgspec.Struct, frozen=True):
    """The segments to send, and the minimum number of `answers`.

    `good` means that the first answer must be 200; `whole` that everything is HTTP, so the connection stays usable.
    """

    layer: str
    segments: tuple[bytes, ...]
    answers: int
    good: bool
    whole: bool


class _Draft(msgspec.Struct):
    """A request in parts that can be mutated separately."""

    query: list[tuple[bytes, bytes]]
    body: bytes
    headers: list[tuple[bytes, bytes]]
    method: bytes = b"POST"
    target: bytes = b"/wecom/bot"
    version: bytes = b"HTTP/1.1"
    length: bytes | None = None
    framed: bool = False

    def encode(self) -> bytes:
        pairs = b"&".join(name + b"=" + value for name, value in self.query)
        line = b"%s %s%s %s\r\n" % (self.method, self.target, b"?" + pairs if pairs else b"", self.version)
        length = b"%d" % len(self.body) if self.length is None else self.length
        headers = self.headers if self.framed else [*self.headers, (b"Content-Length", length)]
        return line + b"".join(b"%s: %s\r\n" % header for header in headers) + b"\r\n" + self.body


def mutate(seed: int, number: int, credentials: Credentials) -> Mutation:
    """Return the mutation with this number, which depends only on seed, number and credentials."""
    builder = _MutationBuilder(random.Random((seed << 40) + number), credentials)  # noqa: S311 - repeatable is the point
    layer = builder.rng.choices(tuple(_LAYERS), _WEIGHTS)[0]
    return builder.transport(layer, _LAYERS[layer](builder))


class _MutationBuilder:
    """Builds one mutation."""

    def __init__(self, rng: random.Random, credentials: Credentials) -> None:
        self.rng = rng
        self._token = credentials.token
        self._key = credentials.key

    # One method for each layer, from the inside out.

    def plaintext(self) -> bytes:
        rng, message = self.rng, self._message()
        for _ in range(rng.randint(1, 3)):
            message = rng.choice((_with_odd_value, _with_odd_value, _with_odd_bytes, _damaged, _with_many_keys))(
                rng, message
            )
        if rng.random() < 0.02:
            message = rng.choice((b"", b"null", b"[]", rng.randbytes(100), b"\xff\xfe" + message, b"[" * 100_000))
        return self._sealed(self._framed(message)).encode()

    def frame(self) -> bytes:
        rng = self.rng
        message = self._message()
        variant = rng.randrange(8)
        if variant == 0:
            lie = rng.choice((0, 1, len(message) - 1, len(message) + 1, 2**31, 2**32 - 1))
            return self._sealed(bytes(16) + struct.pack(">I", lie) + message).encode()
        if variant == 1:
            return self._sealed(rng.randbytes(rng.randint(0, 80))).encode()
        if variant == 2:
            return self._sealed(self._framed(message) + rng.choice((b"other", b"\xff\xfe", bytes(5000)))).encode()
        if variant == 3:
            return self._sealed(self._framed(message[:-1] + b"\xff")).encode()
        encrypted = cipher.encrypt(self._key if variant != 4 else bytes(32), self._framed(message))
        if variant == 5:
            encrypted = encrypted[: rng.randrange(len(encrypted))]
        elif variant == 6:
            encrypted = rng.randbytes(rng.choice((0, 16, 32, 64, 4096)))
        elif variant == 7:
            encrypted = _damaged(rng, encrypted)
        return self._signed(base64.b64encode(encrypted)).encode()

    def ciphertext(self) -> bytes:
        rng = self.rng
        text = base64.b64encode(cipher.encrypt(self._key, self._framed(self._message())))
        variant = rng.randrange(7)
        if variant == 0:
            text = rng.choice((b"", b"=", b"====", b"A", b"AAAA", b"A" * 100_001, b"\xe6\xb1\x89", text * 50))
        elif variant == 1:
            text = text.replace(b"+", b"-").replace(b"/", b"_")
        elif variant == 2:
            text = text.rstrip(b"=") + b"=" * rng.randint(0, 4)
        elif variant == 3:
            text = rng.choice((b"\n", b" ", b"\r\n", b"\t")).join((text[:40], text[40:]))
        elif variant == 4:
            text = base64.b85encode(text)
        else:
            text = _damaged(rng, text)
        return self._signed(text).encode()

    def body(self) -> bytes:
        rng, draft = self.rng, self._callback()
        variant = rng.randrange(8)
        if variant == 0:
            draft.body = _with_odd_value(rng, draft.body)
        elif variant == 1:
            draft.body = _damaged(rng, draft.body)
        elif variant == 2:
            draft.body = _with_odd_bytes(rng, draft.body)
        elif variant == 3:
            draft.body = rng.choice((b'{"encrypt":1,', b'{"encrypt":"x",', b'{"Encrypt":null,')) + draft.body[1:]
        elif variant == 4:
            draft.body = _with_many_keys(rng, draft.body)
        elif variant == 5:
            wrap = rng.choice((b"[%s]", b"\xef\xbb\xbf%s", b"%s%s", b"%s garbage", b'"%s"', b"<xml>%s</xml>", b"a=%s"))
            draft.body = wrap.replace(b"%s", draft.body)
        elif variant == 6:
            draft.body = draft.body.decode("latin-1").encode(rng.choice(("utf-16", "utf-32", "utf-7", "cp037")))
        else:
            draft.body = rng.choice((b"", b" ", rng.randbytes(300), b"[" * 50_000, b'{"a":' * 9000, *_ODD_JSON))
        return draft.encode()

    def query(self) -> bytes:
        rng, draft = self.rng, self._callback()
        if rng.random() < 0.2:
            draft = self._url_check()
        at = rng.randrange(len(draft.query))
        variant = rng.randrange(8)
        if variant == 0:
            del draft.query[at]
        elif variant == 1:
            name, value = draft.query[at]
            draft.query.insert(rng.randrange(4), (name, rng.choice((b"", b"x", value))))
        elif variant == 2:
            values = [value for _, value in draft.query]
            rng.shuffle(values)
            draft.query = [(name, value) for (name, _), value in zip(draft.query, values, strict=True)]
        elif variant == 3:
            draft.query += [(b"a%d" % number, b"b") for number in range(rng.choice((10, 300, 900)))]
        elif variant == 4:
            draft.target = b"/wecom/bot?" + b";".join(b"%s=%s" % pair for pair in draft.query)
            draft.query = []
        else:
            draft.query[at] = _odd_parameter(rng, *draft.query[at])
        return draft.encode()

    def request_line(self) -> bytes:
        rng, draft = self.rng, self._callback()
        variant = rng.randrange(6)
        if variant == 0:
            draft.method = rng.choice(_METHODS)
        elif variant == 1:
            draft.version = rng.choice(_VERSIONS)
        elif variant == 2:
            draft.target = rng.choice(
                (
                    *(b"http://127.0.0.1/wecom/bot", b"https://elsewhere.example/wecom/bot", b"*", b"", b"wecom/bot"),
                    *(
                        b"//wecom/bot",
                        b"/wecom/./bot",
                        b"/wecom/x/../bot",
                        b"/wecom%2fbot",
                        b"/wecom/bot/",
                        b"/%77ecom/bot",
                    ),
                    *(
                        b"/wecom/bot#x",
                        b"/wecom/bot;x=y",
                        b"/wecom/bot%00",
                        b"http://[::1",
                        b"http://a:b:c/",
                        b"/\xff\xfe",
                    ),
                    *(
                        b"/" + b"a" * 7000,
                        b"/" + b"a" * 20_000,
                        b"/" + b"%41" * 2700,
                        b"/" * 5000,
                        b"?",
                        b"/wecom/bot?" + b"&" * 4000,
                    ),
                )
            )
        elif variant == 3:
            draft.target, draft.method = b"127.0.0.1:443", b"CONNECT"
        elif variant == 4:
            draft.target = _with_odd_bytes(rng, draft.target)
        else:
            data = draft.encode()
            end = data.index(b"\r\n")
            return _damaged(rng, data[:end]) + data[end:]
        return draft.encode()

    def headers(self) -> bytes:
        rng, draft = self.rng, self._callback()
        variant = rng.randrange(5)
        if variant == 0:
            draft.headers += [(b"X-%d" % number, b"y" * 20) for number in range(rng.choice((20, 90, 200, 1000)))]
        elif variant == 1:
            del draft.headers[rng.randrange(len(draft.headers))]
        elif variant == 2:
            data = draft.encode()
            start, end = data.index(b"\r\n") + 2, data.index(b"\r\n\r\n")
            return data[:start] + _damaged(rng, data[start:end]) + data[end:]
        else:
            for _ in range(variant - 2):
                draft.headers.insert(rng.randint(0, len(draft.headers)), rng.choice(_ODD_HEADERS))
        return draft.encode()

    def framing(self) -> bytes:
        rng, draft = self.rng, self._callback()
        variant = rng.randrange(9)
        if variant == 0:
            draft.length = rng.choice(_ODD_NUMBERS)
        elif variant == 1:
            draft.length = b"%d" % max(0, len(draft.body) + rng.choice((-200, -1, 1, 1000)))
        elif variant == 2:
            draft.headers += [(b"Content-Length", b"%d" % (len(draft.body) + rng.choice((0, 1))))]
        elif variant in {3, 4}:
            draft.headers += [(b"Transfer-Encoding", b"chunked")]
            draft.framed = variant == 3 or rng.random() < 0.7
            draft.body = self._chunked(draft.body)
        elif variant == 5:
            draft.headers += [(b"Content-Encoding", rng.choice((b"gzip", b"deflate")))]
            draft.body = rng.choice((_gzip(draft.body), zlib.compress(draft.body), draft.body, _gzip(draft.body)[:-9]))
        elif variant == 6 and rng.random() < 0.01:
            draft.headers += [(b"Content-Encoding", b"gzip")]
            draft.body = _gzip(bytes(20 * _MEBIBYTE))
        elif variant == 6 and rng.random() < 0.02:
            draft.body += bytes(_MEBIBYTE)
        elif variant == 7:
            draft.framed = True
        else:
            draft.headers.insert(0, (b"Expect", b"100-continue"))
        return draft.encode()

    def anywhere(self) -> bytes:
        data = self._callback().encode()
        for _ in range(self.rng.randint(1, 4)):
            data = _damaged(self.rng, data)
        return data

    def nonsense(self) -> bytes:
        rng = self.rng
        return rng.choice((*_NONSENSE, rng.randbytes(rng.randint(1, 3000)))) or b"\x00"

    def unmodified(self) -> bytes:
        """Return a genuine request, of which only the segments are mutated."""
        return self._callback().encode()

    def transport(self, layer: str, data: bytes) -> Mutation:
        """Return the request with others before or after it, truncated, or cut into segments."""
        rng = self.rng
        whole = layer in _WHOLE
        answers, good = int(whole), layer == "unmodified"
        variant = rng.random()
        if variant < 0.05:
            more = rng.randint(1, 4)
            data += b"".join(self._callback().encode() for _ in range(more))
            answers += more if whole else 0
        elif variant < 0.10:
            # A server may drop a whole segment if part of it is not HTTP.
            data, answers = self._callback().encode() + data, answers + 1
        elif variant < 0.12:
            data, answers, good, whole = data[: rng.randrange(len(data))] or b"P", 0, False, False
        cuts = 0 if rng.random() < 0.7 else rng.randint(1, 5)
        places = [0, *sorted(rng.randrange(len(data) + 1) for _ in range(cuts)), len(data)]
        pieces = (data[start:end] for start, end in itertools.pairwise(places))
        return Mutation(layer, tuple(piece for piece in pieces if piece), answers, good, whole)

    # Genuine requests and their parts.

    def _message(self) -> bytes:
        rng = self.rng
        content, number = {"content": rng.choice(("hello", "@bot 汉字", "a\tb", "```"))}, rng.getrandbits(64)
        media = {"url": "http://127.0.0.1:1/a?b "}
        fields: dict[str, Any] = {
            "msgid": f"m{number}",
            "aibotid": "aib1",
            "chattype": rng.choice(("single", "group")),
        }
        allowed = rng.random() < 0.05
        fields |= {"chatid": "chat", "from": {"userid": ALLOWED_SENDER if allowed else "stranger"}}
        types = ("text", "voice", "event", "stream", "news")
        type_ = rng.choice(types if allowed else (*types, "text", "image", "file", "video", "mixed"))
        parts = [{"msgtype": "text", "text": content}, {"msgtype": "image", "image": media}]
        event = {"eventtype": "feedback_event", "feedback_event": {"id": "f", "type": 2, "inaccurate_reason_list": [1]}}
        payloads = {"text": content, "voice": content, "mixed": {"msg_item": parts}, "event": event}
        fields |= {"msgtype": type_, type_: payloads.get(type_, {} if allowed else media)}
        if rng.random() < 0.2:
            fields["quote"] = {"msgtype": "text", "text": content}
        return msgspec.json.encode(fields)

    def _framed(self, message: bytes) -> bytes:
        return self.rng.randbytes(16) + struct.pack(">I", len(message)) + message

    def _sealed(self, frame: bytes) -> _Draft:
        return self._signed(base64.b64encode(cipher.encrypt(self._key, frame)))

    def _signed(self, ciphertext: bytes) -> _Draft:
        text = ciphertext.decode("utf-8", "replace")
        return _Draft(self._query(text), msgspec.json.encode({"encrypt": text}), list(_HEADERS))

    def _callback(self) -> _Draft:
        return self._sealed(self._framed(self._message()))

    def _url_check(self) -> _Draft:
        text = base64.b64encode(cipher.encrypt(self._key, self._framed(b"1234567890123456789"))).decode()
        query = [*self._query(text), (b"echostr", text.replace("+", "%2B").encode())]
        return _Draft(query, b"", list(_HEADERS), method=b"GET")

    def _query(self, ciphertext: str) -> list[tuple[bytes, bytes]]:
        nonce = str(self.rng.getrandbits(32))
        signed = signature.sign(self._token, _TIMESTAMP, nonce, ciphertext)
        return [(b"msg_signature", signed.encode()), (b"timestamp", _TIMESTAMP.encode()), (b"nonce", nonce.encode())]

    def _chunked(self, body: bytes) -> bytes:
        rng = self.rng
        size = rng.choice((1, 7, 100, 5000))
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        ending = rng.choice((b"0\r\n\r\n",) * 4 + (b"0\r\nX: y\r\n\r\n", b"0\r\n", b"-1\r\n\r\n", b"00\n\n", b""))
        return b"".join(self._chunk(piece) for piece in pieces) + ending

    def _chunk(self, piece: bytes) -> bytes:
        if self.rng.random() > 0.01:
            return b"%x\r\n%s\r\n" % (len(piece), piece)
        size = self.rng.choice(
            (b"-%x", b"0x%x", b"%x;ext=1", b"%x;" + b"e" * 3000, b"ffffffffffffffff%x", b" %x", b"%x\n")
        )
        return size % len(piece) + b"\r\n" + piece + self.rng.choice((b"\r\n", b"\n", b""))


_LAYERS: Final[dict[str, Callable[[_MutationBuilder], bytes]]] = {
    "plaintext": _MutationBuilder.plaintext,
    "frame": _MutationBuilder.frame,
    "ciphertext": _MutationBuilder.ciphertext,
    "body": _MutationBuilder.body,
    "query": _MutationBuilder.query,
    "request line": _MutationBuilder.request_line,
    "headers": _MutationBuilder.headers,
    "framing": _MutationBuilder.framing,
    "anywhere": _MutationBuilder.anywhere,
    "nonsense": _MutationBuilder.nonsense,
    "unmodified": _MutationBuilder.unmodified,
}
_WEIGHTS: Final = (20, 8, 7, 12, 14, 8, 9, 9, 8, 2, 3)
# These layers stay valid HTTP, so there must be an answer.
_WHOLE: Final = frozenset({"plaintext", "frame", "ciphertext", "body", "unmodified"})


def _damaged(rng: random.Random, data: bytes) -> bytes:
    """Return the bytes with a bit flipped, or with some bytes removed, inserted, repeated or replaced."""
    if not data:
        return rng.choice(_ODD_BYTES)
    at = rng.randrange(len(data))
    end = min(len(data), at + rng.choice((1, 1, 4, 30)))
    variant = rng.randrange(5)
    if variant == 0:
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if variant == 1:
        return data[:at] + data[end:]
    if variant == 2:
        return data[:at] + rng.choice(_ODD_BYTES) + data[at:]
    if variant == 3:
        return data[:end] + data[at:]
    return data[:at] + rng.randbytes(end - at) + data[end:]


def _odd_parameter(rng: random.Random, name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return a query parameter with another encoding or value."""
    variant = rng.randrange(5)
    if variant == 0:
        return b"".join(b"%%%02X" % byte for byte in name), b"".join(b"%%%02x" % byte for byte in value)
    if variant == 1:
        return name, quote_from_bytes(rng.choice(_ODD_DIGITS).encode()).encode()
    if variant == 2:
        return name, value.upper()
    if variant == 3:
        return name, rng.choice((b"a" * 129, b"a" * 5000, b"%ff%fe", b"%", b"%e6%b1", b"\xe6\xb1\x89", b""))
    return name, b"+".join(_damaged(rng, value).split())


def _with_odd_bytes(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice(_ODD_BYTES) + data[at:]


def _with_odd_value(rng: random.Random, document: bytes) -> bytes:
    """Return a JSON text with another value after one of its colons."""
    colons = [at for at, byte in enumerate(document) if byte == ord(":")]
    if not colons:
        return rng.choice(_ODD_JSON)
    at = rng.choice(colons) + 1
    ends = [end for end in (document.find(b",", at), document.find(b"}", at)) if end > 0]
    return document[:at] + rng.choice(_ODD_JSON) + document[min(ends, default=len(document)) :]


def _with_many_keys(rng: random.Random, document: bytes) -> bytes:
    key = rng.choice((b'"k%d":%d,', b'"msgid":"%d%d",', b'"%d":{"%d":[]},'))
    many = b"".join(key % (number, number) for number in range(rng.choice((1, 20, 300))))
    return document[:1] + many + document[1:]


def _gzip(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=31)
    return compressor.compress(data) + compressor.flush()
