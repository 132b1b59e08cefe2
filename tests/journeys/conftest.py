"""What every journey has: somebody who watches for secrets and for what users wrote."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.journeys.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator


# What a callback meets on its way in, it meets in the same form on the short path and on the long one.
_BOTH_WAYS = ("access", "bad_input", "bad_requests", "events", "incoming", "order")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have some modules run twice, with and without the short path."""
    if metafunc.module.__name__.removeprefix("tests.journeys.test_journey_") in _BOTH_WAYS:
        metafunc.parametrize("watch", [True, False], ids=["short", "long"], indirect=True)


@pytest.fixture(autouse=True)
def watch(request: pytest.FixtureRequest) -> Iterator[Watch]:
    """Render all log records of the test; at its end no canary may have shown anywhere, and no line have surprised."""
    watching = Watch(short_path=getattr(request, "param", True))
    root = logging.getLogger()
    level = root.level
    root.addHandler(watching)
    root.setLevel(logging.DEBUG)
    yield watching
    root.removeHandler(watching)
    root.setLevel(level)
    assert watching.leaks() == []
    assert watching.undocumented == set()
