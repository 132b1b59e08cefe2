"""Runs the fuzz targets on their corpora, without a fuzzer."""

from __future__ import annotations

import pytest

from tests.fuzz.targets import CORPORA, TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_every_kept_input_gives_a_value_or_a_documented_error(target: str) -> None:
    inputs = sorted((CORPORA / target).iterdir())
    assert len(inputs) >= 5
    for path in inputs:
        try:
            TARGETS[target](path.read_bytes())
        except Exception as error:
            error.add_note(f"with the input {target}/{path.name}")
            raise
