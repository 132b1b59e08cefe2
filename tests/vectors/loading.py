"""Loads the vectors of `codec.json` as pytest parameters."""

import json
from pathlib import Path
from typing import Any

import pytest

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("codec.json").read_text(encoding="utf-8")
)


def by_id(vectors: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(vector, id=vector["id"]) for vector in vectors]
