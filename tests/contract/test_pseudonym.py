"""Tests for pseudonyms."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from maven_channel_wecom.contract.pseudonym import Pseudonym

PSEUDONYM = Pseudonym("user-1f3a", "alice@example")


@pytest.mark.parametrize(
    "text",
    [
        str(PSEUDONYM),
        f"{PSEUDONYM}",
        PSEUDONYM + "",
        json.loads(json.dumps(PSEUDONYM)),
        copy.deepcopy(PSEUDONYM),
        pickle.loads(pickle.dumps(PSEUDONYM)),  # noqa: S301 - our own bytes
    ],
)
def test_a_printed_encoded_or_copied_pseudonym_is_plain_text_without_the_id(text: str) -> None:
    assert text == "user-1f3a"
    assert not isinstance(text, Pseudonym)


def test_the_repr_of_a_pseudonym_is_that_of_its_text() -> None:
    assert repr(PSEUDONYM) == "'user-1f3a'"


def test_reveal_returns_the_id() -> None:
    assert PSEUDONYM.reveal() == "alice@example"
