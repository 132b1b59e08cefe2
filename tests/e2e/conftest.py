"""The watch of the suite, to which no line of the log may be unknown, and the ways in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.watch import Watch


# What a callback meets on its way in, it meets in the same form on the short path and on the long one.
_BOTH_WAYS = ("access", "bad_input", "bad_requests", "events", "incoming", "order")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have some modules run twice, with and without the short path."""
    if metafunc.module.__name__.removeprefix("tests.e2e.test_") in _BOTH_WAYS:
        metafunc.parametrize("watch", [True, False], ids=["short", "long"], indirect=True)


@pytest.fixture(autouse=True)
def watch(watch: Watch, request: pytest.FixtureRequest) -> Iterator[Watch]:
    """Return the watch of the suite; at the end no line of the log may have surprised."""
    watch.short_path = getattr(request, "param", True)
    yield watch
    assert watch.undocumented == set()
