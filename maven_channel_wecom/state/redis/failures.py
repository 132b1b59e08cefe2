"""What goes wrong with Redis, as sentences: which error means what, and what to do about it.

The texts of Redis and redis-py are never shown: they may hold addresses, keys and users.
"""

from __future__ import annotations

import ssl
from typing import Final

from redis import exceptions

from maven_channel_wecom.errors import StateUnavailable

_UNREACHABLE: Final = "the Redis of the state cannot be reached; start it, or correct the address"
_SILENT: Final = "the Redis of the state does not answer in time"
_REFUSED_STEP: Final = "the Redis of the state refused a step; see its log"

_BY_CODE: Final = {
    "WRONGPASS": "the Redis of the state refuses the user or the password; correct the address",
    "NOAUTH": "the Redis of the state wants a password; add it to the address",
    "NOPERM": "the user of the state's Redis may not do all that is needed; give it +@all ~maven-wecom:*",
    "LOADING": "the Redis of the state is loading its data; wait until it has",
    "BUSY": "the Redis of the state is busy with a long script of somebody else",
    "READONLY": "the Redis of the state is a read-only replica; name the primary, or wait for the failover",
    "MASTERDOWN": "the Redis of the state has lost its primary; wait for the failover",
    "NOREPLICAS": "the Redis of the state has too few replicas of its own to accept writes",
    "MISCONF": "the Redis of the state cannot save to its disk and accepts no writes; see its log",
    "CLUSTERDOWN": "the Redis Cluster of the state is down",
    "MOVED": "the Redis of the state is a cluster node without this channel; name an endpoint outside a cluster",
    "ASK": "the Redis Cluster of the state is moving this channel; name an endpoint outside a cluster",
    "OOM": "the Redis of the state is full; raise its maxmemory",
}

# redis-py cuts the code off the texts of errors it has a class for. The more special classes come first.
_CODES_BY_CLASS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.MovedError, "MOVED"),
    (exceptions.AskError, "ASK"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
)


class ServerTooOld(Exception):
    """Redis before 7.0, which does not know what the scripts need."""


def unavailable(error: BaseException) -> StateUnavailable:
    """Return what our callers are told about an error of redis-py, or of the network below it."""
    code = _code(error)
    if code in _BY_CODE:
        return StateUnavailable(_BY_CODE[code], reason="state_full" if code == "OOM" else None)
    if isinstance(error, ServerTooOld):
        return StateUnavailable("the Redis of the state is too old; 7.0 or newer is needed")
    if isinstance(error, (TimeoutError, exceptions.TimeoutError)):
        return StateUnavailable(_SILENT)
    if isinstance(error.__context__, ssl.SSLError):
        return StateUnavailable("the Redis of the state shows no certificate that is trusted, or does not speak TLS")
    if isinstance(error, (OSError, exceptions.ConnectionError)):
        return StateUnavailable(_UNREACHABLE)
    return StateUnavailable(_REFUSED_STEP)


def is_lost_answer(error: BaseException) -> bool:
    """Tell whether the same step may do better on a new connection at once."""
    return isinstance(
        error, (OSError, TimeoutError, exceptions.ConnectionError, exceptions.TimeoutError)
    ) and not isinstance(error, (exceptions.AuthenticationError, exceptions.BusyLoadingError))


def concerns_everyone(error: BaseException) -> bool:
    """Tell whether an error answer is about the server, and not about one step alone.

    Full is full for one step: those that need no room go well.
    """
    return _code(error) in _BY_CODE and not isinstance(error, exceptions.OutOfMemoryError)


def _code(error: BaseException) -> str:
    if isinstance(error, exceptions.AuthenticationError):
        return "NOAUTH" if "required" in str(error).lower() else "WRONGPASS"
    for class_, code in _CODES_BY_CLASS:
        if isinstance(error, class_):
            return code
    return str(error).partition(" ")[0] if isinstance(error, exceptions.ResponseError) else ""
