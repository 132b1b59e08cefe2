"""What the tests of the way out share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.fakes.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Sign for every server of the session."""
    folder: Path = tmp_path_factory.mktemp("certificates")
    return Authority(folder)


# Whoever replaces the event loop replaces what these build on.
_ON_EVERY_LOOP = ("callback_server", "connections", "short_path")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Have some modules run on both event loops a host may use."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.stem.removeprefix("test_") in _ON_EVERY_LOOP:
        loops["uvloop"] = uvloop.new_event_loop
    return loops
