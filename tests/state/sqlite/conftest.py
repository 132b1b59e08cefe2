"""Fixtures: the path of a state file, a writer for it, and a store with that writer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.state.sqlite.store import SqliteStateStore
from maven_channel_wecom.state.sqlite.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[Writer]:
    writer = Writer(path)
    yield writer
    await writer.close()


@pytest.fixture
async def store(writer: Writer) -> SqliteStateStore:
    return SqliteStateStore(writer, await writer.open(), health_probe_seconds=0.2)
