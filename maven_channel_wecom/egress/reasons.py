"""The errors for failed requests: certainly not sent, or sent with the answer lost. Each reason has a sentence."""

from __future__ import annotations

import errno
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp

from maven_channel_wecom.errors import AnswerLost, RequestNotSent

if TYPE_CHECKING:
    from maven_channel_wecom.errors import LostReason, NotSentReason

NOT_SENT: Final[dict[NotSentReason, str]] = {
    "connect": "the connection could not be made",
    "connect_timeout": "the connection was not made in time",
    "dns": "the name of the host could not be resolved",
    "tls": "the certificate of the host could not be verified, or the TLS handshake failed",
    "proxy": "the proxy refused or could not be reached; check its address, certificate, user and password",
    "forbidden_address": "the address is not public; set allowPrivateNetwork if that is intended",
    "bad_url": "the URL is not a plain http or https URL",
}
LOST: Final[dict[LostReason, str]] = {
    "timeout": "no complete answer arrived in time",
    "reset": "the connection broke before the answer was complete",
}


class ForbiddenAddress(OSError):
    """Raised for an address that is not public. It has an errno because aiohttp would report `[None]` without one."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "the address is not public")


class NameUnresolved(OSError):
    """Raised when the resolver finds no address for a name."""

    def __init__(self) -> None:
        super().__init__(errno.EADDRNOTAVAIL, "the name could not be resolved")


class ProxyUnusable(OSError):
    """Raised when the SOCKS proxy cannot be reached, or refuses."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNREFUSED, "the proxy could not be used")


def not_sent(reason: NotSentReason) -> RequestNotSent:
    """Return the error for a request that certainly did not leave this machine."""
    return RequestNotSent(NOT_SENT[reason], reason=reason)


def lost(reason: LostReason) -> AnswerLost:
    """Return the error for a request that left, or may have left, and has no complete answer."""
    return AnswerLost(LOST[reason], reason=reason)


def not_sent_reason(error: BaseException, *, http_proxy: tuple[str, int] | None) -> NotSentReason:
    """Return the reason why no connection was made.

    Args:
        error: what aiohttp or the standard library raised.
        http_proxy: host and port of the http or https proxy, to distinguish its failures from those of the host.
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
