"""The URL check as WeCom's console makes it: the request sealed, and the answer judged. Nothing here sends anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlencode, urlsplit

import msgspec

from maven_channel_wecom.doctor.checks import CONSOLE, Check
from maven_channel_wecom.protocol import envelope, limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.config import WeComConfig

_BOM: Final = b"\xef\xbb\xbf"
_OK: Final = 200
_REDIRECTS: Final = range(300, 400)

# As long as the samples of WeCom.
_ECHO_DIGITS: Final = 19
_NONCE_DIGITS: Final = 10

NoAnswerReason = Literal["name", "refused", "unreachable", "timeout", "certificate", "tls", "broken", "not_http"]

_NO_ANSWER: Final[dict[NoAnswerReason, str]] = {
    "name": "the name cannot be resolved: look at its DNS entry",
    "refused": "the connection is refused: nobody listens there, or a firewall says no",
    "unreachable": "no connection can be made: look at the address, the route and the firewall",
    "timeout": "no complete answer came in {seconds:g} s: look at the firewall, and at what is in front of the gateway",
    "certificate": "TLS: {certificate}",
    "tls": "TLS: the handshake failed; does this port speak TLS at all, and a version of it that is not out of date?",
    "broken": "the connection broke off before the answer was complete: look at what lies in front of the gateway",
    "not_http": "what answers there does not speak HTTP",
}

# By the error codes of X.509 verification in OpenSSL.
_CERTIFICATES: Final = {
    9: "the certificate is not valid yet: look at it, and at this machine's clock",
    10: "the certificate has expired: renew it",
    18: "the certificate is signed by itself: use one of a public authority",
    19: "the certificate comes from an authority that is not public: use one that is",
    20: "the authority of the certificate is unknown: it is not public, or the server leaves out the intermediate"
    " certificate (serve the full chain)",
    21: "the server leaves out the intermediate certificate: serve the full chain",
    62: "the certificate is for another name: use one for the name in the URL",
    64: "the certificate is not for this IP address: use a name, and a certificate for it",
}

_STATUSES: Final = {
    400: "400: the token fits and EncodingAESKey or receiveId does not, or something in front of the gateway rewrites"
    " the query; compare them, and restart a gateway that was started before they were changed",
    401: "401: whoever answers has another token: compare it, and restart a gateway started before it was changed",
    403: "403: something in front of the gateway refuses, such as a firewall or a list of addresses",
    404: "404: the path differs, or another program answers; this channel answers to {path} alone, so make the URL"
    " end in it, or whatever is in front of the gateway lead there",
    405: "405: no GET is taken there, so it is not the gateway that answers: let GET and POST through",
    502: "502: a proxy in front does not reach the gateway: look at where it leads, and whether the gateway runs",
    503: "503: the gateway is being stopped or has too much to do, or a proxy in front does not reach it: try again",
    504: "504: a proxy in front gets no answer of the gateway in time",
}


class UrlCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One check: the percent-encoded query, and the text that must come back."""

    query: str
    echo: bytes

    def __repr__(self) -> str:
        return "<UrlCheck>"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer, at least its beginning.

    `location` is where a redirect leads. `skew_seconds` is how far its `Date` was ahead of our clock, None without one.
    `address` is the one it came from.
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
        return f"<Answer {self.status}, {len(self.body)} bytes>"


class NoAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Why there was none. `certificate` is the verification error of OpenSSL, for the reason of that name."""

    reason: NoAnswerReason
    seconds: float = 0.0
    certificate: int = 0


def seal_check(config: WeComConfig, *, timestamp: int, random: Callable[[int], bytes]) -> UrlCheck:
    """Seal a check with the current credentials; `timestamp` in seconds, `random` gives as many bytes as asked."""
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


def judge_url_check(name: str, channel: str, echo: bytes, seen: Answer | NoAnswer, *, path: str) -> Check:
    """Judge what came back to a check. `path` is the one the channel answers to."""
    problem = _no_answer(seen) if isinstance(seen, NoAnswer) else _problem(seen, echo, path)
    if problem:
        return Check(name=name, channel=channel, outcome="fail", detail=f"{problem} ({CONSOLE})")
    detail = f"the right text came back in {seen.seconds * 1000:.0f} ms"
    return Check(name=name, channel=channel, outcome="ok", detail=detail)


def _no_answer(seen: NoAnswer) -> str:
    certificate = _CERTIFICATES.get(seen.certificate, "the certificate is not one that WeCom would trust")
    return _NO_ANSWER[seen.reason].format(seconds=seen.seconds, certificate=certificate)


def _problem(answer: Answer, echo: bytes, path: str) -> str:
    """Return what is wrong with an answer, empty when nothing is."""
    if answer.status != _OK:
        return _status_problem(answer, path)
    if answer.body != echo:
        return _text_problem(answer, echo)
    if answer.seconds > limits.URL_CHECK_SECONDS:
        return (
            f"the right text came back in {answer.seconds:.1f} s, and WeCom waits {limits.URL_CHECK_SECONDS} s:"
            " look at the way to the gateway and at its load"
        )
    return ""


def _status_problem(answer: Answer, path: str) -> str:
    if answer.status in _REDIRECTS:
        return f"{answer.status}: it redirects to {_host(answer.location)}, and WeCom does not follow: enter that URL"
    if answer.wants_login:
        return f"{answer.status}: something in front of the gateway asks for a login: leave this path out of it"
    if answer.status in _STATUSES:
        return _STATUSES[answer.status].replace("{path}", path)
    return f"{answer.status}: not the gateway answers but something in front of it: look at its log"


def _text_problem(answer: Answer, echo: bytes) -> str:
    bare = answer.body.removeprefix(_BOM).strip()
    if bare == echo:
        return "the right text has a space, a line end or a byte order mark around it: something in front adds it"
    if bare.strip(b"\"'") == echo:
        return "the right text stands in quotes: something in front makes JSON of it"
    if answer.html or bare.startswith(b"<"):
        return "a web page came back: a login page, a firewall's warning, or another program in place of the gateway"
    if echo in answer.body:
        return "the right text has other text around it: something in front rewrites the answer"
    if not answer.body:
        return "an empty answer came back: something in front answers in place of the gateway"
    return "another text came back: another program answers, or something in front rewrites the answer"


def _host(location: str) -> str:
    """Return the host of a redirect and no more of it: what follows may hold what was asked."""
    try:
        host = urlsplit(location).hostname
    except ValueError:
        host = None
    return host or "another path of the same host"


def _digits(random: Callable[[int], bytes], count: int) -> str:
    return str(int.from_bytes(random(16), "big") % 10**count).zfill(count)
