"""Shows the text of an answer in its channel while the agent writes it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.contract.hookspecs import call_optional
from maven_channel_wecom.contract.messages import OutboundProgress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import pluggy

    from maven_channel_wecom.contract.channel import Channel
    from maven_channel_wecom.contract.messages import InboundMessage

logger = logging.getLogger(__name__)

PROGRESS_SECONDS: Final = 0.5
"""Time between two looks at the text so far. Lower: joining a long text again and again costs more. Higher: people see
the answer grow in larger steps."""


class Progress:
    """Pushes the text of one answer to its channel, if the channel shows progress.

    The first exception of a hook is logged, and none is raised.

    Args:
        hook: the relay through which the channel is called.
        channels: the started channels by their names.
        message: the message that is answered.
        log_fields: the fields of a log line about this message.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        hook: pluggy.HookRelay,
        channels: Mapping[str, Channel],
        message: InboundMessage,
        *,
        log_fields: Mapping[str, str],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._hook = hook
        self._channels = channels
        self._message = message
        self._log_fields = log_fields
        self._sleep = sleep
        self._read: Callable[[], str] | None = None
        self._pushing: asyncio.Task[None] | None = None
        self._has_failed = False

    def show(self, read: Callable[[], str]) -> None:
        """Begin to push what `read` returns, the whole text so far. A later call replaces `read`."""
        is_first = self._read is None
        self._read = read
        # Looked up only now: a message may be published before the host knows its channel.
        channel = self._channels.get(self._message.channel)
        if is_first and channel is not None and self._is_shown(channel):
            self._pushing = asyncio.create_task(self._push(channel), name="progress")

    async def end(self) -> None:
        """Stop pushing. No call of the channel is left when this returns."""
        if self._pushing is not None:
            self._pushing.cancel()
            await asyncio.wait({self._pushing})

    def _is_shown(self, channel: Channel) -> bool:
        try:
            capabilities = self._hook.maven_channel_capabilities(channel=channel)
        except Exception as error:  # noqa: BLE001 - plugins raise anything
            self._report(error)
            return False
        # None if no plugin reports any. An older channel may not know the attribute.
        return bool(getattr(capabilities, "progress", False))

    async def _push(self, channel: Channel) -> None:
        pushed = ""
        while True:
            await self._sleep(PROGRESS_SECONDS)
            text = self._read() if self._read else ""
            if text != pushed and text.strip():
                await self._push_text(channel, text)
                pushed = text

    async def _push_text(self, channel: Channel, text: str) -> None:
        progress = OutboundProgress(
            channel=self._message.channel,
            chat_id=self._message.chat_id,
            reply_to=self._message.message_id,
            content=text,
        )
        try:
            shown = call_optional(self._hook, "maven_outbound_progress", channel=channel, message=progress)
            if shown is not None:
                await shown
        except Exception as error:  # noqa: BLE001 - plugins raise anything
            self._report(error)

    def _report(self, error: Exception) -> None:
        if not self._has_failed:
            logger.error("progress failed", exc_info=error, extra={"fields": {**self._log_fields}})
        self._has_failed = True
