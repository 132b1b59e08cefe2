"""The Redis backend, shared by all replicas of a channel: if one dies, another takes over its messages.

The operations are the scripts in `lua/`; `records.lua` documents the keys and records.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import os
import secrets
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.redis import scripts
from maven_channel_wecom.state.redis.address import key_prefix, parse_redis_address
from maven_channel_wecom.state.redis.connection import COMMAND_TIMEOUT_SECONDS, RedisConnection
from maven_channel_wecom.state.redis.errors import UNEXPECTED_ANSWER
from maven_channel_wecom.state.redis.joint_calls import JointCalls
from maven_channel_wecom.state.redis.probe import probe
from maven_channel_wecom.state.store import (
    CLAIM_SECONDS,
    FETCH_RESERVATION_SECONDS,
    FRAME_REPEAT_SECONDS,
    STREAM_SECONDS,
    Admission,
    StateStore,
    StoredCallback,
    StreamFrame,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

logger = logging.getLogger(__name__)

SILENT_SECONDS: Final = 20.0
"""Time without a heartbeat after which the messages of a replica are taken over, in seconds. Lower: a slow replica
loses its messages. Higher: the users of a dead replica wait longer."""

# Heartbeats in SILENT_SECONDS. A gap of up to half that time does not restart the grace period (`record_heartbeat` in
# `records.lua`), and a replica must send a heartbeat in time even after such a gap.
_HEARTBEATS: Final = 4
_TICK_SECONDS: Final = 0.25

# Limits of one script call, so that it blocks Redis for a few milliseconds at most.
_MAX_ADMISSIONS: Final = 128
_MAX_ADMISSION_BYTES: Final = 512 * 1024
_MAX_UPDATES: Final = 128
# Of up to 20 KiB each.
_MAX_FRAMES: Final = 32
_MAX_FETCH_QUESTIONS: Final = 128
_MAX_HEARTBEAT_MESSAGES: Final = 200
_MAX_TAKE_OVER: Final = 100

_MAX_DEFERRED: Final = 1_000
"""Once this many updates are deferred, lost admissions are no longer added to them. Lower: after an outage, more of
them wait until this replica counts as dead. Higher: more memory while Redis is unavailable."""


async def open_redis(
    address: str, *, channel: str, command_timeout_seconds: float = COMMAND_TIMEOUT_SECONDS
) -> RedisStateStore:
    """Open the state of a channel. If Redis cannot be reached, `health` reports it and the connection is retried.

    Raises:
        StateUnavailable: the TLS files cannot be read, which a retry would not change.
    """
    try:
        # In a thread, because it reads the TLS files and redis-py's own version.
        connection = await asyncio.to_thread(
            RedisConnection, parse_redis_address(address), seconds=command_timeout_seconds
        )
    except OSError:
        message = "the files for TLS in the address cannot be read, or are not certificates and keys in PEM format"
        raise StateUnavailable(message) from None
    store = RedisStateStore(connection, channel=channel, silent_seconds=SILENT_SECONDS)
    await store.start()
    return store


class RedisStateStore(StateStore):
    """A StateStore in Redis. Call `start` before using it.

    Each admission, take-over and window claim has a unique token. It makes the operation idempotent: a script that is
    sent twice finds its own token. An operation that arrives too late, after another replica has taken over the
    message, finds another token and changes nothing; only `spend_window` always takes effect.

    `finish`, `spend_window`, `restore_window` and `confirm_fetch` do not fail: while Redis is unavailable, their
    updates are deferred and later applied in order, and so is that of a `close_stream` that failed. If this process
    dies before that, other replicas take over its messages.

    The clock of Redis decides when a reservation of a last frame ends, because the replica that reads the frame and the
    one that closes the stream may have different clocks.

    Args:
        connection: connection that runs the scripts.
        channel: name of the channel.
        silent_seconds: time without a heartbeat after which the messages of a replica are taken over. It must be the
            same in all replicas.
    """

    def __init__(self, connection: RedisConnection, *, channel: str, silent_seconds: float = SILENT_SECONDS) -> None:
        self._connection = connection
        self._channel = channel
        self._unfinished = f"{key_prefix(channel)}unfinished"
        self._replica = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._token_numbers = itertools.count(1)
        self._silent_seconds = silent_seconds
        self._silent_ms = int(silent_seconds * 1000)
        # By message id: the token with which this replica admitted or took over a message that is in progress.
        self._in_progress: dict[str, str] = {}
        # By message id: the token with which this replica claimed its window.
        self._holders: dict[str, str] = {}
        # By message id: the streams that this replica opened, oldest first.
        self._streams: dict[str, _Stream] = {}
        self._frame_numbers = itertools.count(1)
        self._frame_writes = JointCalls(functools.partial(self._run, scripts.WRITE_FRAME), most=_MAX_FRAMES)
        self._fetch_questions = JointCalls(functools.partial(self._run, scripts.IS_FETCHED), most=_MAX_FETCH_QUESTIONS)
        # The token and the time of a take-over whose answer was lost. The next take-over repeats it.
        self._lost_take_over: tuple[str, float] | None = None
        # Why the last admission or probe failed, and what is wrong with a Redis that admits messages.
        self._refusal: StateUnavailable | None = None
        self._risk: str | None = None
        self._open_windows = 0
        self._expired_windows = 0
        self._heartbeats: asyncio.Task[None] | None = None
        self.deferred = DeferredUpdates(self._apply)
        """Updates that are not yet applied."""

    async def start(self) -> None:
        """Begin to send heartbeats."""
        with suppress(StateUnavailable):
            await self.heartbeat()
            await self._probe()
        self._heartbeats = asyncio.create_task(self._send_heartbeats())

    async def admit(self, batch: Sequence[Admission], now: float) -> list[bool]:
        token = self._new_token()
        requested: dict[str, Admission] = {}
        for admission in batch:
            if admission.callback.message_id not in self._in_progress:
                requested.setdefault(admission.callback.message_id, admission)
        try:
            new = await self._admit(list(requested.values()), token, now)
        except (StateUnavailable, asyncio.CancelledError) as failure:
            if isinstance(failure, StateUnavailable):
                self._refusal = failure
            # Redis may have stored some of the messages, but this replica does not have them in progress.
            if len(self.deferred) < _MAX_DEFERRED:
                for message_id in requested:
                    self.deferred.add(_Update("give_up", token, message_id, now))
            raise
        if requested:
            self._refusal = None
        self._in_progress.update(dict.fromkeys(new, token))
        self._open_streams((requested[message_id] for message_id in new), token, now)
        results = []
        for admission in batch:
            results.append(admission.callback.message_id in new)
            new.discard(admission.callback.message_id)
        return results

    async def release(self, message_id: str, now: float) -> bool:
        token = self._in_progress.get(message_id)
        if token is None:
            return True
        # A deferred update may be about to spend or open its window.
        await self.deferred.flush()
        (released,) = await self._run(scripts.RELEASE, self._replica, token, message_id, now)
        if released:
            self._in_progress.pop(message_id, None)
        return bool(released)

    async def finish(self, message_id: str, now: float) -> None:
        token = self._in_progress.pop(message_id, None)
        if token is not None:
            await self.deferred.apply(_Update("finish", token, message_id, now))

    async def take_over(self, now: float, *, limit: int = 1_000) -> list[StoredCallback]:
        # The heartbeat comes first, then deferred updates: among them `give_up` for admissions whose answer was lost.
        await self.heartbeat()
        await self.deferred.flush()
        token, _ = self._lost_take_over or (self._new_token(), now)
        self._lost_take_over = None
        limits = (self._silent_ms, limit, _MAX_TAKE_OVER)
        found: list[Any] = []
        examined = _MAX_TAKE_OVER
        try:
            # If all that were examined only had to be finished, others may be left. Each call removes those.
            while examined == _MAX_TAKE_OVER and not found:
                examined, *found = await self._run(
                    scripts.TAKE_OVER, self._replica, token, *limits, now, now + CLAIM_SECONDS
                )
        except (StateUnavailable, asyncio.CancelledError):
            self._lost_take_over = token, now
            raise
        callbacks = [
            StoredCallback(message_id.decode(), float(received_at), message)
            for message_id, received_at, message in found
        ]
        for callback in callbacks:
            self._in_progress[callback.message_id] = token
            self._streams.pop(callback.message_id, None)
        return sorted(callbacks, key=lambda callback: callback.received_at)

    async def claim_window(
        self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        # A deferred update may be about to undo an earlier claim of the same window.
        await self.deferred.flush()
        message_id = reply_to or ""
        owner = self._in_progress.get(message_id, "")
        holder = self._new_token()
        try:
            found = await self._run(scripts.CLAIM_WINDOW, holder, owner, message_id, spare_of or "", now, *chats)
        except (StateUnavailable, asyncio.CancelledError):
            self.deferred.add(_Update("abandon", holder, message_id, now))
            raise
        if not found:
            return None
        window = _parse_window(*found)
        self._holders[window.message_id] = holder
        return window

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        holder = self._holders.pop(window.message_id, "")
        await self.deferred.apply(_Update("spend", holder, window.message_id, now))

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        holder = self._holders.pop(window.message_id, "")
        kind: Literal["restore", "restore_repeated"] = "restore_repeated" if window.repeated else "restore"
        await self.deferred.apply(_Update(kind, holder, window.message_id, now))

    @property
    def shared(self) -> bool:
        return True

    async def write_frame(self, message_id: str, frame: StreamFrame, now: float) -> None:  # noqa: ARG002 - the clock of Redis decides
        if stream := self._streams.get(message_id):
            # A call that was lost in a frozen Redis may run late, and must not replace a newer frame.
            number = next(self._frame_numbers)
            await self._frame_writes.call(stream.id, stream.token, number, frame.content, _ending(frame))

    async def read_frame(self, stream_id: str, chat: str, now: float) -> StreamFrame | None:
        limits = (int(FETCH_RESERVATION_SECONDS * 1000), now, FRAME_REPEAT_SECONDS)
        match await self._run(scripts.READ_FRAME, stream_id, chat, *limits):
            case [bytes(content), bytes(last)]:
                return StreamFrame(content.decode(), is_last=last != b"", is_answer=last != b"sentence")
        return None

    async def confirm_fetch(self, stream_id: str, now: float) -> None:
        await self.deferred.apply(_Update("fetched", "", stream_id, now))

    async def is_fetched(self, message_id: str, now: float) -> bool:  # noqa: ARG002 - a fetch has no end
        stream = self._streams.get(message_id)
        return stream is not None and await self._fetch_questions.call(stream.id) == 1

    async def close_stream(self, message_id: str, now: float) -> bool:
        stream = self._streams.get(message_id)
        if stream is None:
            return True
        try:
            # A deferred update may be about to confirm that its last frame was fetched.
            await self.deferred.flush()
            if await self._run(scripts.CLOSE_STREAM, stream.id, stream.token) == [0]:
                return False
        except StateUnavailable:
            # The caller sends the answer another way, and other replicas would show the stream until it expires.
            self.deferred.add(_Update("close", stream.token, stream.id, now))
            raise
        self._streams.pop(message_id, None)
        return True

    @property
    def open_windows(self) -> int:
        """Number of open windows of all replicas, as of the last operation or heartbeat."""
        return self._open_windows

    @property
    def expired_windows(self) -> int:
        return self._expired_windows

    async def health(self) -> str | None:
        """Return why the last operation, heartbeat or probe failed, without sending a command."""
        failure = self._connection.last_failure or self._refusal
        return str(failure) if failure else self._risk

    async def close(self) -> None:
        """Apply deferred updates, and give up messages in progress so that others can take them over at once."""
        if self._heartbeats is not None:
            self._heartbeats.cancel()
            await asyncio.gather(self._heartbeats, return_exceptions=True)
        with suppress(StateUnavailable):
            await self.deferred.flush()
            if self._lost_take_over:
                # What it took over is given up below.
                await self.take_over(self._lost_take_over[1])
            await self.heartbeat(give_up=True)
        await self._connection.close()

    async def heartbeat(self, *, give_up: bool = False) -> None:
        """Report this replica and its messages in progress as alive, or give these up to be taken over at once."""
        messages = list(self._in_progress.items())
        for start in range(0, max(1, len(messages)), _MAX_HEARTBEAT_MESSAGES):
            pairs = itertools.chain.from_iterable(messages[start : start + _MAX_HEARTBEAT_MESSAGES])
            await self._run(scripts.HEARTBEAT, self._replica, self._silent_ms, int(give_up), *pairs)

    async def _send_heartbeats(self) -> None:
        """Send heartbeats forever, at shorter intervals while Redis is unavailable, to notice when it is back."""
        interval = self._silent_seconds / _HEARTBEATS
        tick = min(_TICK_SECONDS, interval)
        waited = 0.0
        while True:
            await asyncio.sleep(tick)
            waited += tick
            if waited < interval and not (self._connection.last_failure or self.deferred.failing or self._refusal):
                continue
            waited = 0.0
            try:
                await self.heartbeat()
                await self.deferred.flush()
                await self._probe()
            except StateUnavailable:
                pass  # `health` reports it.
            except Exception:
                # A replica without heartbeats loses its messages, so the loop goes on after any error.
                logger.exception("wecom state could not be kept")

    async def _probe(self) -> None:
        """Check whether an admission would succeed. Heartbeats and updates succeed even if Redis refuses admissions."""
        try:
            self._risk = await probe(self._connection, channel=self._channel, name=socket.gethostname())
        except StateUnavailable as unavailable:
            self._refusal = unavailable
            raise
        self._refusal = None

    async def _admit(self, admissions: list[Admission], token: str, now: float) -> set[str]:
        """Admit messages and return the ids of the new ones."""
        new = set()
        for part in _split_batch(admissions):
            ends = (now + CLAIM_SECONDS, now + STREAM_SECONDS)
            arguments = (self._replica, token, *ends, now, *_admission_arguments(part))
            for admission, is_new in zip(part, await self._run(scripts.ADMIT, *arguments), strict=True):
                if is_new:
                    new.add(admission.callback.message_id)
        return new

    def _open_streams(self, admissions: Iterable[Admission], token: str, now: float) -> None:
        """Keep the streams that admissions opened, and drop those that Redis no longer has."""
        for admission in admissions:
            if admission.stream_id and admission.window:
                message_id = admission.callback.message_id
                self._streams.pop(message_id, None)
                self._streams[message_id] = _Stream(admission.stream_id, token, now + STREAM_SECONDS)
        while self._streams and (oldest := next(iter(self._streams.items())))[1].until <= now:
            del self._streams[oldest[0]]

    def _new_token(self) -> str:
        return f"{self._replica}:{next(self._token_numbers)}"

    async def _apply(self, updates: Iterable[_Update]) -> None:
        await self._run(scripts.APPLY_UPDATES, *_update_arguments(updates))

    async def _run(self, script: scripts.Script, *arguments: str | bytes | float) -> list[Any]:
        # Every script returns the number of open windows, the number of expired windows it found, and its own results.
        match await self._connection.run(script, self._unfinished, *arguments):
            case [int(open_windows), int(expired), *results]:
                # Concurrent calls have connections of their own, so their answers may arrive in another order than that
                # of the scripts. The number is then too old until the next answer, a heartbeat at the latest.
                self._open_windows = open_windows
                self._expired_windows += expired
                return results
        raise StateUnavailable(UNEXPECTED_ANSWER)


class _Stream(NamedTuple):
    """A stream that this replica opened: its id, the token of its admission, and when Redis no longer stores it."""

    id: str
    token: str
    until: float


class _Update(NamedTuple):
    """An update as `apply_updates.lua` reads it.

    `id` is that of a message; of a stream in `fetched` and `close`; empty in an `abandon` of a claim that was not for a
    certain message. `token` is the token of the admission, take-over or window claim that the update ends. `abandon`
    undoes a window claim whose answer was lost. `give_up` lets a message be taken over at once because the answer to
    its admission was lost. `fetched` confirms that the last frame of a stream was given out, and has no token. `close`
    ends a stream that could not be ended in time.
    """

    kind: Literal["finish", "spend", "restore", "restore_repeated", "abandon", "give_up", "fetched", "close"]
    token: str
    id: str
    now: float


class DeferredUpdates:
    """A queue that applies updates in order and in batches, and keeps them while Redis is unavailable.

    Its size is bounded, because while Redis is unavailable no message is admitted, no window is claimed and no frame of
    another process is read.

    Args:
        apply: applies a batch of updates. Raises StateUnavailable if it is unknown whether they were applied.
    """

    def __init__(self, apply: Callable[[list[_Update]], Awaitable[None]]) -> None:
        self._apply = apply
        self._updates: deque[tuple[_Update, asyncio.Future[StateUnavailable | None]]] = deque()
        self._sender: asyncio.Task[None] | None = None
        self.failing = False
        """Whether the last batch failed, in which case updates wait for the next `flush`."""

    def __len__(self) -> int:
        return len(self._updates)

    async def apply(self, update: _Update) -> None:
        """Apply an update, or defer it if Redis is unavailable. It is not undone if the caller is cancelled."""
        attempt = self.add(update)
        if not self.failing:
            await asyncio.shield(attempt)

    def add(self, update: _Update) -> asyncio.Future[StateUnavailable | None]:
        """Queue an update. Return a future of the first attempt: None if it was applied, otherwise the failure."""
        attempt: asyncio.Future[StateUnavailable | None] = asyncio.get_running_loop().create_future()
        self._updates.append((update, attempt))
        if not self.failing:
            self._send()
        return attempt

    async def flush(self) -> None:
        """Wait until all queued updates are applied. Raises StateUnavailable if Redis is still unavailable."""
        if not self._updates:
            return
        _, attempt = self._updates[-1]
        self._send()
        if failure := await asyncio.shield(attempt):
            raise StateUnavailable(str(failure), reason=failure.reason)

    def _send(self) -> None:
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self._updates:
                batch = list(itertools.islice(self._updates, _MAX_UPDATES))
                await self._apply([update for update, _ in batch])
                self.failing = False
                for _, attempt in batch:
                    self._updates.popleft()
                    attempt.set_result(None)
        except Exception as error:  # noqa: BLE001 - no caller may be left waiting, whatever the error
            failure = error if isinstance(error, StateUnavailable) else StateUnavailable(UNEXPECTED_ANSWER)
            self.failing = True
            deferred = [update for update, _ in self._updates]
            for _, attempt in self._updates:
                attempt.set_result(failure)
            self._updates.clear()
            self._updates.extend((update, asyncio.get_running_loop().create_future()) for update in deferred)
        finally:
            self._sender = None


def _split_batch(admissions: Iterable[Admission]) -> Iterator[list[Admission]]:
    """Split a batch so that no script call blocks Redis for long or takes long to send."""
    part: list[Admission] = []
    bytes_left = _MAX_ADMISSION_BYTES
    for admission in admissions:
        size = len(admission.callback.message)
        if part and (len(part) == _MAX_ADMISSIONS or size > bytes_left):
            yield part
            part, bytes_left = [], _MAX_ADMISSION_BYTES
        part.append(admission)
        bytes_left -= size
    if part:
        yield part


def _admission_arguments(part: Iterable[Admission]) -> Iterator[str | bytes | float]:
    for admission in part:
        callback, window = admission.callback, admission.window
        yield callback.message_id
        yield callback.received_at
        yield callback.message
        if window:
            yield from (admission.stream_id, admission.stream_text)
            yield from (window.chat, window.sender_id, window.url, window.opened_at, window.expires_at)
        else:
            yield from ("", "", "", "", "", "", "")


def _update_arguments(updates: Iterable[_Update]) -> Iterator[str | float]:
    for update in updates:
        yield from (update.kind, update.token, update.id, update.now)


def _ending(frame: StreamFrame) -> str:
    """Return `last` of a frame, as `records.lua` documents it."""
    if not frame.is_last:
        return ""
    return "answer" if frame.is_answer else "sentence"


def _parse_window(
    message_id: bytes, chat: bytes, sender: bytes, url: bytes, opened_at: bytes, expires_at: bytes, repeated: bytes
) -> ReplyWindow:
    return ReplyWindow(
        message_id=message_id.decode(),
        chat=chat.decode(),
        sender_id=sender.decode(),
        url=url.decode(),
        opened_at=float(opened_at),
        expires_at=float(expires_at),
        repeated=repeated == b"1",
    )
