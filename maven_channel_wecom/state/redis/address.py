"""Addresses of the Redis backend and the keys of a channel there, without the redis package."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

SCHEMES: Final = ("redis", "rediss")
_PORT: Final = 6379

# Files of PEM for a private authority or client certificates; the names are redis-py's own.
_TLS_OPTIONS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})


class RedisAddress(msgspec.Struct, frozen=True):
    """Where a Redis is and how to log in. `options` are TLS files by redis-py's names."""

    host: str
    port: int
    database: int
    user: str | None
    password: str | None
    tls: bool
    options: dict[str, str]

    def __repr__(self) -> str:
        return "<RedisAddress>"


def key_prefix(channel: str) -> str:
    """Return the beginning of all keys of a channel, and of no other's.

    Its name is in braces, the tag that keeps it in one slot of a cluster. A closing brace in the name would end the tag
    and the name early, and the rest could be a message of the channel that is called by the beginning.
    """
    name = channel.replace("%", "%25").replace("}", "%7D")
    return f"maven-wecom:{{{name}}}:"


def is_redis(address: str) -> bool:
    """Return whether an address is meant for this backend."""
    return address.partition("://")[0] in SCHEMES


def redis_address_problem(address: str) -> str | None:
    """Return what is wrong with an address of this backend, without showing it; a missing package is a problem too."""
    if find_spec("redis") is None or find_spec("hiredis") is None:
        return "is Redis, which needs one more package: pip install 'maven-channel-wecom[redis]'"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return (
            "is not a Redis address: redis://[user:password@]host[:port][/database], or rediss:// for TLS; "
            "a user or password with :/?#[]@ must be percent-encoded"
        )
    if not parts.hostname:
        return "has no host: redis://[user:password@]host[:port][/database]"
    if port == 0:
        return "has no port from 1 to 65535"
    if not (parts.path.strip("/").isdecimal() or parts.path in {"", "/"}):
        return "must end in the number of a database, or in nothing"
    return _options_problem(parts)


def _options_problem(parts: SplitResult) -> str | None:
    if parts.fragment:
        return "holds a #, which must be written as %23 in a user or password"
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if options and (parts.scheme != "rediss" or not options.keys() <= _TLS_OPTIONS):
        return f"may have no other options than {', '.join(sorted(_TLS_OPTIONS))}, and these with rediss:// only"
    return None


def parse_redis_address(address: str) -> RedisAddress:
    """Take apart an address without problems."""
    parts = urlsplit(address)
    return RedisAddress(
        host=unquote(parts.hostname or ""),
        port=parts.port or _PORT,
        database=int(parts.path.strip("/") or 0),
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=parts.scheme == "rediss",
        options=dict(parse_qsl(parts.query)),
    )
