"""Asks for the newest frame of each open stream, as WeCom does, and shows it in the bubble of its message."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.bubbles import Bubble
from maven_channel_wecom.simulator.faults import FaultScript

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maven_channel_wecom.simulator.recorded import Recorded
    from maven_channel_wecom.simulator.refresh_faults import OutgoingRefresh, RefreshFault
    from maven_channel_wecom.simulator.stream_rules import AnsweredFrame


class Refreshes:
    """The refreshes of all open streams.

    Attributes:
        faults: the faults of coming refreshes, by the id of the message that is answered.
    """

    def __init__(
        self, recorded: Recorded, *, monotonic: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self.faults: FaultScript[RefreshFault] = FaultScript()
        self._recorded = recorded
        self._monotonic = monotonic
        self._sleep = sleep
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def show(self, message_id: str, frame: AnsweredFrame, *, sent_at: float, is_refresh: bool = False) -> Bubble:
        """Show a frame in the bubble of a message, which the first frame opens, and record what is wrong with it."""
        bubble = self._recorded.bubbles.get(message_id)
        if bubble is None:
            bubble = self._recorded.bubbles[message_id] = Bubble(message_id, frame.stream_id)
        change, offences = bubble.take(frame, after_seconds=self._monotonic() - sent_at, is_refresh=is_refresh)
        for offence in offences:
            self._recorded.offence(offence, message_id)
        if change is not None:
            self._recorded.change(bubble, change)
        return bubble

    def start(
        self, bubble: Bubble, new_refresh: Callable[[], OutgoingRefresh], *, every_seconds: float, until: float
    ) -> None:
        """Send refreshes in the background, until a frame finishes the stream or the time `until` is reached."""
        if bubble.is_finished or bubble.message_id in self._tasks:
            return
        asking = self._ask(bubble, new_refresh, every_seconds=every_seconds, until=until)
        self._tasks[bubble.message_id] = task = asyncio.create_task(asking, name="stream refreshes")
        task.add_done_callback(lambda _: self._tasks.pop(bubble.message_id))

    async def close(self) -> None:
        """Stop all refreshes."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(
        self, bubble: Bubble, new_refresh: Callable[[], OutgoingRefresh], *, every_seconds: float, until: float
    ) -> None:
        was_answered = False
        while not bubble.is_finished:
            await self._sleep(every_seconds)
            if self._monotonic() >= until:
                break
            refresh, fault = new_refresh(), self.faults.take(bubble.message_id)
            answered_before = bubble.refreshes
            await (fault(refresh) if fault else refresh.ask())
            was_answered = bubble.refreshes > answered_before
        # A bot whose last refresh had no answer could not finish the stream.
        if was_answered and not bubble.is_finished:
            self._recorded.offence("unfinished_stream", bubble.message_id)
