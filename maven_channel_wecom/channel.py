"""One bot as its host holds it: start, drain and stop, health, regular looks."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.contract.channel import ChannelStartError
from maven_channel_wecom.contract.messages import Capabilities, Health
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.normalization import normalize
from maven_channel_wecom.protocol.callback import MediaItem
from maven_channel_wecom.telemetry import events
from maven_channel_wecom.telemetry.loop_lag import measure_loop_lag
from maven_channel_wecom.telemetry.trail import trail_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maven_channel_wecom.config import WeComConfig
    from maven_channel_wecom.contract.messages import ContentBlock, InboundMessage, OutboundMessage, Receipt
    from maven_channel_wecom.inbound import Inbound
    from maven_channel_wecom.inbox import AdmittedCallback, Inbox
    from maven_channel_wecom.media import MediaFetcher
    from maven_channel_wecom.server.server import CallbackServer
    from maven_channel_wecom.state.store import StateStore
    from maven_channel_wecom.telemetry.events import Emit

RECOVER_SECONDS: Final = 5.0
"""Between looks for messages of dead replicas. Lower: more queries of the state. Higher: their users wait longer."""

CAPABILITIES: Final = Capabilities(reactions=False, file_upload=False, reactive_only=True)
"""A `response_url` takes markdown, as an answer, and nothing else (101138)."""


class WeComChannel:
    """One bot: its callback server, its inbox, its way out.

    Args:
        name: the key of its entry under `channels`.
        config: its settings.
        server: answers WeCom.
        inbound: what the server asks.
        inbox: the messages in progress.
        media: fetches media.
        send: delivers a reply.
        state: claims, windows and unfinished callbacks.
        emit: reports what happened.
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
        media: MediaFetcher,
        send: Callable[[OutboundMessage], Awaitable[Receipt]],
        state: StateStore,
        emit: Emit,
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
        self._emit = emit
        self._close = close
        self._port: int | None = None
        self._regular: list[asyncio.Task[None]] = []
        self._trouble: str | None = None

    @property
    def name(self) -> str:
        """The key of its entry under `channels`."""
        return self._name

    @property
    def port(self) -> int | None:
        """The port it listens on; None before it starts and after it stopped."""
        return self._port

    async def start(self) -> None:
        """Recover unfinished messages and listen. A start that fails or is cancelled leaves nothing open.

        Raises:
            ChannelStartError: the address cannot be listened on.
        """
        try:
            await self._start()
        except BaseException:
            await self._close_all(drain_seconds=0)
            raise

    async def _start(self) -> None:
        for key in self._config.obsolete:
            self._emit(events.SettingObsolete(key=key))
        # First, so that a new message does not overtake an old one of its chat.
        await self._recover()
        try:
            self._port = await self._server.start()
        # A name that cannot be encoded is a ValueError.
        except (OSError, ValueError) as error:
            number = error.errno if isinstance(error, OSError) else None
            message = (
                f"channels.{self._name} cannot listen on {self._config.host}:{self._config.port}: "
                f"{os.strerror(number) if number and number > 0 else 'no such address'}; "
                f"change channels.{self._name}.host or .port, or stop the program that has it"
            )
            raise ChannelStartError(message) from None
        self._emit(events.ListeningStarted(port=self._port))
        await self._report_state()
        self._regular = [
            asyncio.create_task(self._look_regularly()),
            asyncio.create_task(measure_loop_lag(self._emit)),
        ]

    async def stop(self) -> None:
        """Refuse new callbacks, finish messages in progress within `drainSeconds`, close everything."""
        self._inbound.drain()
        unfinished = await self._close_all(drain_seconds=self._config.drain_seconds)
        self._emit(events.ChannelStopped(unfinished=unfinished))

    async def _close_all(self, *, drain_seconds: float) -> int:
        """Finish messages in progress within a limit, close everything, and return how many messages were left."""
        for task in self._regular:
            task.cancel()
        await asyncio.gather(*self._regular, return_exceptions=True)
        unfinished = await self._inbox.drain(drain_seconds)
        await self._server.stop()
        self._port = None
        await self._close()
        return unfinished

    async def health(self) -> Health:
        """Return whether it can take messages now, and every reason why not."""
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
            blocks = await self._media.fetch_all(
                items, admitted.media_use, received_at=admitted.received_at, message_id=callback.message_id
            )
        return normalize(
            callback,
            blocks,
            channel=self._name,
            received_at=admitted.received_at,
            trail=trail_id(self._name, callback.message_id),
            mention_names=self._config.mention_names,
        )

    async def send(self, message: OutboundMessage) -> Receipt:
        """Deliver a reply."""
        return await self._send(message)

    async def _look_regularly(self) -> None:
        """Recover what other replicas leave when they die, and report what does not report itself."""
        while True:
            await asyncio.sleep(RECOVER_SECONDS)
            await self._recover()
            await self._report_state()
            self._emit(events.WindowsExpired(so_far=self._state.expired_windows))
            self._inbox.report_late()

    async def _recover(self) -> None:
        try:
            # A state that is away reports itself, and the next look comes.
            with contextlib.suppress(StateUnavailable):
                await self._inbox.recover()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look must come
            self._emit(events.RecoveryFailed(error=type(error).__name__))

    async def _report_state(self) -> None:
        """Report when the state goes away and when it is back: whoever reads the log does not ask for the health."""
        trouble = await self._state.health()
        if trouble != self._trouble:
            self._trouble = trouble
            self._emit(events.StateChanged(trouble=trouble))
