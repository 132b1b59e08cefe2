"""Tests that the reference of configuration keys is up to date with their declarations."""

from __future__ import annotations

import tomllib

import reference
from maven_channel_wecom.config import KEYS


def test_the_documents_are_what_make_reference_writes() -> None:
    for path, content in reference.contents().items():
        assert path.read_text(encoding="utf-8") == content, f"{path.name}: run make reference"


def test_the_manifest_lists_every_key() -> None:
    manifest = tomllib.loads((reference.ROOT / "plugin.toml").read_text(encoding="utf-8"))
    listed = [(entry["key"], entry["help"]) for entry in manifest["config"]]
    assert listed == [(key.name, key.help) for key in KEYS], "plugin.toml: run make reference"
