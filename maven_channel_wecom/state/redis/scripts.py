"""The Lua scripts in `lua/`, one for each step, ready to be sent. Each runs as one: all of it or nothing."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Final

import msgspec


class Script(msgspec.Struct, frozen=True):
    """A script and the name Redis knows it by once it is loaded."""

    text: str
    sha: str


def _read(name: str) -> str:
    return resources.files("maven_channel_wecom.state.redis").joinpath("lua", name).read_text(encoding="utf-8")


def _script(name: str) -> Script:
    # Redis wants the line that says what a script may do first.
    head, _, body = _read(name).partition("\n")
    text = f"{head}\n{_read('records.lua')}\n{body}"
    # Not for security: Redis names scripts by their SHA-1.
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


ADMIT: Final = _script("admit.lua")
SETTLE: Final = _script("settle.lua")
CLAIM_WINDOW: Final = _script("claim_window.lua")
BEAT: Final = _script("beat.lua")
TAKE_OVER: Final = _script("take_over.lua")

TEXTS: Final[dict[object, str]] = {script.sha: script.text for script in (ADMIT, SETTLE, CLAIM_WINDOW, BEAT, TAKE_OVER)}
"""What Redis is sent when it does not know a script by its SHA-1."""
