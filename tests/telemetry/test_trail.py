"""Trace ids and pseudonyms."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import subprocess
import sys

import msgspec
import pytest

from maven_channel_wecom.telemetry.trail import is_trail, pseudonym, trail_id

CANARY = "alice-canary"


def output_of(code: str) -> str:
    """Run Python code in another process and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    return done.stdout.strip()


def test_a_trace_id_is_the_same_in_every_process_and_unique_to_a_message() -> None:
    code = "from maven_channel_wecom.telemetry.trail import trail_id; print(trail_id('wecom', 'm1'))"
    other = output_of(code)
    assert trail_id("wecom", "m1") == other
    assert len({trail_id("wecom", "m1"), trail_id("wecom", "m2"), trail_id("support", "m1")}) == 3
    assert len(other) == 12


def test_a_pseudonym_is_stable_in_a_process_and_differs_between_processes() -> None:
    code = f"from maven_channel_wecom.telemetry.trail import pseudonym; print(pseudonym({CANARY!r}))"
    other = output_of(code)
    assert pseudonym(CANARY) == pseudonym(CANARY) != pseudonym("bob")
    assert pseudonym(CANARY) != other


@pytest.mark.parametrize("id_", ["", "客服", "\ud800"])
def test_any_text_has_a_pseudonym_and_a_trace_id(id_: str) -> None:
    assert pseudonym(id_).isascii()
    assert pseudonym(id_).reveal() == id_
    assert len(trail_id("wecom", id_)) == 12


def test_no_representation_of_a_pseudonym_contains_the_id() -> None:
    """An id is available only from `reveal`."""
    name = pseudonym(CANARY)
    representations = [
        str(name),
        repr(name),
        f"{name:>20}",
        logging.LogRecord("x", logging.INFO, "f", 1, "from %s", (name,), None).getMessage(),
        name + "",
        json.dumps({"sender": name}),
        msgspec.json.encode({"sender": name}, enc_hook=str).decode(),
        repr(copy.deepcopy([name])),
        repr(pickle.loads(pickle.dumps(name))),  # noqa: S301 - ours
        pickle.dumps(name).decode("latin-1"),
        repr(getattr(name, "__dict__", {})),
    ]
    assert [text for text in representations if CANARY in text] == []
    assert all(str(name) in text for text in representations[:-1])
    assert name.reveal() == CANARY


@pytest.mark.parametrize("text", ["", "0123456789a", "0123456789abc", "0123456789AB", "0123456789ab\n", "alice-canary"])
def test_only_what_looks_like_a_trail_is_taken_for_one(text: str) -> None:
    assert not is_trail(text)
    assert is_trail(trail_id("wecom", text))
