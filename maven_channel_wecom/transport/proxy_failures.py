"""Why a proxy could not be used: a word, a sentence for the operator, and how it is found in an error of aiohttp."""

from __future__ import annotations

import errno
import socket
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

import aiohttp

from maven_channel_wecom.transport.proxy import SOCKS_SCHEMES

if TYPE_CHECKING:
    from yarl import URL

ProxyFailure = Literal[
    "unresolved", "unreachable", "certificate", "tls", "credentials", "refused", "not_http", "not_socks", "slow_socks"
]
"""Why a proxy could not be used."""

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


class ProxyUnusable(OSError):
    """Raised when the SOCKS proxy cannot be reached, or refuses."""

    def __init__(self, failure: ProxyFailure) -> None:
        super().__init__(errno.ECONNREFUSED, "the proxy could not be used")
        self.failure = failure


def proxy_failure(error: BaseException, proxy: URL) -> ProxyFailure | None:
    """Return why a request got no connection through a proxy, or None if the proxy is not the cause.

    `error` is what aiohttp or the standard library raised.
    """
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ProxyUnusable):
        return cause.failure
    if isinstance(error, aiohttp.ClientSSLError) and (error.host, error.port) == (proxy.raw_host, proxy.port):
        return "certificate" if isinstance(error, aiohttp.ClientConnectorCertificateError) else "tls"
    if proxy.scheme in SOCKS_SCHEMES:
        return "slow_socks" if isinstance(error, TimeoutError) else None
    if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError | TimeoutError | ValueError):
        return None
    return _http_proxy_failure(error, cause)


def _http_proxy_failure(error: BaseException, cause: BaseException) -> ProxyFailure:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return "credentials" if error.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED else "refused"
    if isinstance(cause, socket.gaierror):
        return "unresolved"
    return "unreachable" if isinstance(error, aiohttp.ClientConnectorError) else "not_http"
