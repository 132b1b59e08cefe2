"""A pseudonym is its text to everybody who does not ask."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from maven_channel_wecom.contract.pseudonym import Pseudonym

SHOWN = Pseudonym("user-1f3a", "alice@example")


@pytest.mark.parametrize(
    "text",
    [
        str(SHOWN),
        f"{SHOWN}",
        SHOWN + "",
        json.loads(json.dumps(SHOWN)),
        copy.deepcopy(SHOWN),
        pickle.loads(pickle.dumps(SHOWN)),  # noqa: S301 - our own bytes
    ],
)
def test_whoever_prints_encodes_or_copies_it_has_the_text(text: str) -> None:
    assert text == "user-1f3a"
    assert not isinstance(text, Pseudonym)


def test_its_repr_is_the_text() -> None:
    assert repr(SHOWN) == "'user-1f3a'"


def test_a_host_that_asks_gets_the_id() -> None:
    assert SHOWN.reveal() == "alice@example"
