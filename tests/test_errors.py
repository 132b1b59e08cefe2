"""Tests for the base classes of the exceptions."""

from __future__ import annotations

from typing import get_args

import pytest

from maven_channel_wecom.errors import (
    AnswerLost,
    CallbackRejected,
    ConfigError,
    LostReason,
    MalformedCallback,
    NotSentReason,
    Rejection,
    RequestNotSent,
    SignatureMismatch,
    StaleCallback,
    StateClosed,
    StateFailure,
    StateUnavailable,
    UndecipherableEnvelope,
    WeComError,
    WrongReceiver,
)


@pytest.mark.parametrize(
    ("error", "reasons"),
    [
        (MalformedCallback, Rejection),
        (SignatureMismatch, Rejection),
        (UndecipherableEnvelope, Rejection),
        (WrongReceiver, Rejection),
        (StaleCallback, Rejection),
        (RequestNotSent, NotSentReason),
        (AnswerLost, LostReason),
        (StateUnavailable, StateFailure),
        (StateClosed, StateFailure),
    ],
)
def test_the_default_reason_belongs_to_the_declared_ones(error: type[WeComError], reasons: object) -> None:
    assert error().reason in get_args(reasons)


def test_the_message_is_the_reason_unless_one_is_given() -> None:
    assert str(RequestNotSent(reason="dns")) == "dns"
    assert str(RequestNotSent("the name has no address", reason="dns")) == "the name has no address"


def test_a_rejection_can_have_another_status_and_reason() -> None:
    error = CallbackRejected(reason="too_large", status=413)
    assert (error.reason, error.status) == ("too_large", 413)
    assert (MalformedCallback().status, SignatureMismatch().status) == (400, 401)


def test_a_configuration_error_holds_every_problem() -> None:
    error = ConfigError(["a is required", "b must be a string"])
    assert error.problems == ("a is required", "b must be a string")
    assert str(error) == "a is required; b must be a string"
