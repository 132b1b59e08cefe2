"""The URL check of WeCom's console: seals its request and judges the answer. Sending it is left to `probing`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlencode, urlsplit

import msgspec

from maven_channel_wecom.doctor.checks import CONSOLE_ERROR, Check
from maven_channel_wecom.protocol import envelope, limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.config import WeComConfig

_BOM: Final = b"\xef\xbb\xbf"
_OK: Final = 200
_REDIRECTS: Final = range(300, 400)

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

_STATUSES: Final = {
    400: "400: the token matches but EncodingAESKey or receiveId does not, or something in front of the gateway changes"
    " the query; compare them, and restart the gateway if they were changed after its start",
    401: "401: the program that answers has a different token: compare it, and restart the gateway if it was changed"
    " after its start",
    403: "403: something in front of the gateway refuses the request, such as a firewall or an address list",
    404: "404: the path differs, or another program answers; this channel answers only at {path}, so make the URL end"
    " in it, or make whatever is in front of the gateway forward to it",
    405: "405: GET is not allowed, so something other than the gateway answers: let GET and POST through",
    502: "502: a proxy in front cannot reach the gateway: check where it forwards to, and whether the gateway runs",
    503: "503: the gateway is stopping or overloaded, or a proxy in front cannot reach it: try again",
    504: "504: a proxy in front gets no answer from the gateway in time",
}


class UrlCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The request of one URL check: the percent-encoded query, and the text that must come back."""

    query: str
    echo: bytes

    def __repr__(self) -> str:
        return "<UrlCheck>"


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
    """Why no answer arrived. `certificate` is OpenSSL's verification error if that is the reason."""

    reason: NoAnswerReason
    seconds: float = 0.0
    certificate: int = 0


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


def judge_url_check(name: str, channel: str, echo: bytes, answer: UrlCheckAnswer | NoAnswer, *, path: str) -> Check:
    """Judge the answer to a URL check. `echo` is the right text, `path` the only one that the channel serves."""
    problem = _no_answer(answer) if isinstance(answer, NoAnswer) else _problem(answer, echo, path)
    if problem:
        return Check(name=name, channel=channel, outcome="fail", detail=f"{problem} ({CONSOLE_ERROR})")
    detail = f"the right text came back in {answer.seconds * 1000:.0f} ms"
    return Check(name=name, channel=channel, outcome="ok", detail=detail)


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


def _status_problem(answer: UrlCheckAnswer, path: str) -> str:
    if answer.status in _REDIRECTS:
        return f"{answer.status}: it redirects to {_host(answer.location)}, and WeCom does not follow: enter that URL"
    if answer.wants_login:
        return f"{answer.status}: something in front of the gateway asks for a login: exempt this path from it"
    if answer.status in _STATUSES:
        return _STATUSES[answer.status].replace("{path}", path)
    return f"{answer.status}: something in front of the gateway answers, not the gateway: look at its log"


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


def _host(location: str) -> str:
    """Return only the host of a redirect, as the rest of the URL may repeat the query."""
    try:
        host = urlsplit(location).hostname
    except ValueError:
        host = None
    return host or "another path of the same host"


def _digits(random: Callable[[int], bytes], count: int) -> str:
    return str(int.from_bytes(random(16), "big") % 10**count).zfill(count)
