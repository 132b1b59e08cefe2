"""The service level objectives and the thresholds of all alerts. Alerts and dashboards both use these constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["critical", "warning", "info"]
"""How urgent an alert is. critical: act now, also at night. warning: look today. info: context for other alerts."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A service level objective: a share of events that must be good.

    Args:
        name: the name used in the names of rules and alerts.
        share: the share of all events that must be good, from 0 to 1.
        seconds: the upper bound of the histogram bucket that counts good events.
        good: the name of the histogram.
        statement: the objective as a clause, for readers.
    """

    name: str
    share: float
    seconds: float
    good: str
    statement: str

    @property
    def budget(self) -> float:
        """The share of events that may be bad."""
        return round(1 - self.share, 6)


ACKNOWLEDGE: Final = Objective(
    name="acknowledge",
    share=0.999,
    seconds=1.0,
    good="maven_wecom_callback_seconds",
    statement="99.9 % of genuine callbacks are acknowledged within 1 s",
)
"""The objective for acknowledgements. WeCom waits 5 s for the answer to a callback, and 1 s for that to a URL check.
Lower share: WeCom regularly repeats callbacks. Higher share: alerts fire without need."""

ANSWER: Final = Objective(
    name="answer",
    share=0.95,
    seconds=60.0,
    good="maven_wecom_answer_seconds",
    statement="95 % of answers arrive within 60 s",
)
"""The objective for answers. Most of the minute is the agent's. Higher share: a slow agent wakes people who cannot make
it faster."""

OBJECTIVES: Final = (ACKNOWLEDGE, ANSWER)


_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}


def in_seconds(duration: str) -> int:
    """Return a Prometheus duration such as `6h` in seconds."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


@dataclass(frozen=True, kw_only=True)
class Burn:
    """A burn rate of an error budget that fires an alert.

    The rate must be exceeded in a long and in a short window. The short one makes the alert end soon after its cause.
    """

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
"""Burn rates that alert. Of a 30-day budget, an hour at 14.4 spends 2 %, six hours at 6 spend 5 %, and three days at 1
spend 10 %."""

BURN_EVENTS: Final = 5
"""Minimum number of bad events in the long window. Lower: one late callback out of two at night counts as 50 %."""

UNDELIVERED_SHARE: Final = 0.05
UNDELIVERED_ANSWERS: Final = 5
"""Share and minimum number of answers not delivered in 15 minutes. The minimum keeps a quiet bot from alerting over one
answer."""

EXPIRED_WINDOWS: Final = 3
"""Reply windows that expire unused in half an hour. Lower: an agent that deliberately does not answer causes alerts."""

OLDEST_SECONDS: Final = 900.0
"""Age of the oldest message in progress. The agent `responses` times out after ten minutes, so older messages hang."""

INBOX_FULLNESS: Final = 0.8
"""Share of `inboxLimit` in use. At 1, callbacks are answered 503."""

SIGNATURE_SHARE: Final = 0.1
SIGNATURE_FAILURES: Final = 10
"""Share and minimum number of wrong signatures in 15 minutes. One replica has another token, or requests are forged."""

UNOPENED_CALLBACKS: Final = 10
"""Callbacks that could not be opened in 15 minutes in which none was accepted: token or key differ from WeCom's."""

BUSY_CALLBACKS: Final = 60
"""Messages in an hour that make a bot busy. A busy bot without any for half an hour is cut off rather than quiet."""

SKEW_SECONDS: Final = 30.0
"""The limit that `maven-wecom doctor` uses too. Network delay and the error of WeCom's own clock are far smaller."""

STATE_FAILURES: Final = 3
"""Failed operations of the state in five minutes. Lower: one slow disk access causes an alert."""

MEDIA_SHARE: Final = 0.2
MEDIA_FAILURES: Final = 5
"""Share and minimum number of media items that failed in half an hour. Failures that depend on what users send are not
counted: videos, and pictures without a URL."""

AGENT_SHARE: Final = 0.1
AGENT_FAILURES: Final = 5
"""Share and minimum number of the agent's turns that failed in 15 minutes. Their users get an apology as the answer."""

FIRST_SIGN_SECONDS: Final = 1.0
FIRST_SIGN_SHARE: Final = 0.01
FIRST_SIGNS_LATE: Final = 5
"""The objective for the first sign: 99 % of the people who write to a bot that streams see something within a second.
And the minimum number of late signs in 15 minutes. Lower minimum: one slow admission at night causes an alert."""

STREAMS_SHARE: Final = 0.2
STREAMS_NOT_FETCHED: Final = 5
"""Share and minimum number of streams in half an hour whose end no refresh took. Lower share: people who close WeCom
while they wait may cause alerts."""

UNKNOWN_SHARE: Final = 0.1
UNKNOWN_REFRESHES: Final = 10
"""Share and minimum number of refreshes in 15 minutes for streams that are not open. Lower: a restart, which leaves one
such refresh for each open stream, causes alerts."""

LAG_SECONDS: Final = 0.1
LAG_SHARE: Final = 0.05
"""Lag of the event loop, and the share of measurements above it in five minutes: something blocks the event loop, and
every callback waits."""

DROPPED_CONNECTIONS: Final = 10
"""Connections dropped in five minutes. Lower: port scanners cause alerts."""

RESTARTS: Final = 3
"""Starts of a process in an hour. So many are crashes that a supervisor hides."""

DESCRIPTORS_SHARE: Final = 0.8
"""Share of the process's file descriptors in use."""
