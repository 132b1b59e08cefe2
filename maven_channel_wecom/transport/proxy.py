"""Checks the setting `proxy`, without connecting to the proxy and without the extra `socks`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from yarl import URL

from maven_channel_wecom.errors import ConfigError

SOCKS_SCHEMES: Final = frozenset({"socks5", "socks5h"})
SOCKS_PORT: Final = 1080  # RFC 1928

_SCHEMES: Final = frozenset({"http", "https"}) | SOCKS_SCHEMES
_CREDENTIAL_BYTES: Final = 255  # RFC 1929


def proxy_problem(proxy: str) -> str | None:
    """Return what is wrong with a proxy's URL, to be appended to the name of its key, or None if the URL is usable.

    The text contains no part of the URL.
    """
    try:
        url = URL(proxy)
    except (ValueError, IndexError):  # yarl raises an IndexError for `[::1]@`
        return "is not a URL with a port from 1 to 65535; a user or password with :/?#[]@ must be percent-encoded"
    return _address_problem(url) or _credentials_problem(url) or _socks_problem(url)


def read_proxy(proxy: str) -> URL:
    """Return the parsed URL of a proxy, with its credentials.

    Raises:
        ConfigError: the proxy is not usable.
    """
    problem = proxy_problem(proxy)
    if problem is not None:
        raise ConfigError([f"proxy {problem}"])
    return URL(proxy)


def _address_problem(url: URL) -> str | None:
    if url.scheme not in _SCHEMES:
        return "must start with http://, https://, socks5:// or socks5h://"
    if not url.raw_host:
        return "has no host"
    return "has no port from 1 to 65535" if url.explicit_port == 0 else None


def _credentials_problem(url: URL) -> str | None:
    if any(not part.isascii() or len(part) > _CREDENTIAL_BYTES for part in (url.user or "", url.password or "")):
        return f"has a user or password that is not ASCII or longer than {_CREDENTIAL_BYTES} characters"
    return None


def _socks_problem(url: URL) -> str | None:
    if url.scheme not in SOCKS_SCHEMES:
        return None
    if bool(url.user) != bool(url.password):
        return "has a user without a password, or the reverse; SOCKS requires both or neither"
    if find_spec("aiohttp_socks") is None:
        return "is a SOCKS proxy, which needs one more package: pip install 'aiohttp-socks>=0.10.1,<0.13'"
    return None
