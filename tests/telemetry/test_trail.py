"""What a message and its people are called in the log."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import subprocess
import sys

import msgspec
import pytest

from maven_channel_wecom.telemetry.trail import pseudonym, trail_id

CANARY = "alice-canary"


def test_a_trail_is_the_same_in_every_process_and_another_for_every_message() -> None:
    """Replicas and restarts need not tell each other."""
    code = "from maven_channel_wecom.telemetry.trail import trail_id; print(trail_id('wecom', 'm1'))"
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - ours
    assert trail_id("wecom", "m1") == elsewhere
    assert len({trail_id("wecom", "m1"), trail_id("wecom", "m2"), trail_id("support", "m1")}) == 3
    assert len(elsewhere) == 12


def test_a_pseudonym_is_one_for_each_person_and_changes_with_the_process() -> None:
    """Nobody can make a table of them."""
    code = f"from maven_channel_wecom.telemetry.trail import pseudonym; print(pseudonym({CANARY!r}))"
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - ours
    assert pseudonym(CANARY) == pseudonym(CANARY) != pseudonym("bob")
    assert pseudonym(CANARY) != elsewhere


@pytest.mark.parametrize("id_", ["", "客服", "\ud800"])
def test_odd_ids_have_names_too(id_: str) -> None:
    """Whatever WeCom, or somebody with its token, calls a person or a message."""
    assert pseudonym(id_).isascii()
    assert pseudonym(id_).reveal() == id_
    assert len(trail_id("wecom", id_)) == 12


def test_whoever_shows_a_pseudonym_shows_no_id() -> None:
    """Printing, formatting, encoding, copying, sending to another process, looking inside."""
    name = pseudonym(CANARY)
    shown = [
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
    assert [text for text in shown if CANARY in text] == []
    assert all(str(name) in text for text in shown[:-1])
    assert name.reveal() == CANARY
