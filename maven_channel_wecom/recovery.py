"""What processes that are gone left unfinished, taken up again: at the start, and whenever a replica dies."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from maven_channel_wecom.errors import MalformedCallback
from maven_channel_wecom.inbox import AdmittedCallback
from maven_channel_wecom.protocol import limits
from maven_channel_wecom.protocol.callback import MESSAGE_TYPES, read_callback
from maven_channel_wecom.trail import Trail

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.inbox import Inbox
    from maven_channel_wecom.state.port import KeptCallback, StateStore

logger = logging.getLogger(__name__)


async def recover(
    channel: str, *, state: StateStore, inbox: Inbox, put: Callable[[AdmittedCallback], None], clock: Clock
) -> None:
    """Put old messages into the inbox, oldest first, as many as it has places for them.

    Events, what this version cannot read, and what nobody could be answered any more are finished instead.

    Raises:
        StateUnavailable: the state cannot say what there is, or not record that something is over.
    """
    trail = Trail(channel, logger)
    while most := inbox.places_for_old_messages():
        now = clock.now()
        left = await state.unfinished(now, most=most)
        if not left:
            return
        over = []
        for kept in left:
            admitted = _read_again(kept)
            if admitted is None or kept.received_at + limits.RESPONSE_URL_SECONDS <= now:
                over.append(kept.message_id)
            else:
                trail.step(logging.INFO, "wecom message taken up", kept.message_id, message_id=kept.message_id)
                put(admitted)
        logger.info(
            "wecom messages taken up",
            extra={"fields": {"channel": channel, "messages": len(left) - len(over), "over": len(over)}},
        )
        for message_id in over:
            await state.finish(message_id, now)


def _read_again(kept: KeptCallback) -> AdmittedCallback | None:
    try:
        callback = read_callback(kept.message)
    except MalformedCallback:
        return None
    return AdmittedCallback(callback, kept.received_at) if callback.type in MESSAGE_TYPES else None
