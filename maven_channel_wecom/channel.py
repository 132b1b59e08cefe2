"""The channel of one bot, as its host sees it: start, stop, health, and the checks that run while it is up."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.contract.channel import ChannelStartError
from maven_channel_wecom.contract.hookspecs import call_optional
from maven_channel_wecom.contract.messages import Capabilities, Health, OutboundMessage
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.normalization import explanation, normalize, normalize_event
from maven_channel_wecom.protocol.callback import MediaItem
from maven_channel_wecom.sentences import FAULT
from maven_channel_wecom.telemetry import events
from maven_channel_wecom.telemetry.trail import trail_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pluggy import HookRelay

    from maven_channel_wecom.config import WeComConfig
    from maven_channel_wecom.contract.messages import ContentBlock, InboundMessage, OutboundProgress, Receipt
    from maven_channel_wecom.errors import ExplanationReason
    from maven_channel_wecom.inbound import Inbound
    from maven_channel_wecom.inbox import AdmittedCallback, Inbox
    from maven_channel_wecom.media import MediaFetcher
    from maven_channel_wecom.policy.language import Languages
    from maven_channel_wecom.protocol.callback import Callback
    from maven_channel_wecom.sentences import Sentence
    from maven_channel_wecom.server.server import CallbackServer
    from maven_channel_wecom.state.store import StateStore
    from maven_channel_wecom.streams import Streams
    from maven_channel_wecom.telemetry.events import Emit

RECOVER_SECONDS: Final = 5.0
"""Interval between periodic checks, which recover messages of replicas that died, in seconds. Lower: more queries of
the state. Higher: users of a replica that died wait longer."""

LAG_SECONDS: Final = 1.0
"""Interval between measurements of the event loop's lag, in seconds. Lower: fewer stalls are missed, at a higher cost.
Higher: stalls between two measurements are missed."""

CAPABILITIES: Final = Capabilities(
    reactions=False, file_upload=False, reactive_only=True, progress=True, welcome=True, feedback=True
)
"""Capabilities of every channel of this type, `progress` only where it is configured. A `response_url` accepts one
markdown answer, nothing else (101138). A welcome is the answer to the event itself, a stream that to a message
(101031)."""


class WeComChannel:
    """The channel of one bot.

    Args:
        name: the key of the channel's entry under `channels`.
        config: the settings of the channel.
        server: receives WeCom's requests.
        inbound: answers them.
        inbox: holds the messages in progress.
        media: fetches media items.
        languages: chooses the language of sentences for each person.
        streams: shows people what happens before the answer is complete.
        send: delivers a reply.
        state: stores claims, reply windows and unfinished callbacks.
        emit: receives telemetry events.
        close: closes the resources that the parts share, after everything else has stopped.
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
        languages: Languages,
        streams: Streams,
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
        self._languages = languages
        self._streams = streams
        self._send = send
        self._state = state
        self._emit = emit
        self._close = close
        self._port: int | None = None
        self._background_tasks: list[asyncio.Task[None]] = []
        self._state_problem: str | None = None
        self.started = asyncio.Event()
        """Set once `start` has returned. No message is passed to the host before."""

    @property
    def name(self) -> str:
        """The key of the channel's entry under `channels`."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What the channel can do."""
        return msgspec.structs.replace(CAPABILITIES, progress=self._streams.progress == "stream")

    @property
    def port(self) -> int | None:
        """The port the channel listens on; None before it starts and after it stops."""
        return self._port

    async def start(self) -> None:
        """Recover unfinished messages and listen. If this fails or is cancelled, everything is closed.

        Raises:
            ChannelStartError: the channel cannot listen on its address.
        """
        try:
            await self._start()
        except BaseException:
            await self._close_all(drain_seconds=0)
            raise

    async def _start(self) -> None:
        for key in self._config.obsolete:
            self._emit(events.SettingObsolete(key=key))
        await self._report_state()
        # Before listening, so that new messages do not overtake old ones, unless the backlog fills half of the inbox.
        await self._recover()
        try:
            self._port = await self._server.start()
        # ValueError is raised for a host name that cannot be encoded.
        except (OSError, ValueError) as error:
            number = error.errno if isinstance(error, OSError) else None
            message = (
                f"channels.{self._name} cannot listen on {self._config.host}:{self._config.port}: "
                f"{os.strerror(number) if number and number > 0 else 'no such address'}; "
                f"change channels.{self._name}.host or .port, or stop the program that uses it"
            )
            raise ChannelStartError(message) from None
        # Nothing is awaited from here on: a channel whose start may be cancelled must not acknowledge a callback.
        self._emit(events.ListeningStarted(port=self._port))
        self._background_tasks = [
            asyncio.create_task(self._recover_periodically()),
            asyncio.create_task(self._report_periodically()),
            asyncio.create_task(measure_loop_lag(self._emit)),
            asyncio.create_task(self._streams.run()),
        ]
        # In the next loop iteration, when the host has the channel.
        asyncio.get_running_loop().call_soon(self.started.set)

    async def stop(self) -> None:
        """Refuse new callbacks, wait up to `drainSeconds` for messages in progress, and close everything."""
        self._inbound.drain()
        unfinished = await self._close_all(drain_seconds=self._config.drain_seconds)
        self._emit(events.ChannelStopped(unfinished=unfinished))

    async def _close_all(self, *, drain_seconds: float) -> int:
        """Wait for messages in progress, close everything, and return how many messages were left unfinished."""
        for task in self._background_tasks:
            task.cancel()
        await asyncio.gather(*self._background_tasks, return_exceptions=True)
        # The server listens on, and refreshes are answered.
        loop = asyncio.get_running_loop()
        until = loop.time() + drain_seconds
        ending = asyncio.create_task(self._streams.end_before(drain_seconds))
        try:
            unfinished = await self._inbox.drain(drain_seconds)
            await self._streams.end_and_wait(until - loop.time())
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
        await self._server.stop()
        self._port = None
        await self._close()
        return unfinished

    async def health(self) -> Health:
        """Return whether the channel can receive messages now, and every reason why not."""
        reasons = []
        if not self._server.listens:
            reasons.append("it is not listening")
        if self._inbound.draining:
            reasons.append("it is being stopped")
        if problem := await self._state.health():
            reasons.append(f"channels.{self._name}: {problem}")
        return Health(ready=not reasons, reasons=tuple(reasons))

    async def normalize(self, admitted: AdmittedCallback) -> InboundMessage | None:
        """Fetch the media of an admitted callback and return its message, None if it holds nothing for the agent."""
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
            language=self._languages.of_callback(callback),
            trail=trail_id(self._name, callback.message_id),
            mention_names=self._config.mention_names,
        )

    async def explain(self, callback: Callback) -> None:
        """Answer a message that holds nothing to read. A message that another plugin withheld is not answered."""
        if found := explanation(callback):
            await self._answer(callback, *found)

    async def apologize(self, callback: Callback) -> None:
        """Answer a message that failed until its reply window ends."""
        await self._answer(callback, "given_up", FAULT)

    async def _answer(self, callback: Callback, reason: ExplanationReason, sentence: Sentence) -> None:
        """Answer a message with a sentence of the channel, if it can be answered."""
        if not callback.response_url:
            return
        self._emit(events.PersonExplained(message_id=callback.message_id, reason=reason))
        language = self._languages.of_callback(callback)
        message = OutboundMessage(
            channel=self._name,
            chat_id=callback.chat_id,
            content=sentence.text(language),
            reply_to=callback.message_id,
            metadata={"chat_type": "group" if callback.is_group else "single", "language": language},
        )
        await self._send(message)

    def report_event(self, admitted: AdmittedCallback, hook: HookRelay) -> None:
        """Tell other plugins of an entry or a feedback. Whatever they do with it affects nothing here."""
        event = normalize_event(admitted.callback, channel=self._name, received_at=admitted.received_at)
        if event is None:
            return
        try:
            call_optional(hook, "maven_inbound_event", channel=self, event=event)
        except Exception as error:  # noqa: BLE001 - another plugin's error
            self._emit(events.EventHookFailed(message_id=admitted.callback.message_id, error=type(error).__name__))

    async def show(self, message: OutboundProgress) -> None:
        """Show the text of an answer so far, if the channel streams it."""
        self._streams.show(message)

    async def send(self, message: OutboundMessage) -> Receipt:
        """Deliver a reply and return its receipt."""
        return await self._send(message)

    async def _recover_periodically(self) -> None:
        """Recover messages that failed or belonged to replicas that died."""
        while True:
            await asyncio.sleep(RECOVER_SECONDS)
            await self._recover()

    async def _report_periodically(self) -> None:
        """Report the state, expired windows and late messages, even if a state that hangs delays recovery."""
        while True:
            await asyncio.sleep(RECOVER_SECONDS)
            await self._report_state()
            self._emit(events.WindowsExpired(so_far=self._state.expired_windows))
            self._inbox.report_late()

    async def _recover(self) -> None:
        try:
            # An unavailable state is reported elsewhere, and the next check tries again.
            with contextlib.suppress(StateUnavailable):
                await self._inbox.recover()
        except Exception as error:  # noqa: BLE001 - no error may end the periodic checks
            self._emit(events.RecoveryFailed(error=type(error).__name__))

    async def _report_state(self) -> None:
        """Emit StateChanged if the health of the state has changed since the last check."""
        problem = await self._state.health()
        if problem != self._state_problem:
            self._state_problem = problem
            self._emit(events.StateChanged(problem=problem))


async def measure_loop_lag(emit: Emit, *, interval_seconds: float = LAG_SECONDS) -> None:
    """Emit, at an interval and until cancelled, how many seconds late the event loop resumed this task."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval_seconds
        await asyncio.sleep(interval_seconds)
        emit(events.LoopLagged(seconds=max(0.0, loop.time() - due)))
