"""Fixtures: a folder that servers under their own users can read, and a certificate authority in it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a new folder. Other users may not enter `tmp_path`."""
    with tempfile.TemporaryDirectory(prefix="maven-wecom-interop-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def authority(folder: Path) -> Authority:
    return Authority(folder)
