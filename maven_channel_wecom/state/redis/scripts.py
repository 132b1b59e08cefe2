"""The Lua scripts in `lua/`, each preceded by the shared `records.lua`. Redis runs a script without interruption."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Final

import msgspec


class Script(msgspec.Struct, frozen=True):
    """A script, and the SHA-1 digest by which Redis calls it once it is loaded."""

    text: str
    sha: str


def _read(name: str) -> str:
    return resources.files("maven_channel_wecom.state.redis").joinpath("lua", name).read_text(encoding="utf-8")


def _script(name: str) -> Script:
    # Redis requires the line with the script's flags to be the first one.
    head, _, body = _read(name).partition("\n")
    text = f"{head}\n{_read('records.lua')}\n{body}"
    # Not for security: Redis identifies scripts by their SHA-1 digest.
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


ADMIT: Final = _script("admit.lua")
APPLY_UPDATES: Final = _script("apply_updates.lua")
CLAIM_WINDOW: Final = _script("claim_window.lua")
CLOSE_STREAM: Final = _script("close_stream.lua")
HEARTBEAT: Final = _script("heartbeat.lua")
IS_FETCHED: Final = _script("is_fetched.lua")
READ_FRAME: Final = _script("read_frame.lua")
RELEASE: Final = _script("release.lua")
TAKE_OVER: Final = _script("take_over.lua")
WRITE_FRAME: Final = _script("write_frame.lua")

_STREAMS: Final = (CLOSE_STREAM, IS_FETCHED, READ_FRAME, WRITE_FRAME)

TEXTS: Final[dict[object, str]] = {
    script.sha: script.text for script in (ADMIT, APPLY_UPDATES, CLAIM_WINDOW, HEARTBEAT, RELEASE, TAKE_OVER, *_STREAMS)
}
"""Script texts by SHA-1 digest, sent when Redis does not have a script loaded."""
