"""Streams of a channel, in the mode `off` unless a test asks for another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maven_channel_wecom.policy.language import Languages
from maven_channel_wecom.policy.stream import StreamTimes
from maven_channel_wecom.sentences import Sentence
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.streams import Streams
from tests.fakes.clock import FakeClock
from tests.fakes.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.policy.stream import ProgressMode
    from maven_channel_wecom.state.store import StateStore
    from maven_channel_wecom.telemetry.events import Emit

WORKING = Sentence("处理中", "Working")


def make_streams(
    progress: ProgressMode = "off",
    *,
    text: Sentence = WORKING,
    state: StateStore | None = None,
    emit: Emit | None = None,
    clock: Clock | None = None,
    languages: Languages | None = None,
    feedback_id: Callable[[str], str] | None = None,
) -> Streams:
    """Return the streams of the channel `wecom`."""
    return Streams(
        "wecom",
        progress=progress,
        text=text,
        feedback_id=feedback_id,
        languages=languages or Languages(None, ()),
        state=state or MemoryStateStore(),
        emit=emit or Recorder(),
        clock=clock or FakeClock(),
        times=StreamTimes(),
    )
