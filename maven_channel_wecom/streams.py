"""The streams of one channel: the text that a person sees grow while the agent works.

The answer to a message's callback opens a stream. From then on WeCom asks for the newest frame about once a second,
and nothing can be pushed (100719). So a final text is delivered when a refresh fetched it; if none does, the stream is
closed and the answer goes out through the reply window.

| a stream is | |
|---|---|
| open | its text grows, because the turn runs |
| offered | its last frame is the answer, which no refresh has fetched |
| ended | its last frame is a sentence of the channel: the answer comes in another way, or there is none |
| fetched | a refresh got its last frame, which is given again for a minute |
| closed | its answer goes through the reply window, and the next refresh is told that nothing follows |
| abandoned | WeCom no longer asks, although the last frame was not fetched |
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy import rendering
from maven_channel_wecom.policy.normalization import explanation
from maven_channel_wecom.policy.reply_window import chat_key
from maven_channel_wecom.policy.stream import broken_off, stream_id
from maven_channel_wecom.protocol import limits
from maven_channel_wecom.protocol.callback import is_message
from maven_channel_wecom.protocol.reply import stream_body
from maven_channel_wecom.sentences import STREAM_CONTINUES, STREAM_ENDED, STREAM_SILENT
from maven_channel_wecom.state.store import StreamFrame
from maven_channel_wecom.telemetry import events

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.contract.messages import OutboundProgress
    from maven_channel_wecom.errors import RefreshOutcome, StreamOutcome
    from maven_channel_wecom.policy.language import Languages
    from maven_channel_wecom.policy.stream import ProgressMode, StreamTimes
    from maven_channel_wecom.protocol.callback import Callback
    from maven_channel_wecom.sentences import Sentence
    from maven_channel_wecom.state.store import StateStore
    from maven_channel_wecom.telemetry.events import Emit

    _Fetched = Callable[[], None]


# A frame of this size shows as much of a text as fits, so that a text which grows further is not rendered again.
_FULL_BYTES: Final = limits.MARKDOWN_BYTES - 100


# Refreshes come about once a second, from servers whose clocks may differ a little. Lower: a late one may not count,
# and the answer is seen twice. Higher: more of those recorded just before may be sent again in place of WeCom's.
_REFRESH_DISORDER_SECONDS: Final = 5
_REMEMBERED_REFRESHES: Final = 16

# Streams that a tick may end or forget. Lower: a backlog lasts longer. Higher: other work waits longer.
_STREAMS_PER_TICK: Final = 500


class StreamReply(msgspec.Struct, frozen=True):
    """One frame as an answer to WeCom: the body before it is sealed, and what to call if it was written."""

    body: bytes
    outcome: RefreshOutcome
    written: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<StreamReply {self.outcome}>"


class _OwnStream(msgspec.Struct, eq=False):
    """One stream of this process, from the acknowledgement of its message until WeCom no longer asks for it.

    `placeholder` is what its first frame shows, and `content` the newest text of the agent, empty before there is any.
    `last` is the content of its last frame, None while the turn runs. `outcome` is how it ends once that frame is
    fetched, and `fetched` is whether it was. A stream that is `closed` belongs to an answer that goes another way;
    it is kept until a refresh was told so. `refreshes` are the ids of the last refreshes, and `newest_refresh` is the
    latest time that WeCom signed in one.
    """

    id: str
    message_id: str
    chat: str
    language: str
    opened_at: float
    placeholder: str
    content: str = ""
    last: str | None = None
    outcome: StreamOutcome = "abandoned"
    fetched: bool = False
    closed: bool = False
    on_fetched: _Fetched | None = None
    changed: asyncio.Event | None = None
    sharing: asyncio.Task[None] | None = None
    refreshes: deque[str] | None = None
    newest_refresh: int = 0

    def is_repeat(self, refresh: Callback, signed_at: int) -> bool:
        """Return whether a refresh is one that came before, and remember it if it is not.

        Anybody can send recorded bytes again, and such a refresh fetches nothing: WeCom may not be asking any more.
        """
        if self.refreshes is None:
            self.refreshes = deque(maxlen=_REMEMBERED_REFRESHES)
        if refresh.message_id in self.refreshes or signed_at < self.newest_refresh - _REFRESH_DISORDER_SECONDS:
            return True
        self.refreshes.append(refresh.message_id)
        self.newest_refresh = max(self.newest_refresh, signed_at)
        return False

    def __repr__(self) -> str:
        return f"<OwnStream {'closed' if self.closed else 'fetched' if self.fetched else 'open'}>"

    @property
    def is_answer_offered(self) -> bool:
        """Whether the last frame is an answer that no refresh has fetched yet."""
        return self.last is not None and self.outcome == "fetched" and not self.fetched

    @property
    def so_far(self) -> str:
        """What it shows until its last frame."""
        return self.content or self.placeholder

    @property
    def frame(self) -> StreamFrame:
        """The newest frame."""
        if self.last is not None:
            return StreamFrame(self.last, is_last=True, is_answer=self.outcome == "fetched")
        return StreamFrame(self.so_far)


class Streams:
    """Opens, feeds, answers and ends the streams of one channel.

    Args:
        channel: the name of the channel.
        progress: `stream`, or another mode, in which there are none.
        text: what the first frame shows; if it is empty, the client shows moving dots.
        feedback_id: returns the id for feedback on the answer to a message; None if nobody is asked for feedback.
        languages: chooses the language of sentences.
        state: shares the streams with other processes, if it is shared at all.
        emit: receives telemetry events.
        clock: the clock of the channel.
        times: the times of streams.
    """

    def __init__(
        self,
        channel: str,
        *,
        progress: ProgressMode,
        text: Sentence,
        feedback_id: Callable[[str], str] | None,
        languages: Languages,
        state: StateStore,
        emit: Emit,
        clock: Clock,
        times: StreamTimes,
    ) -> None:
        self._channel = channel
        self._text = text
        self._feedback_id = feedback_id
        self._languages = languages
        self._state = state
        self._emit = emit
        self._clock = clock
        self._times = times
        self.progress = progress
        """What people see of an answer before it is complete."""
        # In the order of their opening.
        self._streams: dict[str, _OwnStream] = {}
        # The ids of those whose life may not be over yet, in the same order.
        self._alive: deque[str] = deque()
        # Streams whose last frame was fetched, with the time until which it is given again.
        self._repeatable: deque[tuple[float, _OwnStream]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        # Set when a bubble was finished, while a stop waits for that.
        self._finished: asyncio.Event | None = None

    @property
    def shows_at_once(self) -> bool:
        """Whether people see something in the acknowledgement of a message that the agent answers."""
        return self.progress == "stream" or (self.progress == "notice" and any(self._text))

    def may_be_elsewhere(self, callback: Callback) -> bool:
        """Return whether another process may have opened the stream of a message."""
        opened_id = self.id_to_open(callback)
        return bool(opened_id) and opened_id not in self._streams and self._state.shared

    def id_to_open(self, callback: Callback) -> str:
        """Return the id of the stream that the acknowledgement of a callback opens, empty if it opens none.

        One is opened only for a message whose answer can be handed to a reply window, and that an agent can read.
        """
        opens = self.progress == "stream" and is_message(callback.type) and callback.response_url
        return stream_id(self._channel, callback.message_id) if opens and not explanation(callback) else ""

    def first_text(self, callback: Callback) -> str:
        """Return what a stream that a callback opens shows until the agent has written something."""
        return self._text.text(self._languages.of_callback(callback))

    def open(self, callback: Callback, now: float) -> None:
        """Open the stream of an admitted callback, if it opens one."""
        opened_id = self.id_to_open(callback)
        if not opened_id:
            return
        stream = _OwnStream(
            id=opened_id,
            message_id=callback.message_id,
            chat=chat_key(callback.chat_id, is_group=callback.is_group),
            language=self._languages.of_callback(callback),
            opened_at=now,
            placeholder=self.first_text(callback),
        )
        self._streams[stream.id] = stream
        self._alive.append(stream.id)

    def first_frame(self, callback: Callback) -> StreamReply | None:
        """Return the newest frame for the callback of a message, repeated or not; None if it has no stream here.

        An answer is left to the next refresh, because the repeat may be one that was recorded.
        """
        stream = self._streams.get(stream_id(self._channel, callback.message_id))
        if stream is None or stream.closed:
            return None
        feedback_id = self._feedback_id_of(callback)
        if stream.is_answer_offered:
            return self._frame_so_far(stream, feedback_id=feedback_id)
        return self._frame(stream, feedback_id=feedback_id)

    def refresh(self, callback: Callback, signed_at: int) -> StreamReply | None:
        """Return the answer to a refresh, None if another process may have opened its stream.

        `signed_at` is the time in seconds that WeCom signed.
        """
        stream = self._streams.get(callback.stream_id)
        if stream is None and self.progress == "stream" and self._state.shared:
            return None
        if stream is None or stream.chat != chat_key(callback.chat_id, is_group=callback.is_group):
            return self._unknown(callback)
        is_repeat = stream.is_repeat(callback, signed_at)
        if stream.closed:
            frame = msgspec.structs.replace(self._unknown(callback), written=lambda: self._forget(stream))
        elif is_repeat and stream.is_answer_offered:
            # WeCom would show the answer and stop asking, but a repeat does not count: it would be sent again.
            frame = self._frame_so_far(stream)
        else:
            frame = self._frame(stream)
        return msgspec.structs.replace(frame, written=None) if is_repeat else frame

    async def refresh_from_state(self, callback: Callback) -> StreamReply:
        """Return the answer to a refresh of a stream that another process opened. Raises StateUnavailable."""
        chat = chat_key(callback.chat_id, is_group=callback.is_group)
        frame = await self._state.read_frame(callback.stream_id, chat, self._clock.now())
        return self._unknown(callback) if frame is None else self._shared_frame(callback.stream_id, frame)

    async def first_frame_from_state(self, callback: Callback) -> StreamReply | None:
        """Return the newest frame for a repeated callback whose stream another process opened, None if there is none.

        Raises StateUnavailable.
        """
        chat = chat_key(callback.chat_id, is_group=callback.is_group)
        shared_id = stream_id(self._channel, callback.message_id)
        frame = await self._state.read_frame(shared_id, chat, self._clock.now())
        feedback_id = self._feedback_id_of(callback)
        return None if frame is None else self._shared_frame(shared_id, frame, feedback_id=feedback_id)

    def show(self, message: OutboundProgress) -> None:
        """Show the text of an answer so far. Text once shown is never replaced by nothing."""
        stream = self._open_stream(message.reply_to)
        if stream is None or stream.chat not in [
            chat_key(message.chat_id, is_group=is_group) for is_group in (True, False)
        ]:
            self._emit(events.ProgressIgnored(message_id=message.reply_to))
            return
        if len(stream.content.encode()) < _FULL_BYTES:
            stream.content = rendering.render_progress(message.content) or stream.content
            self._share(stream)

    async def offer(self, message_id: str, content: str, *, on_fetched: _Fetched) -> bool:
        """Offer the final text of an answer to the coming refreshes, and return whether one of them fetched it.

        If not, the stream is closed: the caller sends the answer another way. Before it returns True, `on_fetched` is
        called, in the moment in which the last frame is written.
        """
        stream = self._open_stream(message_id)
        if stream is None:
            return False
        stream.last, stream.outcome, stream.on_fetched = content, "fetched", on_fetched
        try:
            self._share(stream)
            until = min(self._clock.now() + self._times.fetch, stream.opened_at + self._times.life)
            if await self._wait_until_fetched(stream, until) or not await self._close_shared(stream):
                return True
        except asyncio.CancelledError:
            if not stream.fetched:
                stream.last, stream.on_fetched = None, None
                self._share(stream)
            raise
        self._emit(events.StreamEnded(message_id=stream.message_id, outcome="handed_over"))
        self._close(stream)
        return False

    def end(self, message_id: str) -> None:
        """End the stream of a message that gets no further answer, if it is still open, as it stands."""
        if stream := self._open_stream(message_id):
            stands = stream.content or stream.placeholder
            self._end(stream, stands or STREAM_SILENT.text(stream.language))

    def break_off(self, message_id: str) -> None:
        """End the stream of a message that is answered elsewhere, if it is still open, with a sentence."""
        if stream := self._open_stream(message_id):
            self._end(stream, broken_off(stream.content, STREAM_ENDED.text(stream.language)))

    def release(self, message_id: str) -> None:
        """End the stream of a message that other processes may take over, as they cannot go on with it."""
        if self._state.shared:
            self.break_off(message_id)

    async def end_all(self) -> None:
        """End all open streams with a sentence because the channel stops, and stop waiting for refreshes."""
        for number, stream in enumerate(list(self._streams.values())):
            if stream.last is None and not stream.closed:
                self._end(stream, broken_off(stream.content, STREAM_ENDED.text(stream.language)))
            elif stream.changed:
                stream.changed.set()
            if number % _STREAMS_PER_TICK == 0:
                await asyncio.sleep(0)

    def tick(self) -> None:
        """End streams whose life is over, and forget those that WeCom no longer asks for."""
        now = self._clock.now()
        while self._repeatable and self._repeatable[0][0] <= now:
            self._forget(self._repeatable.popleft()[1])
        for stream in list(itertools.islice(self._streams.values(), _STREAMS_PER_TICK)):
            if stream.opened_at + self._times.forgotten > now:
                break
            self._abandon(stream)
        for _ in range(_STREAMS_PER_TICK):
            oldest = self._streams.get(self._alive[0]) if self._alive else None
            if not self._alive or (oldest is not None and not self._is_past_life(oldest)):
                break
            self._alive.popleft()

    async def run(self) -> None:
        """Call `tick` forever."""
        while self.progress == "stream":
            # Not with the clock of the channel, which a test may move: only the event loop's time must pass.
            await asyncio.sleep(self._times.share)
            try:
                self.tick()
            except Exception as error:  # noqa: BLE001 - no error may end the periodic work
                self._emit(events.RecoveryFailed(error=type(error).__name__))

    async def end_before(self, seconds: float) -> None:
        """End all open streams shortly before `seconds` are over, in which a stop waits for messages."""
        await self._clock.sleep(max(0.0, seconds - self._times.closing))
        await self.end_all()

    async def end_and_wait(self, seconds: float) -> None:
        """End all open streams, and wait up to `seconds`, but not long, until refreshes have fetched their ends."""
        await self.end_all()
        self._finished = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, self._times.closing)):
                while not all(stream.fetched for stream in self._streams.values()):
                    self._finished.clear()
                    await self._finished.wait()

    async def close(self) -> None:
        """Abandon the streams that are still open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stream in list(self._streams.values()):
            self._abandon(stream)

    def _open_stream(self, message_id: str | None) -> _OwnStream | None:
        """Return the stream of a message whose turn still runs."""
        if self.progress != "stream" or message_id is None:
            return None
        stream = self._streams.get(stream_id(self._channel, message_id))
        if stream is None or stream.closed or stream.last is not None:
            return None
        return None if self._is_past_life(stream) else stream

    def _is_past_life(self, stream: _OwnStream) -> bool:
        """Return whether a stream's life is over, which ends it with a sentence if it has no last frame yet."""
        if stream.opened_at + self._times.life > self._clock.now():
            return False
        if stream.last is None and not stream.closed:
            self._end(stream, broken_off(stream.content, STREAM_CONTINUES.text(stream.language)))
        return True

    def _end(self, stream: _OwnStream, content: str) -> None:
        stream.last, stream.outcome = content, "ended"
        self._share(stream)

    def _frame(self, stream: _OwnStream, *, feedback_id: str = "") -> StreamReply:
        self._is_past_life(stream)
        newest = stream.frame
        body = stream_body(stream.id, newest.content, is_last=newest.is_last, feedback_id=feedback_id)
        if not newest.is_last:
            return StreamReply(body, "answered")
        return StreamReply(body, "repeated" if stream.fetched else "answered", lambda: self._written(stream))

    def _frame_so_far(self, stream: _OwnStream, *, feedback_id: str = "") -> StreamReply:
        return StreamReply(stream_body(stream.id, stream.so_far, is_last=False, feedback_id=feedback_id), "answered")

    def _feedback_id_of(self, callback: Callback) -> str:
        return self._feedback_id(callback.message_id) if self._feedback_id else ""

    def _shared_frame(self, shared_id: str, newest: StreamFrame, *, feedback_id: str = "") -> StreamReply:
        body = stream_body(shared_id, newest.content, is_last=newest.is_last, feedback_id=feedback_id)
        confirm = (lambda: self._confirm(shared_id)) if newest.is_last else None
        return StreamReply(body, "answered", confirm)

    def _unknown(self, callback: Callback) -> StreamReply:
        """Return the same frame for every id without an open stream, so that nobody learns which ids exist."""
        sentence = STREAM_ENDED.text(self._languages.of_person(callback.sender_id))
        return StreamReply(stream_body(callback.stream_id, sentence, is_last=True), "unknown")

    def _written(self, stream: _OwnStream) -> None:
        if not stream.fetched:
            self._mark_fetched(stream)
            if self._state.shared:
                self._confirm(stream.id)

    def _mark_fetched(self, stream: _OwnStream) -> None:
        if stream.fetched:
            return
        stream.fetched, stream.content = True, ""
        self._emit(events.StreamEnded(message_id=stream.message_id, outcome=stream.outcome))
        self._repeatable.append((self._clock.now() + self._times.repeat, stream))
        if stream.on_fetched:
            stream.on_fetched()
        if stream.changed:
            stream.changed.set()
        if self._finished:
            self._finished.set()

    def _close(self, stream: _OwnStream) -> None:
        """Forget the text of a stream, whose next refresh gets the frame for unknown ids, which finishes the bubble."""
        stream.closed = True
        stream.content = stream.placeholder = ""
        stream.last = stream.on_fetched = None
        if stream.changed:
            stream.changed.set()

    def _forget(self, stream: _OwnStream) -> None:
        self._close(stream)
        self._streams.pop(stream.id, None)
        if self._finished:
            self._finished.set()

    def _abandon(self, stream: _OwnStream) -> None:
        """Forget a stream that no refresh will ask for again."""
        if not stream.fetched and not stream.closed:
            self._emit(events.StreamEnded(message_id=stream.message_id, outcome="abandoned"))
        self._forget(stream)

    async def _wait_until_fetched(self, stream: _OwnStream, until: float) -> bool:
        stream.changed = asyncio.Event()
        while not stream.fetched and not stream.changed.is_set() and (left := until - self._clock.now()) > 0:
            pause = asyncio.ensure_future(
                self._clock.sleep(min(left, self._times.poll) if self._state.shared else left)
            )
            change = asyncio.ensure_future(stream.changed.wait())
            try:
                await asyncio.wait((pause, change), return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
                change.cancel()
            if self._state.shared and not stream.fetched:
                await self._ask_whether_fetched(stream)
        return stream.fetched

    async def _ask_whether_fetched(self, stream: _OwnStream) -> None:
        # While the state is away, the next question or the hand-over decides.
        with contextlib.suppress(StateUnavailable):
            if await self._state.is_fetched(stream.message_id, self._clock.now()):
                self._mark_fetched(stream)

    async def _close_shared(self, stream: _OwnStream) -> bool:
        """Close a stream for other processes. Return False if one of them gave out the last frame."""
        if not self._state.shared:
            return True
        # If the state is away, or a process takes the frame again and again without giving it out, the answer is sent:
        # it may then be seen twice, but it is seen.
        until = self._clock.now() + self._times.fetch
        with contextlib.suppress(StateUnavailable):
            while not await self._state.close_stream(stream.message_id, self._clock.now()):
                await self._ask_whether_fetched(stream)
                if stream.fetched or self._clock.now() >= until:
                    break
                await self._clock.sleep(self._times.poll)
        return not stream.fetched

    def _share(self, stream: _OwnStream) -> None:
        """Write the newest frame to a shared state, in the background and at most once in a while."""
        if not self._state.shared:
            return
        if stream.last is not None and stream.sharing:
            # The last frame does not wait.
            stream.sharing.cancel()
            stream.sharing = None
        if stream.sharing is None:
            stream.sharing = self._start(self._write_frames(stream))

    async def _write_frames(self, stream: _OwnStream) -> None:
        written: StreamFrame | None = None
        while not stream.closed and stream.frame != written:
            newest = stream.frame
            try:
                await self._state.write_frame(stream.message_id, newest, self._clock.now())
                written = newest
            except StateUnavailable:
                written = None
            if newest.is_last and written:
                break
            # Not shorter while the state is away either.
            await self._clock.sleep(self._times.share)
        if stream.outcome == "ended" and stream.last is not None:
            # Another process may give it out, which counts as the end of the stream.
            await self._wait_until_fetched(stream, stream.opened_at + self._times.forgotten)
        if stream.sharing is asyncio.current_task():
            stream.sharing = None

    def _confirm(self, shared_id: str) -> None:
        self._start(self._confirm_fetch(shared_id))

    async def _confirm_fetch(self, shared_id: str) -> None:
        # Redis defers it if it is away. Any other failure leaves the answer to the reply window.
        with contextlib.suppress(StateUnavailable):
            await self._state.confirm_fetch(shared_id, self._clock.now())

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="wecom stream")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
