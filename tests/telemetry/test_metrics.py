"""The channel's series on its host's registry."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from maven_channel_wecom.metrics.counts import Counts, Distributions
from tests.fakes.host import channel_metrics
from tests.suite_watch import shown


def series(registry: CollectorRegistry) -> list[str]:
    """Without when each began, which the host switches off."""
    lines = shown("/metrics", generate_latest(registry).decode()).splitlines()
    return [line for line in lines if not line.startswith("#") and "_created{" not in line]


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"maven_wecom_{name}", {"channel": "wecom", **labels})


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
    metrics.count_dropped_connection("slow")
    metrics.count_state_failure("admit", "state_full")
    metrics.watch(inbox_messages=lambda: 3, inbox_oldest_seconds=lambda: 1.5, reply_windows=lambda: 7)
    assert value(registry, "callbacks_total", kind="verify", outcome="accepted") == 1
    assert value(registry, "connections_dropped_total", reason="slow") == 1
    assert value(registry, "state_failures_total", operation="admit", reason="state_full") == 1
    assert value(registry, "inbox_messages") == 3
    assert value(registry, "inbox_oldest_seconds") == 1.5
    assert value(registry, "reply_windows") == 7


def test_a_number_that_is_set_for_every_callback_is_read_when_somebody_asks() -> None:
    """Zero before the first."""
    registry = CollectorRegistry()
    metrics = channel_metrics(registry)
    assert value(registry, "last_callback_timestamp_seconds") == value(registry, "clock_skew_seconds") == 0
    metrics.last_callback_at, metrics.clock_skew_seconds = 1_800_000_000.5, -7.0
    assert value(registry, "last_callback_timestamp_seconds") == 1_800_000_000.5
    assert value(registry, "clock_skew_seconds") == -7


def test_windows_that_expired_are_counted_once() -> None:
    """The state tells how many there were so far."""
    registry = CollectorRegistry()
    metrics = channel_metrics(registry)
    for so_far in (2, 2, 5):
        metrics.count_expired_windows(so_far)
    assert value(registry, "reply_windows_expired_total") == 5


@pytest.mark.parametrize(
    ("name", "objectives"), [("callback_seconds", ("1.0", "5.0")), ("answer_seconds", ("60.0", "3600.0"))]
)
def test_a_bucket_stands_at_each_objective(name: str, objectives: tuple[str, ...]) -> None:
    """So that the share within it is counted and not guessed."""
    registry = CollectorRegistry()
    channel_metrics(registry)
    assert [value(registry, f"{name}_bucket", le=objective) for objective in objectives] == [0, 0]


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


def test_what_a_scrape_sees_is_what_the_client_library_would_show() -> None:
    """Its bookkeeping is not ours to change: same names, same text, buckets that add up, bounds within."""
    registry, reference = CollectorRegistry(), CollectorRegistry()
    ours = Counts("answers", "Answers.", ("channel", "kind"), registry=registry)
    theirs = Counter("answers", "Answers.", ("channel", "kind"), registry=reference)
    spread = Distributions("took_seconds", "Took.", ("channel",), registry=registry, buckets=(0.5, 1.0))
    reference_spread = Histogram("took_seconds", "Took.", ("channel",), registry=reference, buckets=(0.5, 1.0))
    for counter in (ours, theirs):
        counter.labels("wecom", "a").inc()
        counter.labels("wecom", "b").inc(2.5)
    for histogram in (spread, reference_spread):
        for seconds in (0.25, 0.5, 0.75, 1.0, 7.0):
            histogram.labels("wecom").observe(seconds)
    assert series(registry) == series(reference)
    assert [line for line in generate_latest(registry).decode().splitlines() if line.startswith("#")] == [
        "# HELP answers_total Answers.",
        "# TYPE answers_total counter",
        "# HELP took_seconds Took.",
        "# TYPE took_seconds histogram",
    ]


def test_a_name_can_be_registered_once() -> None:
    """Two families of one name would be one page nobody can read."""
    registry = CollectorRegistry()
    Counts("answers", "Answers.", ("channel",), registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Counts("answers", "Answers.", ("channel",), registry=registry)
