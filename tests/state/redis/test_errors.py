"""Classification of Redis errors, and that their sentences contain no secret."""

from __future__ import annotations

import pytest
from redis import exceptions

from maven_channel_wecom.state.redis.errors import (
    NoTlsHandshake,
    ServerIsSentinel,
    ServerTooOld,
    is_lost_answer,
    to_unavailable,
)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (exceptions.BusyLoadingError("canary"), "loading"),
        (exceptions.ReadOnlyError("canary"), "read-only"),
        (exceptions.NoPermissionError("canary"), "lacks permissions"),
        (exceptions.MovedError("1234 canary:6379"), "cluster node"),
        (exceptions.AskError("1234 canary:6379"), "Cluster"),
        (exceptions.ClusterDownError("canary"), "is down"),
        (exceptions.MasterDownError("canary"), "lost its primary"),
        (exceptions.AuthenticationError("canary"), "refuses"),
        (exceptions.AuthenticationError("Authentication required."), "requires a password"),
        (exceptions.ResponseError("BUSY canary"), "busy"),
        (exceptions.ResponseError("MISCONF canary"), "save"),
        (exceptions.ResponseError("NOREPLICAS canary"), "too few replicas"),
        (exceptions.ResponseError("WRONGTYPE canary"), "refused a command"),
        (exceptions.ResponseError("ACL failure in script: User canary has no permissions"), "lacks permissions"),
        (exceptions.ResponseError("The user executing the script can't run this command"), "lacks permissions"),
        (exceptions.ResponseError("unknown command 'EVALSHA', with args beginning with: canary"), "lacks a command"),
        (exceptions.ResponseError("Unknown Redis command called from script script: canary"), "lacks a command"),
        (exceptions.ResponseError("DB index is out of range"), "no database with the number"),
        (exceptions.InvalidResponse("canary"), "another service"),
        (ServerIsSentinel(), "Sentinel"),
        (NoTlsHandshake(), "redis:// instead of rediss://"),
        (exceptions.ConnectionError("canary:6379"), "cannot be reached"),
        (OSError("canary"), "cannot be reached"),
        (exceptions.TimeoutError("canary:6379"), "in time"),
        (TimeoutError("canary"), "in time"),
        (ServerTooOld(), "too old"),
        (ValueError("canary"), "refused a command"),
    ],
)
def test_an_error_is_explained_without_quoting_redis(error: Exception, sentence: str) -> None:
    """The messages of Redis may contain addresses and keys."""
    failure = to_unavailable(error)
    assert sentence in str(failure)
    assert failure.reason == "state"
    assert "canary" not in str(failure)


def test_a_full_redis_has_a_reason_of_its_own() -> None:
    assert to_unavailable(exceptions.OutOfMemoryError("canary")).reason == "state_full"


def test_timeouts_and_connection_errors_are_lost_answers() -> None:
    assert is_lost_answer(TimeoutError())
    assert is_lost_answer(exceptions.ConnectionError())
    assert not is_lost_answer(exceptions.AuthenticationError())
    assert not is_lost_answer(exceptions.BusyLoadingError())
    assert not is_lost_answer(exceptions.ReadOnlyError())
