"""A damaged state file never yields a message or a URL that nobody wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.backends import open_state
from tests.state import damaged_files

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_damaged_file_gives_what_was_written_or_is_refused(tmp_path: Path) -> None:
    """Whether bits were flipped, pages overwritten or ends cut off, in the file or in its WAL."""
    await damaged_files.write(tmp_path)
    outcomes = await damaged_files.examine(tmp_path, tmp_path, range(60))
    assert outcomes.total() == 60
    assert outcomes["refused"]
    assert outcomes["opened"]
    assert not outcomes["healthy"]


@pytest.mark.parametrize("content", [b"text-0 ", b"https://x/m0", b"group:chat0"], ids=["message", "url", "chat"])
async def test_one_changed_letter_is_noticed(tmp_path: Path, content: bytes) -> None:
    """By the checksums: SQLite has none for its pages."""
    await damaged_files.write(tmp_path)
    path = tmp_path / "closed.db"
    sound = path.read_bytes()
    assert content in sound
    path.write_bytes(sound.replace(content, content[:-1] + b"!"))
    with pytest.raises(StateUnavailable, match=r"closed\.db is damaged: stop the program"):
        await open_state(f"sqlite:{path}", channel="wecom")
