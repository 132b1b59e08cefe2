"""What a failed exchange means: surely not sent, or sent with the answer lost. One table, for replies and media."""

from __future__ import annotations

import errno
import ssl
from typing import Final

import aiohttp

from maven_channel_wecom.errors import AnswerLost, RequestNotSent

_NOT_SENT: Final = {
    "connect": "the connection could not be made",
    "dns": "the name of the host could not be resolved",
    "tls": "the host could not prove who it is, or the TLS handshake failed",
    "proxy": "the proxy could not be reached, or refused; check its address, user and password",
    "forbidden_address": "the address is not public; set allowPrivateNetwork if it is meant",
    "bad_url": "the URL is not a plain http or https URL",
    "connect_timeout": "the connection was not made in time",
}
_LOST: Final = {
    "timeout": "no complete answer came in time",
    "reset": "the connection broke before the answer was complete",
}

NOT_SENT_REASONS: Final = tuple(_NOT_SENT)
LOST_REASONS: Final = tuple(_LOST)


class ForbiddenAddress(OSError):
    """An address that is not public. Without an errno, aiohttp would report `[None]`."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "the address is not public")


class NameUnresolved(OSError):
    """The resolver gave no address."""

    def __init__(self) -> None:
        super().__init__(errno.EADDRNOTAVAIL, "the name could not be resolved")


class ProxyUnusable(OSError):
    """The SOCKS proxy cannot be reached, or refuses."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNREFUSED, "the proxy could not be used")


def not_sent(reason: str) -> RequestNotSent:
    """Return the error for a request that never left, one of `NOT_SENT_REASONS`."""
    return RequestNotSent(_NOT_SENT[reason], reason=reason)


def lost(reason: str) -> AnswerLost:
    """Return the error for a request that left, one of `LOST_REASONS`."""
    return AnswerLost(_LOST[reason], reason=reason)


def not_sent_reason(error: BaseException, *, http_proxy: tuple[str, int] | None) -> str:
    """Tell which step failed before any byte of the request was written.

    Args:
        error: what aiohttp or the standard library raised.
        http_proxy: host and port of the http or https proxy on the way, whose failures are told apart from the host's.
    """
    if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError):
        at_proxy = isinstance(error, aiohttp.ClientSSLError) and (error.host, error.port) == http_proxy
        return "proxy" if at_proxy else "tls"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ForbiddenAddress):
        return "forbidden_address"
    if isinstance(error, TimeoutError):
        return "connect_timeout"
    if isinstance(error, ValueError):
        return "bad_url"
    if http_proxy is not None or isinstance(cause, ProxyUnusable):
        return "proxy"
    return "dns" if isinstance(cause, NameUnresolved) else "connect"
