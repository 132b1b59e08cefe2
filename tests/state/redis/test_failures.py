"""What goes wrong with Redis, as sentences that say what to do and hold no secret."""

from __future__ import annotations

import pytest
from redis import exceptions

from maven_channel_wecom.state.redis.failures import ServerTooOld, is_lost_answer, unavailable


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (exceptions.BusyLoadingError("canary"), "loading"),
        (exceptions.ReadOnlyError("canary"), "read-only"),
        (exceptions.NoPermissionError("canary"), "may not do"),
        (exceptions.MovedError("1234 canary:6379"), "cluster node"),
        (exceptions.AskError("1234 canary:6379"), "Cluster"),
        (exceptions.ClusterDownError("canary"), "is down"),
        (exceptions.MasterDownError("canary"), "lost its primary"),
        (exceptions.AuthenticationError("canary"), "refuses"),
        (exceptions.AuthenticationError("Authentication required."), "wants a password"),
        (exceptions.ResponseError("BUSY canary"), "busy"),
        (exceptions.ResponseError("MISCONF canary"), "save"),
        (exceptions.ResponseError("NOREPLICAS canary"), "too few replicas"),
        (exceptions.ResponseError("WRONGTYPE canary"), "refused a step"),
        (exceptions.ConnectionError("canary:6379"), "cannot be reached"),
        (OSError("canary"), "cannot be reached"),
        (exceptions.TimeoutError("canary:6379"), "in time"),
        (TimeoutError("canary"), "in time"),
        (ServerTooOld(), "too old"),
        (ValueError("canary"), "refused a step"),
    ],
)
def test_each_error_has_its_sentence(error: Exception, sentence: str) -> None:
    """Redis' own texts may hold addresses and keys."""
    told = unavailable(error)
    assert sentence in str(told)
    assert told.reason == "state"
    assert "canary" not in str(told)


def test_a_full_redis_has_a_reason_of_its_own() -> None:
    assert unavailable(exceptions.OutOfMemoryError("canary")).reason == "state_full"


def test_only_a_lost_answer_is_asked_for_again() -> None:
    assert is_lost_answer(TimeoutError())
    assert is_lost_answer(exceptions.ConnectionError())
    assert not is_lost_answer(exceptions.AuthenticationError())
    assert not is_lost_answer(exceptions.BusyLoadingError())
    assert not is_lost_answer(exceptions.ReadOnlyError())
