"""Fixtures and event loops for the tests of outgoing HTTP."""

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
    """Return an authority that signs for every server of the session."""
    folder: Path = tmp_path_factory.mktemp("certificates")
    return Authority(folder)


# Transports of the two event loops differ: uvloop's are not subclasses of asyncio's.
_MODULES_ON_BOTH_LOOPS = ("test_egress", "test_egress_proxies")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run some modules on both event loops that a host may use."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.stem in _MODULES_ON_BOTH_LOOPS:
        loops["uvloop"] = uvloop.new_event_loop
    return loops
