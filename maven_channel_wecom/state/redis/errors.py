"""Classification of the errors of Redis and redis-py, and the sentences that explain them to an operator.

The original messages are never shown, because they may contain addresses, keys and user names.
"""

from __future__ import annotations

import socket
import ssl
from typing import Final

from redis import exceptions

from maven_channel_wecom.errors import StateUnavailable

UNEXPECTED_ANSWER: Final = "the state's Redis gave an answer that no script returns: check for a proxy in front of it"

_REFUSED: Final = "the state's Redis refused a command: its INFO errorstats names the kind of error"

_BY_CODE: Final = {
    "WRONGPASS": "the state's Redis refuses the user or the password: correct the address",
    "NOAUTH": "the state's Redis requires a password: add it to the address",
    "NOPERM": "the user of the state's Redis lacks permissions: give it +@all ~maven-wecom:*",
    "LOADING": "the state's Redis is loading its data: wait until it has finished",
    "BUSY": "the state's Redis is busy with a long script of another client",
    "READONLY": "the state's Redis is a read-only replica: name the primary, or wait for the failover",
    "MASTERDOWN": "the state's Redis has lost its primary: wait for the failover",
    "NOREPLICAS": "the state's Redis has too few replicas to accept writes",
    "MISCONF": "the state's Redis cannot save to its disk and accepts no writes: see its log",
    "CLUSTERDOWN": "the state's Redis Cluster is down",
    "MOVED": "the state's Redis is a cluster node without this channel: name an endpoint outside a cluster",
    "ASK": "the state's Redis Cluster is moving this channel: name an endpoint outside a cluster",
    "OOM": "the state's Redis is full: raise its maxmemory",
    "UNKNOWN": (
        "the state's Redis lacks a command: name the address of a Redis, not of a Sentinel, "
        "and rename or disable no commands"
    ),
    "DATABASE": "the state's Redis has no database with the number at the end of the address: correct the number",
}

# Errors without a code of their own, by a part of their text in lower case. Inside a script no error has another code.
_CODES_BY_TEXT: Final = (
    ("acl failure in script", "NOPERM"),
    ("the user executing the script can't", "NOPERM"),
    ("unknown command", "UNKNOWN"),
    ("unknown redis command", "UNKNOWN"),
    ("db index is out of range", "DATABASE"),
)

# For errors with a class of their own, redis-py removes the code from the message. Subclasses come before their bases.
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


class NoTlsHandshake(TimeoutError):
    """The server did not answer a TLS handshake in time."""


class ServerIsSentinel(Exception):
    """The server is a Sentinel, which stores nothing."""


class ServerTooOld(Exception):
    """The server is older than Redis 7.0, which the scripts need."""


# By the class of an error or of the one that caused it. Subclasses come before their bases.
_BY_CLASS: Final[tuple[tuple[tuple[type[BaseException], ...], str], ...]] = (
    ((ServerTooOld,), "the state's Redis is too old: 7.0 or newer is required"),
    ((ServerIsSentinel,), "the address of the state is that of a Sentinel: name the address of the primary"),
    (
        (NoTlsHandshake,),
        "the state's Redis does not answer in time: if it does not use TLS, write redis:// instead of rediss://",
    ),
    ((TimeoutError, exceptions.TimeoutError), "the state's Redis does not answer in time"),
    (
        (exceptions.InvalidResponse,),
        "the address of the state is that of another service: correct the host and port, or write rediss:// for TLS",
    ),
    ((ssl.SSLError,), "the state's Redis has no trusted certificate, or does not use TLS"),
    ((socket.gaierror,), "the host name of the state's Redis cannot be resolved: correct it, or the name service"),
    (
        (ConnectionResetError,),
        "the state's Redis closed the connection: check the host and port, and write rediss:// if it uses TLS",
    ),
    (
        (OSError, exceptions.ConnectionError),
        "the state's Redis cannot be reached: start it, or correct the address",
    ),
)


def to_unavailable(error: BaseException) -> StateUnavailable:
    """Return the StateUnavailable for an error of Redis, redis-py or the network."""
    code = _code(error)
    if code in _BY_CODE:
        return StateUnavailable(_BY_CODE[code], reason="state_full" if code == "OOM" else None)
    for classes, sentence in _BY_CLASS:
        # redis-py raises its own errors while it handles those of the network.
        if isinstance(error, classes) or isinstance(error.__context__, classes):
            return StateUnavailable(sentence)
    return StateUnavailable(_REFUSED)


def is_lost_answer(error: BaseException) -> bool:
    """Return whether a command got no answer, so that a second attempt on a new connection may succeed."""
    return isinstance(
        error, (OSError, TimeoutError, exceptions.ConnectionError, exceptions.TimeoutError)
    ) and not isinstance(error, (exceptions.AuthenticationError, exceptions.BusyLoadingError))


def is_server_error(error: BaseException) -> bool:
    """Return whether an error answer concerns the whole server and not a single command.

    A full Redis is not such an error, since commands that need no memory still succeed.
    """
    return _code(error) in _BY_CODE and not isinstance(error, exceptions.OutOfMemoryError)


def _code(error: BaseException) -> str:
    if isinstance(error, exceptions.AuthenticationError):
        return "NOAUTH" if "required" in str(error).lower() else "WRONGPASS"
    for class_, code in _CODES_BY_CLASS:
        if isinstance(error, class_):
            return code
    if not isinstance(error, exceptions.ResponseError):
        return ""
    text = str(error)
    return next((code for part, code in _CODES_BY_TEXT if part in text.lower()), text.partition(" ")[0])
