"""A damaged state file never yields a message or a URL that was not stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.backends import open_state
from tests.state import damaged_files

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_damaged_file_yields_what_was_written_or_is_refused(tmp_path: Path) -> None:
    """Bits are flipped, pages overwritten and ends cut off, in the file and in its WAL."""
    await damaged_files.write(tmp_path)
    outcomes = await damaged_files.examine(tmp_path, tmp_path, range(60))
    assert outcomes.total() == 60
    assert outcomes["refused"]
    assert outcomes["opened"]
    assert not outcomes["healthy"]


@pytest.mark.parametrize("content", [b"text-0 ", b"https://x/m0", b"group:chat0"], ids=["message", "url", "chat"])
async def test_a_single_changed_character_is_detected(tmp_path: Path, content: bytes) -> None:
    """Only our own checksums can detect it, because SQLite has none for its pages."""
    await damaged_files.write(tmp_path)
    path = tmp_path / "closed.db"
    undamaged = path.read_bytes()
    assert content in undamaged
    path.write_bytes(undamaged.replace(content, content[:-1] + b"!"))
    with pytest.raises(StateUnavailable, match=r"closed\.db is damaged: stop the program"):
        await open_state(f"sqlite:{path}", channel="wecom")
