"""Selection of a backend by its address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.state.backends import address_problem, open_state, sqlite_path

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_memory_backend_is_opened_by_its_address() -> None:
    assert address_problem("memory:") is None
    assert await (await open_state("memory:", channel="wecom")).health() is None


@pytest.mark.parametrize("address", ["", "memory", "memory:x", "redi://user:canary@x", "postgres:"])
async def test_an_unknown_address_is_explained_without_being_quoted(address: str) -> None:
    problem = address_problem(address)
    assert problem is not None
    assert "memory:" in problem
    assert "canary" not in problem
    with pytest.raises(ValueError, match="memory:"):
        await open_state(address, channel="wecom")


def test_a_removed_working_directory_leaves_a_path_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "removed"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert sqlite_path("sqlite:state.db") == "state.db"


async def test_a_sqlite_file_is_opened_by_its_path(tmp_path: Path) -> None:
    """What follows the colon is a path and not a URL, so it is not percent-decoded."""
    address = f"sqlite:{tmp_path}/state 100%?#.db"
    assert address_problem(address) is None
    assert address_problem("sqlite:state.db") is None
    state = await open_state(address, channel="wecom")
    assert await state.health() is None
    await state.close()
    assert {file.name for file in tmp_path.iterdir()} == {"state 100%?#.db", "state 100%?#.db.lock"}


@pytest.mark.parametrize("address", ["sqlite:", "sqlite::memory:", "sqlite:///canary/state.db", "sqlite:canary\0.db"])
def test_a_sqlite_address_without_a_path_is_explained(address: str) -> None:
    problem = address_problem(address)
    assert problem is not None
    assert "sqlite:/var/lib" in problem
    assert "canary" not in problem
