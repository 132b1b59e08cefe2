"""The channel as its host holds it: start, drain and stop, health."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.contract.channel import ChannelStartError
from maven_channel_wecom.contract.messages import Capabilities, Health
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.loop_lag import measure_loop_lag
from maven_channel_wecom.policy.normalization import normalize
from maven_channel_wecom.protocol.callback import MediaItem
from maven_channel_wecom.trail import trail_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maven_channel_wecom.config import WeComConfig
    from maven_channel_wecom.contract.messages import ContentBlock, InboundMessage, OutboundMessage, Receipt
    from maven_channel_wecom.inbound import Inbound
    from maven_channel_wecom.inbox import AdmittedCallback, Inbox
    from maven_channel_wecom.media_opening import MediaOpener
    from maven_channel_wecom.metrics.series import ChannelMetrics
    from maven_channel_wecom.state.port import StateStore
    from maven_channel_wecom.transport.callback_server import CallbackServer

logger = logging.getLogger(__name__)

TAKE_OVER_SECONDS: Final = 5.0
"""Between looks for the work of dead replicas. Lower: more questions to the state. Higher: their users wait longer."""

CAPABILITIES: Final = Capabilities(reactions=False, file_upload=False, reactive_only=True)
"""A `response_url` takes markdown, as an answer, and nothing else (101138)."""


class WeComChannel:
    """One bot: its callback server, its inbox, its way out.

    Args:
        name: the key of its entry under `channels`.
        config: its settings.
        server: answers WeCom.
        inbound: what the server asks.
        inbox: the messages in hand.
        media: opens media.
        send: delivers a reply.
        state: the claims and windows.
        metrics: the channel's.
        recover: takes up what processes that are gone left.
        close: closes what the parts were given, after everything else has stopped.
    """

    def __init__(
        self,
        name: str,
        config: WeComConfig,
        *,
        server: CallbackServer,
        inbound: Inbound,
        inbox: Inbox,
        media: MediaOpener,
        send: Callable[[OutboundMessage], Awaitable[Receipt]],
        state: StateStore,
        metrics: ChannelMetrics,
        recover: Callable[[], Awaitable[None]],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self._name = name
        self._config = config
        self._server = server
        self._inbound = inbound
        self._inbox = inbox
        self._media = media
        self._send = send
        self._state = state
        self._metrics = metrics
        self._recover = recover
        self._close = close
        self._port: int | None = None
        self._regular: list[asyncio.Task[None]] = []
        self._trouble: str | None = None

    @property
    def name(self) -> str:
        """See Channel."""
        return self._name

    @property
    def port(self) -> int | None:
        """The port it listens on; None before it starts and after it stopped."""
        return self._port

    async def start(self) -> None:
        """Take up unfinished work and listen. Raises ChannelStartError when the address cannot be had."""
        # First, so that nobody's new message overtakes an old one.
        await self._take_over()
        try:
            self._port = await self._server.start()
        # A name that cannot be encoded is a ValueError.
        except (OSError, ValueError) as error:
            await self._inbox.drain(0)
            await self._close()
            number = error.errno if isinstance(error, OSError) else None
            message = (
                f"channels.{self._name} cannot listen on {self._config.host}:{self._config.port}: "
                f"{os.strerror(number) if number and number > 0 else 'no such address'}; "
                f"change channels.{self._name}.host or .port, or stop the program that has it"
            )
            raise ChannelStartError(message) from None
        logger.info("wecom callback server listening", extra={"fields": {"port": self._port}})
        await self._tell_trouble()
        self._regular = [
            asyncio.create_task(self._take_over_regularly()),
            asyncio.create_task(measure_loop_lag(self._measure)),
        ]

    async def stop(self) -> None:
        """Refuse new callbacks, finish work in hand within `drainSeconds`, close everything."""
        self._inbound.refuse_new()
        for task in self._regular:
            task.cancel()
        await asyncio.gather(*self._regular, return_exceptions=True)
        left = await self._inbox.drain(self._config.drain_seconds)
        await self._server.stop()
        self._port = None
        await self._close()
        logger.info("wecom channel stopped", extra={"fields": {"channel": self._name, "unfinished": left}})

    def _measure(self, lag_seconds: float) -> None:
        self._metrics.loop_lag_seconds.observe(lag_seconds)
        self._metrics.count_expired_windows(self._state.expired_windows)

    async def _take_over_regularly(self) -> None:
        """Take up what other replicas leave when they die."""
        while True:
            await asyncio.sleep(TAKE_OVER_SECONDS)
            await self._take_over()
            await self._tell_trouble()
            self._inbox.tell_late()

    async def _take_over(self) -> None:
        try:
            await self._recover()
        except StateUnavailable as unavailable:
            logger.debug("wecom state unavailable", extra={"fields": {"reason": unavailable.reason}})
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look must come
            logger.error(  # noqa: TRY400 - the text of an error may hold what a user wrote
                "wecom messages not taken up", extra={"fields": {"channel": self._name, "error": type(error).__name__}}
            )

    async def _tell_trouble(self) -> None:
        """Log when the state goes away and when it is back: whoever reads the log does not ask for the health."""
        trouble = await self._state.health()
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            logger.warning("wecom state away", extra={"fields": {"channel": self._name, "detail": trouble}})
        else:
            logger.info("wecom state back", extra={"fields": {"channel": self._name}})

    async def health(self) -> Health:
        """See Channel."""
        reasons = []
        if not self._server.listens:
            reasons.append(f"channels.{self._name} does not listen")
        if self._inbound.draining:
            reasons.append(f"channels.{self._name} is being stopped")
        if trouble := await self._state.health():
            reasons.append(f"channels.{self._name}: {trouble}")
        return Health(ready=not reasons, reasons=tuple(reasons))

    async def normalize(self, admitted: AdmittedCallback) -> InboundMessage | None:
        """Fetch the media of a callback, all at once, and put its message together."""
        callback = admitted.callback
        items = [item for item in (*callback.quoted_items, *callback.items) if isinstance(item, MediaItem)]
        blocks: list[ContentBlock] = []
        if items:
            blocks = await self._media.open_all(
                items, admitted.media_share, received_at=admitted.received_at, message_id=callback.message_id
            )
        message = normalize(
            callback,
            blocks,
            channel=self._name,
            received_at=admitted.received_at,
            mention_names=self._config.mention_names,
        )
        if message is not None:
            # So that the host's lines can be found with ours.
            message.transport_meta["trail"] = trail_id(self._name, callback.message_id)
        return message

    async def send(self, message: OutboundMessage) -> Receipt:
        """Deliver a reply."""
        return await self._send(message)
