"""What is promised, and where an operator is told: each number once, for alerts and dashboards alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["critical", "warning", "info"]
"""critical: somebody gets up now. warning: somebody looks today. info: context for the others."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A promise: this share of events is good.

    Args:
        name: as in the names of the rules.
        share: of all events that must be good, from 0 to 1.
        seconds: the bucket that an event must be in to be good.
        good: the histogram that counts good events.
        promise: what is promised, for readers.
    """

    name: str
    share: float
    seconds: float
    good: str
    promise: str

    @property
    def budget(self) -> float:
        """The share of events that may be bad."""
        return round(1 - self.share, 6)


ACKNOWLEDGE: Final = Objective(
    name="acknowledge",
    share=0.999,
    seconds=1.0,
    good="maven_wecom_callback_seconds",
    promise="99.9 % of genuine callbacks are acknowledged within 1 s",
)
"""WeCom gives a callback 5 s and a URL check 1 s. Lower: WeCom's repeats become everyday. Higher: noise."""

ANSWER: Final = Objective(
    name="answer",
    share=0.95,
    seconds=60.0,
    good="maven_wecom_answer_seconds",
    promise="95 % of answers arrive within 60 s",
)
"""A minute is mostly the agent's. Higher: an agent that thinks long wakes people who cannot make it think faster."""

OBJECTIVES: Final = (ACKNOWLEDGE, ANSWER)


_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}


def in_seconds(duration: str) -> int:
    """Return how long a duration of Prometheus is, such as `6h`."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


@dataclass(frozen=True, kw_only=True)
class Burn:
    """How fast a budget may be spent: both windows must say so, the short one so that the alert ends with its cause."""

    speed: str
    factor: float
    long: str
    short: str
    wait: str
    severity: Severity


BURNS: Final = (
    Burn(speed="Fast", factor=14.4, long="1h", short="5m", wait="2m", severity="critical"),
    Burn(speed="", factor=6.0, long="6h", short="30m", wait="15m", severity="critical"),
    Burn(speed="Slowly", factor=1.0, long="3d", short="6h", wait="1h", severity="warning"),
)
"""Of a budget for 30 days, an hour at 14.4 spends 2 %, six at 6 spend 5 %, three days at 1 spend 10 %."""

BURN_EVENTS: Final = 5
"""Fewer bad events than this in the long window alert nobody: one of two callbacks at night is no 50 %."""

UNDELIVERED_SHARE: Final = 0.05
UNDELIVERED_ANSWERS: Final = 5
"""Of a quarter of an hour; the number keeps a quiet bot from alerting over one answer."""

EXPIRED_WINDOWS: Final = 3
"""Of half an hour. One or two are an agent that chose to say nothing."""

OLDEST_SECONDS: Final = 900.0
"""A quarter of an hour. The agent `responses` gives up after ten minutes, so what is older hangs."""

INBOX_FULLNESS: Final = 0.8
"""Of `inboxLimit`. At 1 callbacks are answered 503."""

SIGNATURE_SHARE: Final = 0.1
SIGNATURE_FAILURES: Final = 10
"""Of a quarter of an hour: one of several replicas with another token, or somebody who knocks."""

UNOPENED_CALLBACKS: Final = 10
"""Of a quarter of an hour in which nothing was accepted: token or key differ from WeCom's."""

BUSY_CALLBACKS: Final = 60
"""In an hour: a bot that had as many and has none for half an hour is cut off, and not merely quiet."""

SKEW_SECONDS: Final = 30.0
"""As `maven-wecom doctor` warns. WeCom's own clock and the way to here are well within it."""

STATE_FAILURES: Final = 3
"""Of five minutes. One can be a slow disk."""

MEDIA_SHARE: Final = 0.2
MEDIA_FAILURES: Final = 5
"""Of half an hour, without what users cause: videos, and pictures without a URL."""

AGENT_SHARE: Final = 0.1
AGENT_FAILURES: Final = 5
"""Of a quarter of an hour: the user gets a sentence that the agent is away."""

LAG_SECONDS: Final = 0.1
LAG_SHARE: Final = 0.05
"""Of the looks of five minutes: something blocks the event loop, and every callback waits behind it."""

DROPPED_CONNECTIONS: Final = 10
"""Of five minutes. Fewer are a scanner."""

RESTARTS: Final = 3
"""In an hour: a crash that a supervisor hides."""

DESCRIPTORS_SHARE: Final = 0.8
"""Of the file descriptors the process may have open."""
