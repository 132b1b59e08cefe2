"""The errors for failed requests: certainly not sent, or sent with the answer lost. Each cause has a sentence."""

from __future__ import annotations

import errno
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

import aiohttp

from maven_channel_wecom.egress.proxy import SOCKS_SCHEMES
from maven_channel_wecom.errors import AnswerLost, RequestNotSent

if TYPE_CHECKING:
    from yarl import URL

    from maven_channel_wecom.errors import LostReason, NotSentReason

ProxyFailure = Literal[
    "unresolved", "unreachable", "certificate", "tls", "credentials", "refused", "not_http", "not_socks", "slow_socks"
]
"""Why a proxy could not be used. The reason of the RequestNotSent is `proxy`, or `connect_timeout` if it was slow."""

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
PROXY: Final[dict[ProxyFailure, str]] = {
    "unresolved": "the name of the proxy could not be resolved: correct it, or check the name server",
    "unreachable": "no connection to the proxy could be made: start it, or correct its address",
    "certificate": "this machine does not trust the certificate of the proxy: renew it, or install its authority",
    "tls": "the TLS handshake with the proxy failed: if the proxy does not speak TLS, write http:// instead of https://",
    "credentials": "the proxy refused the user or the password: correct them",
    "refused": "the proxy refused to connect to the host, or could not: look in its log",
    "not_http": "the proxy did not answer in HTTP: if it is a SOCKS proxy, write socks5:// or socks5h://",
    "not_socks": "the proxy did not answer in SOCKS 5: if it is an http proxy, write http://",
    "slow_socks": "no connection was made through the proxy in time: if it is an http proxy, write http://",
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

    def __init__(self, failure: ProxyFailure) -> None:
        super().__init__(errno.ECONNREFUSED, "the proxy could not be used")
        self.failure = failure


def not_sent(reason: NotSentReason) -> RequestNotSent:
    """Return the error for a request that certainly did not leave this machine."""
    return RequestNotSent(NOT_SENT[reason], reason=reason)


def proxy_unusable(failure: ProxyFailure) -> RequestNotSent:
    """Return the error for a request that certainly did not pass the proxy."""
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
    failure = None if proxy is None else _proxy_failure(error, cause, proxy)
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


def _proxy_failure(error: BaseException, cause: BaseException, proxy: URL) -> ProxyFailure | None:
    """Return why the proxy could not be used, or None if it is not the cause."""
    if isinstance(cause, ProxyUnusable):
        return cause.failure
    if isinstance(error, aiohttp.ClientSSLError) and (error.host, error.port) == (proxy.raw_host, proxy.port):
        return "certificate" if isinstance(error, aiohttp.ClientConnectorCertificateError) else "tls"
    if proxy.scheme in SOCKS_SCHEMES:
        return "slow_socks" if isinstance(error, TimeoutError) else None
    return None if _reason(error, cause) not in {"dns", "connect"} else _http_proxy_failure(error, cause)


def _http_proxy_failure(error: BaseException, cause: BaseException) -> ProxyFailure:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return "credentials" if error.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED else "refused"
    if isinstance(cause, NameUnresolved):
        return "unresolved"
    return "unreachable" if isinstance(error, aiohttp.ClientConnectorError) else "not_http"
