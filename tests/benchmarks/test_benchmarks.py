"""The short form of the benchmarks: answers are right and figures are there. How fast it was is not asked here."""

from __future__ import annotations

from tests.benchmarks import callbacks


def test_callbacks_are_answered_right_by_every_server() -> None:
    """A wrong acknowledgement, or a message that does not reach the host, ends the measurement."""
    rows = callbacks.measure(messages=64, rounds=1, tell=lambda _: None)
    assert {callbacks.AIOHTTP, callbacks.PROTOCOL, *callbacks.REACH} <= set(rows)
    assert all(measures["per second"].value > 0 for measures in rows.values())
