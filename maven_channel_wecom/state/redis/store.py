"""State in Redis, shared by all replicas of a channel: what one acknowledged another finishes if that one dies.

The steps themselves are the scripts in `lua/`; `records.lua` says what is stored and where.
"""

from __future__ import annotations

import asyncio
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
from maven_channel_wecom.state.redis.connection import ANSWER_SECONDS, RedisConnection
from maven_channel_wecom.state.store import CLAIM_SECONDS, Admission, StateStore, StoredCallback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

logger = logging.getLogger(__name__)

_NO_ANSWER: Final = "the Redis of the state gave an answer that is none of its scripts'; see what is in front of it"

SILENT_SECONDS: Final = 20.0
"""How long a replica is not heard before its work is taken over. Lower: one that is only slow loses its work. Higher:
users of one that died wait longer."""

# So that a replica is heard in time even after the longest gap that does not start the wait anew (half of it).
_BEATS: Final = 4
_TICK_SECONDS: Final = 0.25

# Per script call, so that none keeps Redis busy for more than a few milliseconds.
_MAX_ADMISSIONS: Final = 128
_MAX_ADMISSION_BYTES: Final = 512 * 1024
_MAX_DEFERRED: Final = 128
_MAX_BEATS: Final = 200
_MAX_TAKEN: Final = 100

_MAX_KEPT: Final = 1_000
"""How many steps are kept for later before lost admissions are no longer among them. Lower: after an outage, more of
them wait until this replica counts as silent. Higher: more memory while Redis is away."""


async def open_redis(address: str, *, channel: str, answer_seconds: float = ANSWER_SECONDS) -> RedisStateStore:
    """Open the state of a channel. A Redis that cannot be reached is told by `health` and tried again, not raised.

    Raises:
        StateUnavailable: the files for TLS cannot be read, which no waiting heals.
    """
    try:
        # In a thread, as it reads the files for TLS and redis-py's own version.
        connection = await asyncio.to_thread(RedisConnection, parse_redis_address(address), seconds=answer_seconds)
    except OSError:
        message = "the files for TLS in the address cannot be read, or are no certificates and keys in PEM"
        raise StateUnavailable(message) from None
    store = RedisStateStore(connection, channel=channel)
    await store.start()
    return store


class RedisStateStore(StateStore):
    """A StateStore in Redis. Needs `start`.

    Each call that admits or takes over messages and each claim of a window has a token of its own. By it a step that is
    sent twice knows itself, and one that comes too late, after another replica took the message over, changes nothing.

    What only records that something is over (finish, release, spend, restore) does not fail: when Redis is away it is
    deferred, in order, and made good when Redis is back; should this process die before, others take its messages over.

    Args:
        connection: runs the scripts.
        channel: whose state it is.
        silent_seconds: how long a replica is not heard before its work is taken over. The same for all replicas.
    """

    def __init__(self, connection: RedisConnection, *, channel: str, silent_seconds: float = SILENT_SECONDS) -> None:
        self._connection = connection
        prefix = key_prefix(channel)
        self._stream = f"{prefix}unfinished"
        self._probe = f"{prefix}room"
        self._replica = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self._silent_seconds = silent_seconds
        self._silent_ms = int(silent_seconds * 1000)
        # Messages in progress here, by the token they were admitted or taken over with.
        self._in_progress: dict[str, str] = {}
        # Windows claimed here, by the token they were claimed with.
        self._holders: dict[str, str] = {}
        # The token of a take-over whose answer was lost: the next one asks for what it took.
        self._lost_take_over: str | None = None
        self._full: StateUnavailable | None = None
        self._open_windows = 0
        self._expired_windows = 0
        self._keeper: asyncio.Task[None] | None = None
        self.deferred = DeferredSteps(self._settle)
        """What is still to be recorded."""

    async def start(self) -> None:
        """Be heard from now on."""
        with suppress(StateUnavailable):
            await self.beat()
        self._keeper = asyncio.create_task(self._keep())

    async def admit(self, batch: Sequence[Admission], now: float) -> list[bool]:
        token = self._token()
        asked: dict[str, Admission] = {}
        for admission in batch:
            if admission.callback.message_id not in self._in_progress:
                asked.setdefault(admission.callback.message_id, admission)
        try:
            new = await self._admit(list(asked.values()), token, now)
        except (StateUnavailable, asyncio.CancelledError) as failure:
            if isinstance(failure, StateUnavailable) and failure.reason == "state_full":
                self._full = failure
            # Redis may have stored some of them, which no process works on: they are not in progress here.
            if len(self.deferred) < _MAX_KEPT:
                for message_id in asked:
                    self.deferred.add(_Step("give_up", token, message_id, now))
            raise
        if asked:
            self._full = None
        self._in_progress.update(dict.fromkeys(new, token))
        results = []
        for admission in batch:
            results.append(admission.callback.message_id in new)
            new.discard(admission.callback.message_id)
        return results

    async def release(self, message_id: str, now: float) -> None:
        token = self._in_progress.pop(message_id, None)
        if token is not None:
            await self.deferred.do(_Step("release", token, message_id, now))

    async def finish(self, message_id: str, now: float) -> None:
        token = self._in_progress.pop(message_id, None)
        if token is not None:
            await self.deferred.do(_Step("finish", token, message_id, now))

    async def take_over(self, now: float, *, most: int = 1_000) -> list[StoredCallback]:
        # Before anything is taken, what is in progress here shows that it is, and what was given up is free.
        await self.beat()
        await self.deferred.flush()
        token, self._lost_take_over = self._lost_take_over or self._token(), None
        limits = (self._silent_ms, min(most, _MAX_TAKEN))
        try:
            taken = await self._run(scripts.TAKE_OVER, self._replica, token, *limits, now, now + CLAIM_SECONDS)
        except (StateUnavailable, asyncio.CancelledError):
            self._lost_take_over = token
            raise
        callbacks = [
            StoredCallback(message_id.decode(), float(received_at), message)
            for message_id, received_at, message in taken
        ]
        for callback in callbacks:
            self._in_progress[callback.message_id] = token
        return sorted(callbacks, key=lambda callback: callback.received_at)

    async def claim_window(
        self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        # Among what is deferred may be an earlier claim that was abandoned, and still holds the window.
        await self.deferred.flush()
        message_id = reply_to or ""
        owner = self._in_progress.get(message_id, "")
        holder = self._token()
        try:
            found = await self._run(scripts.CLAIM_WINDOW, holder, owner, message_id, spare_of or "", now, *chats)
        except (StateUnavailable, asyncio.CancelledError):
            self.deferred.add(_Step("abandon", holder, message_id, now))
            raise
        if not found:
            return None
        window = _window(*found)
        self._holders[window.message_id] = holder
        return window

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        holder = self._holders.pop(window.message_id, "")
        await self.deferred.do(_Step("spend", holder, window.message_id, now))

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        holder = self._holders.pop(window.message_id, "")
        await self.deferred.do(_Step("restore", holder, window.message_id, now))

    @property
    def open_windows(self) -> int:
        """The open windows of all replicas, as of the last step or beat."""
        return self._open_windows

    @property
    def expired_windows(self) -> int:
        return self._expired_windows

    async def health(self) -> str | None:
        """Return what the last step or beat failed of; nothing is sent."""
        trouble = self._connection.trouble or self._full
        return str(trouble) if trouble else None

    async def close(self) -> None:
        """Make good what is deferred, and give up what is still in progress, so that others need not wait for it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        with suppress(StateUnavailable):
            await self.deferred.flush()
            await self.beat(give_up=True)
        await self._connection.close()

    async def beat(self, *, give_up: bool = False) -> None:
        """Show that this replica lives, and what it works on; or give that up, so that it is taken over at once."""
        messages = list(self._in_progress.items())
        for start in range(0, max(1, len(messages)), _MAX_BEATS):
            pairs = itertools.chain.from_iterable(messages[start : start + _MAX_BEATS])
            await self._run(scripts.BEAT, self._replica, self._silent_ms, int(give_up), *pairs)

    async def _keep(self) -> None:
        """Be heard, and when Redis was away find out when it is back, whether there are callers or not."""
        between_beats = self._silent_seconds / _BEATS
        tick = min(_TICK_SECONDS, between_beats)
        waited = 0.0
        while True:
            await asyncio.sleep(tick)
            waited += tick
            if waited < between_beats and not (self._connection.trouble or self.deferred.behind or self._full):
                continue
            waited = 0.0
            try:
                await self.beat()
                await self.deferred.flush()
                await self._look_for_space()
            except StateUnavailable:
                pass  # `health` tells it.
            except Exception:
                # A replica that is not heard loses its work, so whatever this is, the next beat is tried.
                logger.exception("wecom state could not be kept")

    async def _look_for_space(self) -> None:
        """Find out whether Redis is full: it refuses an admission, and lets all other steps through."""
        try:
            # Gone at once.
            await self._connection.command("SET", self._probe, "", "PX", 1)
        except StateUnavailable as unavailable:
            if unavailable.reason == "state_full":
                self._full = unavailable
            raise
        self._full = None

    async def _admit(self, admissions: list[Admission], token: str, now: float) -> set[str]:
        """Return the ids of those that are new."""
        new = set()
        for part in _parts(admissions):
            arguments = (self._replica, token, now + CLAIM_SECONDS, now, *_admission_arguments(part))
            for admission, is_new in zip(part, await self._run(scripts.ADMIT, *arguments), strict=True):
                if is_new:
                    new.add(admission.callback.message_id)
        return new

    def _token(self) -> str:
        return f"{self._replica}:{next(self._numbers)}"

    async def _settle(self, steps: Iterable[_Step]) -> None:
        await self._run(scripts.SETTLE, *_step_arguments(steps))

    async def _run(self, script: scripts.Script, *arguments: str | bytes | float) -> list[Any]:
        # Every script answers with how many windows are open, how many it found expired, then with its own results.
        match await self._connection.run(script, self._stream, *arguments):
            case [int(open_windows), int(expired), *own]:
                self._open_windows = open_windows
                self._expired_windows += expired
                return own
        raise StateUnavailable(_NO_ANSWER)


class _Step(NamedTuple):
    """A step as `settle.lua` reads it. `token` is that of the admission, take-over or claim that it ends.

    `abandon` undoes a claim whose answer was lost; its `message_id` is empty if it may have claimed any window.
    `give_up` lets a message be taken over at once whose admission's answer was lost.
    """

    kind: Literal["finish", "release", "spend", "restore", "abandon", "give_up"]
    token: str
    message_id: str
    now: float


class DeferredSteps:
    """Runs steps in the order they came: many in one call, and when Redis is away, later.

    They are bounded: while Redis is away no new message is admitted, and no window is claimed.

    Args:
        settle: runs some steps. Raises StateUnavailable when it is not known that they ran.
    """

    def __init__(self, settle: Callable[[list[_Step]], Awaitable[None]]) -> None:
        self._settle = settle
        self._steps: deque[tuple[_Step, asyncio.Future[StateUnavailable | None]]] = deque()
        self._sender: asyncio.Task[None] | None = None
        self.behind = False
        """Whether the last call failed, so that what came since is kept until `flush`."""

    def __len__(self) -> int:
        return len(self._steps)

    async def do(self, step: _Step) -> None:
        """Run a step, or keep it for later if Redis is away. Canceling the caller does not take it back."""
        tried = self.add(step)
        if not self.behind:
            await asyncio.shield(tried)

    def add(self, step: _Step) -> asyncio.Future[StateUnavailable | None]:
        """Take a step without waiting for it. Returns a future of the first try: None if it ran, else why not."""
        tried: asyncio.Future[StateUnavailable | None] = asyncio.get_running_loop().create_future()
        self._steps.append((step, tried))
        if not self.behind:
            self._send()
        return tried

    async def flush(self) -> None:
        """Wait until all steps taken so far have run. Raises StateUnavailable when Redis is still away."""
        if not self._steps:
            return
        _, tried = self._steps[-1]
        self._send()
        if failure := await asyncio.shield(tried):
            raise StateUnavailable(str(failure), reason=failure.reason)

    def _send(self) -> None:
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self._steps:
                batch = list(itertools.islice(self._steps, _MAX_DEFERRED))
                await self._settle([step for step, _ in batch])
                self.behind = False
                for _, tried in batch:
                    self._steps.popleft()
                    tried.set_result(None)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may be left waiting
            failure = error if isinstance(error, StateUnavailable) else StateUnavailable(_NO_ANSWER)
            self.behind = True
            kept = [step for step, _ in self._steps]
            for _, tried in self._steps:
                tried.set_result(failure)
            self._steps.clear()
            self._steps.extend((step, asyncio.get_running_loop().create_future()) for step in kept)
        finally:
            self._sender = None


def _parts(admissions: Iterable[Admission]) -> Iterator[list[Admission]]:
    """Divide a batch so that none of its calls keeps Redis busy, or takes long to send."""
    part: list[Admission] = []
    room = _MAX_ADMISSION_BYTES
    for admission in admissions:
        size = len(admission.callback.message)
        if part and (len(part) == _MAX_ADMISSIONS or size > room):
            yield part
            part, room = [], _MAX_ADMISSION_BYTES
        part.append(admission)
        room -= size
    if part:
        yield part


def _admission_arguments(part: Iterable[Admission]) -> Iterator[str | bytes | float]:
    for callback, window in ((admission.callback, admission.window) for admission in part):
        yield callback.message_id
        yield callback.received_at
        yield callback.message
        if window:
            yield from (window.chat, window.sender_id, window.url, window.opened_at, window.expires_at)
        else:
            yield from ("", "", "", "", "")


def _step_arguments(steps: Iterable[_Step]) -> Iterator[str | float]:
    for step in steps:
        yield from (step.kind, step.token, step.message_id, step.now)


def _window(
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
