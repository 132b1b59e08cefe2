"""Addresses of the Redis backend and the key prefix of a channel. It does not need the redis package."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

SCHEMES: Final = ("redis", "rediss")
_PORT: Final = 6379

# PEM files of a private certificate authority and a client certificate, named as in redis-py.
_TLS_OPTIONS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})


class RedisAddress(msgspec.Struct, frozen=True):
    """Location and credentials of a Redis. `options` maps redis-py's names of TLS options to files."""

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
    """Return the prefix of all keys of a channel, which no key of another channel has.

    The channel's name is in braces: a hash tag, which keeps its keys in one slot of a cluster. A closing brace in the
    name is escaped, since it would end the tag early and the remainder could match a key of another channel.
    """
    name = channel.replace("%", "%25").replace("}", "%7D")
    return f"maven-wecom:{{{name}}}:"


TOPOLOGY_PROBLEM: Final = (
    "names a Redis Sentinel or Cluster, for which there is no client: write redis://HOST with the primary, or with an "
    "endpoint outside a cluster"
)


def is_topology(address: str) -> bool:
    """Return whether an address is one of Sentinel or Cluster, as other programs write them."""
    scheme, separator, rest = address.partition("://")
    if is_redis(address):
        # Several hosts.
        return "," in rest.partition("/")[0].rpartition("@")[2]
    return bool(separator) and any(name in scheme.lower() for name in ("sentinel", "cluster"))


def is_redis(address: str) -> bool:
    """Return whether an address belongs to this backend."""
    return address.partition("://")[0] in SCHEMES


def redis_address_problem(address: str) -> str | None:
    """Return what is wrong with an address, without quoting it, or that a package is missing; None if it is valid."""
    if find_spec("redis") is None or find_spec("hiredis") is None:
        return "is Redis, which needs one more package: pip install 'redis[hiredis]>=6.0'"
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
        return "must end with the host and port, or with the number of a database"
    return _options_problem(parts)


def _options_problem(parts: SplitResult) -> str | None:
    if parts.fragment:
        return "contains a #, which must be written as %23 in a user or password"
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if options and (parts.scheme != "rediss" or not options.keys() <= _TLS_OPTIONS):
        return f"may only have the options {', '.join(sorted(_TLS_OPTIONS))}, and these only with rediss://"
    return None


def parse_redis_address(address: str) -> RedisAddress:
    """Parse an address in which `redis_address_problem` finds no problem."""
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
