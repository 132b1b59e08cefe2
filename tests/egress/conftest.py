"""What the tests of the way out share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Sign for every server of the session."""
    folder: Path = tmp_path_factory.mktemp("certificates")
    return Authority(folder)
