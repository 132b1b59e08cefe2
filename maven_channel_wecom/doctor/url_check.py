"""The URL check of WeCom's console, and a POST like a callback: makes the requests and judges the answers.

Sending them is left to `probing`.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlencode, urlsplit

import msgspec

from maven_channel_wecom.doctor.checks import CONSOLE_ERROR, Check
from maven_channel_wecom.protocol import envelope, limits
from maven_channel_wecom.server.messages import error_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.config import WeComConfig

_BOM: Final = b"\xef\xbb\xbf"
_OK: Final = 200
_REDIRECTS: Final = range(300, 400)
_OWN_STATUSES: Final = frozenset({400, 401, 404, 503})

POST_BYTES: Final = 32 * 1024
"""Size of the body of the POST, larger than most callbacks. Lower: a proxy that refuses long callbacks is not found."""

# The lengths in WeCom's samples.
_ECHO_DIGITS: Final = 19
_NONCE_DIGITS: Final = 10

NoAnswerReason = Literal["name", "refused", "unreachable", "timeout", "certificate", "tls", "broken", "not_http"]

_NO_ANSWER: Final[dict[NoAnswerReason, str]] = {
    "name": "the name cannot be resolved: check its DNS entry",
    "refused": "the connection is refused: nothing listens there, or a firewall rejects it",
    "unreachable": "no connection can be made: check the address, the route and the firewall",
    "timeout": "no complete answer came within {seconds:g} s: check the firewall and what is in front of the gateway",
    "certificate": "TLS: {certificate}",
    "tls": "TLS: the handshake failed; check that the port speaks TLS 1.2 or newer",
    "broken": "the connection was cut off before the answer was complete: check what is in front of the gateway",
    "not_http": "the program that answers there does not speak HTTP",
}

# By OpenSSL's error codes of X.509 verification.
_CERTIFICATES: Final = {
    9: "the certificate is not valid yet: check it and this machine's clock",
    10: "the certificate has expired: renew it",
    18: "the certificate is self-signed: use one from a public authority",
    19: "the certificate comes from an authority that is not public: use a public one",
    20: "the authority of the certificate is unknown: it is not public, or the server omits the intermediate"
    " certificate (serve the full chain)",
    21: "the server omits the intermediate certificate: serve the full chain",
    62: "the certificate is for another name: use one for the name in the URL",
    64: "the certificate is not for this IP address: use a name, and a certificate for it",
}

# The channel's own answers.
_OWN: Final = {
    400: "400: the token matches but EncodingAESKey or receiveId does not, or something in front of the gateway changes"
    " the query; compare them, and restart the gateway if they were changed after its start",
    401: "401: the program that answers has a different token, or something in front of the gateway changes the query:"
    " compare the token, and restart the gateway if it was changed after its start",
    404: "404: the path differs; this channel answers only at {path}, so make the URL end in it, or make whatever is in"
    " front of the gateway forward to it",
    503: "503: the gateway is stopping or overloaded: try again",
}
_OWN_KEY_DIFFERS: Final = (
    "400: the token matches but EncodingAESKey or receiveId does not: compare them, and restart the gateway if they"
    " were changed after its start"
)
_OWN_QUERY_LOST: Final = (
    "400: the query does not arrive as it was sent: make whatever is in front of the gateway pass it on unchanged"
)

# Answers of something else.
_FOREIGN: Final = {
    400: "400: something in front of the gateway refuses the request: look at its log",
    401: "401: something in front of the gateway asks for a login, or replaces the gateway's own answers: exempt this"
    " path from it",
    403: "403: something in front of the gateway refuses the request, such as a firewall or an address list",
    404: "404: the path differs, or another program answers; this channel answers only at {path}, so make the URL end"
    " in it, or make whatever is in front of the gateway forward to it",
    405: "405: {method} is not allowed, so something other than the gateway answers: let GET and POST through (nginx:"
    " limit_except)",
    413: "413: something in front of the gateway refuses a body of {kib} KiB: raise its limit to 1 MiB (nginx:"
    " client_max_body_size 1m)",
    502: "502: a proxy in front cannot reach the gateway: check where it forwards to, and whether the gateway runs",
    503: "503: a proxy in front cannot reach the gateway: check where it forwards to, and whether the gateway runs",
    504: "504: a proxy in front gets no answer from the gateway in time",
}
_OTHER_STATUS: Final = "{status}: something in front of the gateway answers, not the gateway: look at its log"
_USER_AGENT: Final = (
    "{status}: something in front of the gateway refuses the User-Agent of WeCom, Mozilla/4.0, and accepts that of a"
    " browser: exempt this path from the rule"
)


class UrlCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The request of one URL check: the percent-encoded query, and the text that must come back."""

    query: str
    echo: bytes

    def __repr__(self) -> str:
        return "<UrlCheck>"


class RefusedPost(msgspec.Struct, frozen=True, kw_only=True):
    """A request like a callback, with a wrong signature: the percent-encoded query, and the body."""

    query: str
    body: bytes


class UrlCheckAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer, with at least the beginning of its body.

    `location` is the target of a redirect. `skew_seconds` is how far `Date` was ahead of this machine's clock, None
    without a usable `Date`. `address` is the IP address that answered.
    """

    status: int
    body: bytes = b""
    seconds: float = 0.0
    html: bool = False
    wants_login: bool = False
    location: str = ""
    skew_seconds: float | None = None
    address: str = ""

    def __repr__(self) -> str:
        return f"<UrlCheckAnswer {self.status}, {len(self.body)} bytes>"


class NoAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Why no answer arrived.

    `certificate` is OpenSSL's verification error if that is the reason. `address` is the last IP address that was
    tried, empty if there was none.
    """

    reason: NoAnswerReason
    seconds: float = 0.0
    certificate: int = 0
    address: str = ""


def seal_check(config: WeComConfig, *, timestamp: int, random: Callable[[int], bytes]) -> UrlCheck:
    """Seal a URL check with the current credentials. `timestamp` is in seconds, `random(n)` returns n bytes."""
    # https://developer.work.weixin.qq.com/document/path/101033
    echo = _digits(random, _ECHO_DIGITS).encode()
    nonce = _digits(random, _NONCE_DIGITS)
    sealed = envelope.seal(
        config.credentials[0],
        echo,
        receive_id=config.receive_id,
        timestamp=timestamp,
        nonce=nonce,
        random=random(limits.FRAME_RANDOM_BYTES),
    )
    query = {
        "msg_signature": sealed.msgsignature,
        "timestamp": str(timestamp),
        "nonce": nonce,
        "echostr": sealed.encrypt,
    }
    return UrlCheck(query=urlencode(query), echo=echo)


def make_refused_post(*, timestamp: int, random: Callable[[int], bytes]) -> RefusedPost:
    """Return a POST that the channel must refuse. The arguments are those of `seal_check`."""
    query = {
        "msg_signature": random(20).hex(),
        "timestamp": str(timestamp),
        "nonce": _digits(random, _NONCE_DIGITS),
    }
    sealed = base64.b64encode(random(POST_BYTES * 3 // 4))
    return RefusedPost(query=urlencode(query), body=b'{"encrypt":"%b"}' % sealed)


def is_right(answer: UrlCheckAnswer | NoAnswer, echo: bytes) -> bool:
    """Return whether an answer to a URL check is the right text, however late."""
    return isinstance(answer, UrlCheckAnswer) and (answer.status, answer.body) == (_OK, echo)


def is_own_error(answer: UrlCheckAnswer | NoAnswer, *statuses: int) -> bool:
    """Return whether the channel itself answered with an error, of one of `statuses` if there are any.

    The body of its error answers depends on the status alone. A proxy's own page has another one.
    """
    if isinstance(answer, NoAnswer) or answer.status not in (statuses or _OWN_STATUSES):
        return False
    return answer.body == error_answer(answer.status).body


def judge_url_check(
    name: str,
    channel: str,
    echo: bytes,
    answer: UrlCheckAnswer | NoAnswer,
    *,
    path: str,
    post: UrlCheckAnswer | NoAnswer | None = None,
    browser: UrlCheckAnswer | NoAnswer | None = None,
) -> Check:
    """Judge the answers to a URL check and to a POST.

    Args:
        name: the name of the check.
        channel: the channel that should answer.
        echo: the right text.
        answer: the answer to the URL check.
        path: the only path that the channel serves.
        post: the answer to a RefusedPost, if it was sent.
        browser: the answer to the same URL check with the User-Agent of a browser, if it was sent.
    """
    if isinstance(answer, NoAnswer):
        problem = _no_answer(answer)
    elif browser is not None and is_right(browser, echo):
        problem = _USER_AGENT.format(status=answer.status)
    elif is_own_error(answer, 400) and post is not None and is_own_error(post, 400, 401):
        # The wrong signature was read from the query of the POST, or it was not.
        problem = _OWN_KEY_DIFFERS if is_own_error(post, 401) else _OWN_QUERY_LOST
    else:
        problem = _problem(answer, echo, path)
        if not problem and post is not None:
            problem = _post_problem(post, path)
    if problem:
        return Check(name=name, channel=channel, outcome="fail", detail=f"{problem} ({CONSOLE_ERROR})")
    detail = f"the right text came back in {answer.seconds * 1000:.0f} ms"
    return Check(name=name, channel=channel, outcome="ok", detail=detail)


def _post_problem(answer: UrlCheckAnswer | NoAnswer, path: str) -> str:
    """Return what is wrong with the answer to a RefusedPost, empty if nothing is."""
    if is_own_error(answer, 401):
        return ""
    if isinstance(answer, NoAnswer):
        problem = _no_answer(answer)
    elif is_own_error(answer, 400):
        problem = (
            "400: the query or the body does not arrive as it was sent: look at whatever is in front of the gateway"
        )
    else:
        problem = _status_problem(answer, path, method="POST")
    return f"the URL check passes, but callbacks, which are POSTs, do not: {problem}"


def _no_answer(failure: NoAnswer) -> str:
    certificate = _CERTIFICATES.get(failure.certificate, "the certificate is not one that WeCom would trust")
    return _NO_ANSWER[failure.reason].format(seconds=failure.seconds, certificate=certificate)


def _problem(answer: UrlCheckAnswer, echo: bytes, path: str) -> str:
    """Return what is wrong with an answer, empty if nothing is."""
    if answer.status != _OK:
        return _status_problem(answer, path)
    if answer.body != echo:
        return _text_problem(answer, echo)
    if answer.seconds > limits.URL_CHECK_SECONDS:
        return (
            f"the right text came back in {answer.seconds:.1f} s, but WeCom waits only {limits.URL_CHECK_SECONDS} s:"
            " check the network on the way to the gateway and its load"
        )
    return ""


def _status_problem(answer: UrlCheckAnswer, path: str, *, method: str = "GET") -> str:
    if answer.status in _REDIRECTS:
        return f"{answer.status}: it redirects to {_where(answer.location)}, and WeCom does not follow: enter that URL"
    if answer.wants_login:
        return f"{answer.status}: something in front of the gateway asks for a login: exempt this path from it"
    sentences = _OWN if is_own_error(answer) else _FOREIGN
    sentence = sentences.get(answer.status, _OTHER_STATUS)
    # The path may contain braces.
    return (
        sentence.replace("{status}", str(answer.status))
        .replace("{method}", method)
        .replace("{kib}", str(POST_BYTES // 1024))
        .replace("{path}", path)
    )


def _text_problem(answer: UrlCheckAnswer, echo: bytes) -> str:
    bare = answer.body.removeprefix(_BOM).strip()
    if bare == echo:
        return "the right text has a space, a line end or a byte order mark around it: something in front adds it"
    if bare.strip(b"\"'") == echo:
        return "the right text is in quotes: something in front turns it into JSON"
    if answer.html or bare.startswith(b"<"):
        return "a web page came back: a login page, a firewall's warning, or another program instead of the gateway"
    if echo in answer.body:
        return "the right text has other text around it: something in front rewrites the answer"
    if not answer.body:
        return "an empty answer came back: something in front answers instead of the gateway"
    return "another text came back: another program answers, or something in front rewrites the answer"


def _where(location: str) -> str:
    """Return the target of a redirect without user and query: the query may be ours, with its signature."""
    try:
        parts = urlsplit(location)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "an invalid URL"
    if not host:
        return f"{parts.path or '/'} of the same host"
    return f"{parts.scheme or 'the same scheme'}://{host}{f':{port}' if port else ''}{parts.path}"


def _digits(random: Callable[[int], bytes], count: int) -> str:
    return str(int.from_bytes(random(16), "big") % 10**count).zfill(count)
