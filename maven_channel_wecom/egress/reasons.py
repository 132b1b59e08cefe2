"""The errors for failed requests: certainly not sent, or sent with the answer lost. Each cause has a sentence."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp

from maven_channel_wecom.errors import AnswerLost, RequestNotSent
from maven_channel_wecom.transport.proxy_failures import PROXY, proxy_failure

if TYPE_CHECKING:
    from yarl import URL

    from maven_channel_wecom.errors import LostReason, NotSentReason
    from maven_channel_wecom.transport.proxy_failures import ProxyFailure

NOT_SENT: Final[dict[NotSentReason, str]] = {
    "connect": "the connection could not be made",
    "connect_timeout": "the connection was not made in time",
    "dns": "the name of the host could not be resolved",
    "tls": "the certificate of the host could not be verified, or the TLS handshake failed",
    "proxy": "the proxy could not be used",
    "forbidden_address": "the address is not public; set allowPrivateNetwork if that is intended. A local proxy that"
    " answers names with addresses of 198.18.0.0/15 is no such case: set proxy to its port",
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


class NameUnresolved(socket.gaierror):
    """Raised when the resolver finds no address for a name."""

    def __init__(self) -> None:
        super().__init__(socket.EAI_NONAME, "the name could not be resolved")


def not_sent(reason: NotSentReason) -> RequestNotSent:
    """Return the error for a request that certainly did not leave this machine."""
    return RequestNotSent(NOT_SENT[reason], reason=reason)


def proxy_unusable(failure: ProxyFailure) -> RequestNotSent:
    """Return the error for a request that did not pass the proxy; the reason is `connect_timeout` if it was slow."""
    return RequestNotSent(PROXY[failure], reason="connect_timeout" if failure == "slow_socks" else "proxy")


def lost(reason: LostReason) -> AnswerLost:
    """Return the error for a request that left, or may have left, and has no complete answer."""
    return AnswerLost(LOST[reason], reason=reason)


def not_connected(error: BaseException, *, proxy: URL | None) -> RequestNotSent:
    """Return the error for a request without a connection.

    Args:
        error: what aiohttp or the standard library raised.
        proxy: the proxy, to distinguish its failures from those of the host.
    """
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    failure = None if proxy is None else proxy_failure(error, proxy)
    return not_sent(_reason(error, cause)) if failure is None else proxy_unusable(failure)


def _reason(error: BaseException, cause: BaseException) -> NotSentReason:
    if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError):
        return "tls"
    if isinstance(cause, ForbiddenAddress):
        return "forbidden_address"
    if isinstance(error, TimeoutError):
        return "connect_timeout"
    if isinstance(error, ValueError):
        return "bad_url"
    return "dns" if isinstance(cause, NameUnresolved) else "connect"
