"""The channel's series on its host's registry."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.fakes.host import channel_metrics


def series(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_every_series_exists_before_anything_happened() -> None:
    """A rate over nothing is nothing; a rate over zero is zero. And the number of series is fixed."""
    registry = CollectorRegistry()
    metrics = channel_metrics(registry)
    before = {line.rsplit(" ", 1)[0] for line in series(registry)}
    metrics.count_callback("message", "signature")
    metrics.count_inbound_message("text", "published")
    metrics.count_media_fetch("opened")
    metrics.count_reply("delivered", "ok")
    metrics.count_retry("busy")
    metrics.callback_seconds.observe(0.1)
    assert {line.rsplit(" ", 1)[0] for line in series(registry)} == before
    assert len(before) <= 300


def test_counting_is_seen_on_the_registry() -> None:
    """Each helper moves the series it names."""
    registry = CollectorRegistry()
    metrics = channel_metrics(registry)
    metrics.count_callback("verify", "accepted")
    metrics.watch(lambda: 3, lambda: 1.5, lambda: 7)
    assert (
        registry.get_sample_value(
            "maven_wecom_callbacks_total", {"channel": "wecom", "kind": "verify", "outcome": "accepted"}
        )
        == 1
    )
    assert registry.get_sample_value("maven_wecom_inbox_messages", {"channel": "wecom"}) == 3
    assert registry.get_sample_value("maven_wecom_inbox_oldest_seconds", {"channel": "wecom"}) == 1.5
    assert registry.get_sample_value("maven_wecom_reply_windows", {"channel": "wecom"}) == 7


def test_a_label_value_nobody_declared_is_an_error() -> None:
    """A text from outside can never become a series."""
    metrics = channel_metrics(CollectorRegistry())
    with pytest.raises(KeyError):
        metrics.count_callback("message", "whatever a caller sent")


def test_several_channels_share_a_registry_and_leave_it_clean() -> None:
    """A reload registers again; a stopped channel leaves no stale series behind."""
    registry = CollectorRegistry()
    for _ in range(3):
        first, second = channel_metrics(registry, "wecom"), channel_metrics(registry, "support")
        first.count_retry("busy")
        first.close()
        assert not [line for line in series(registry) if 'channel="wecom"' in line]
        assert [line for line in series(registry) if 'channel="support"' in line]
        second.close()
        assert series(registry) == []
