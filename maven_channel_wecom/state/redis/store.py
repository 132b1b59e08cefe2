"""State in Redis, shared by all replicas of a channel: what one acknowledged another finishes if the one dies.

The steps themselves are the scripts in `lua/`; `records.lua` says what is kept and where.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import secrets
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.later import Later
from maven_channel_wecom.state.port import CLAIM_SECONDS, KeptCallback
from maven_channel_wecom.state.redis import scripts
from maven_channel_wecom.state.redis.address import parse_redis_address
from maven_channel_wecom.state.redis.keys import key_prefix
from maven_channel_wecom.state.redis.link import RedisLink
from maven_channel_wecom.state.redis.owed import OwedSteps
from maven_channel_wecom.state.redis.room import RedisRoom
from maven_channel_wecom.state.redis.windows import RedisWindows

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.redis.scripts import Script

SILENT_SECONDS: Final = 20.0
"""How long a replica is not heard before its work is taken over. Lower: one that is only slow loses its work. Higher:
users of one that died wait longer."""

# So that a replica is heard in time even after the longest gap that does not start the wait anew (half of it).
_BEATS: Final = 4
_TICK_SECONDS: Final = 0.25

# An idle time that marks what was given up; no replica can be silent for that long (a hundred days).
_GONE_MS: Final = 100 * 24 * 3600 * 1000

# Per script call, so that none keeps Redis busy for more than a few milliseconds.
_BEAT_MESSAGES: Final = 200
_TAKEN: Final = 100


async def open_redis(address: str, *, channel: str) -> RedisStateStore:
    """Open the state of a channel. A Redis that cannot be reached is told by `health` and tried again, not raised.

    Raises:
        StateUnavailable: the files for TLS cannot be read, which no waiting heals.
    """
    try:
        # In a thread, as it reads the files for TLS and redis-py's own version.
        link = await asyncio.to_thread(RedisLink, parse_redis_address(address))
    except OSError:
        message = "the files for TLS in the address cannot be read, or are no certificates and keys in PEM"
        raise StateUnavailable(message) from None
    store = RedisStateStore(link, channel=channel)
    await store.start()
    return store


class RedisStateStore:
    """A StateStore in Redis. Needs `start`.

    Each admission and each claim of a window has a token of its own. By it a step that is sent twice knows itself, and
    one that comes too late, after another replica took the message over, changes nothing.

    What only records that something is over (finish, release, spend, restore) does not fail: when Redis is away it is
    owed, in order, and made good when Redis is back; should this process die before, others take its messages over.

    Args:
        link: runs the scripts.
        channel: whose state it is.
        silent_seconds: how long a replica is not heard before its work is taken over. The same for all replicas.
    """

    def __init__(self, link: RedisLink, *, channel: str, silent_seconds: float = SILENT_SECONDS) -> None:
        self._link = link
        prefix = key_prefix(channel)
        self._key = f"{prefix}unfinished"
        self._replica = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self._silent_seconds = silent_seconds
        self._silent_ms = int(silent_seconds * 1000)
        # Messages in hand, by the token they were admitted or taken over with.
        self._in_hand: dict[str, str] = {}
        self._owed = OwedSteps(self._run)
        self._windows = RedisWindows(self._run, owed=self._owed, token=self._token)
        self._room = RedisRoom(link.run, key=f"{prefix}room")
        self._open_windows = 0
        self._expired_windows = 0
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Be heard from now on."""
        with suppress(StateUnavailable):
            await self._beat()
        self._keeper = asyncio.create_task(self._keep())

    def admit(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> bool | Later[bool]:
        """See StateStore.

        After an error Redis may still have it: then it is taken over once it was idle for long enough, and a repeat is
        rightly a duplicate.
        """
        message_id = callback.message_id
        if message_id in self._in_hand:
            return False
        token = self._token()
        kept = (self._replica, token, message_id, callback.chat_id, callback.received_at, callback.message)
        opened = (window.sender_id, window.url, window.opened_at, window.expires_at) if window else ()
        answer = self._submit(scripts.ADMIT, *kept, now + CLAIM_SECONDS, now, *opened)
        return Later(answer).then(partial(self._admitted, message_id, token))

    async def release(self, message_id: str, now: float) -> None:
        """See StateStore."""
        await self._settle(message_id, now, released=True)

    async def finish(self, message_id: str, now: float) -> None:
        """See StateStore."""
        await self._settle(message_id, now, released=False)

    async def unfinished(self, now: float, *, most: int = 1_000) -> list[KeptCallback]:
        """See StateStore."""
        # Before anything is taken, what is in hand here shows that it is.
        await self._beat()
        token = self._token()
        whose = (self._replica, token, self._silent_ms, _GONE_MS)
        taken = await self._run(scripts.TAKE_OVER, *whose, min(most, _TAKEN), now, now + CLAIM_SECONDS)
        callbacks = [
            KeptCallback(message_id.decode(), chat_id.decode(), float(received_at), message)
            for message_id, chat_id, received_at, message in taken
        ]
        for callback in callbacks:
            self._in_hand[callback.message_id] = token
        return sorted(callbacks, key=lambda callback: callback.received_at)

    async def claim_window(
        self, chat_id: str, reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        """See StateStore."""
        message_id = reply_to or ""
        return await self._windows.claim(
            chat_id, message_id, owner=self._in_hand.get(message_id, ""), spare_of=spare_of or "", now=now
        )

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        await self._windows.close(window, now, spent=True)

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        await self._windows.close(window, now, spent=False)

    @property
    def open_windows(self) -> int:
        """See StateStore. Of all replicas, as of the last step, or the last beat."""
        return self._open_windows

    @property
    def expired_windows(self) -> int:
        """See StateStore."""
        return self._expired_windows

    async def health(self) -> str | None:
        """See StateStore. As of the last step, or the last beat: nothing is sent."""
        trouble = self._link.trouble or self._room.trouble
        return str(trouble) if trouble else None

    async def close(self) -> None:
        """Make good what is owed, and give up what is still in hand, so that others need not wait for it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        with suppress(StateUnavailable):
            await self._owed.pay()
            await self._beat(idle_ms=_GONE_MS)
        await self._link.close()

    def _admitted(self, message_id: str, token: str, result: Callable[[], list[Any]]) -> bool:
        try:
            new = bool(self._read(result())[0])
        except StateUnavailable as unavailable:
            self._room.note(unavailable)
            raise
        self._room.note(None)
        if new:
            self._in_hand[message_id] = token
        return new

    def _token(self) -> str:
        return f"{self._replica}:{next(self._numbers)}"

    async def _run(self, script: Script, *arguments: str | bytes | float) -> list[Any]:
        return self._read(await self._submit(script, *arguments))

    def _submit(self, script: Script, *arguments: str | bytes | float) -> asyncio.Future[list[Any]]:
        return self._link.submit("EVALSHA", script.sha, 1, self._key, *arguments)

    def _read(self, answer: list[Any]) -> list[Any]:
        # Every script answers with how many windows are open, how many it found expired, then with what is its own.
        self._open_windows, expired, *own = answer
        self._expired_windows += expired
        return own

    async def _settle(self, message_id: str, now: float, *, released: bool) -> None:
        token = self._in_hand.pop(message_id, None)
        if token is not None:
            await self._owed.do_or_owe(scripts.SETTLE, token, message_id, int(released), now)

    async def _keep(self) -> None:
        """Be heard, and when Redis was away find out when it is back, whether anybody calls or not."""
        between_beats = self._silent_seconds / _BEATS
        tick = min(_TICK_SECONDS, between_beats)
        waited = 0.0
        while True:
            await asyncio.sleep(tick)
            waited += tick
            if waited < between_beats and not (self._link.trouble or self._owed or self._room.trouble):
                continue
            waited = 0.0
            try:
                await self._beat()
                await self._owed.pay()
                await self._room.look()
            except StateUnavailable:
                pass  # `health` tells it.
            except Exception:
                # A replica that is not heard loses its work, so whatever this is, the next beat is tried.
                logger.exception("wecom state could not be kept")

    async def _beat(self, *, idle_ms: int = 0) -> None:
        messages = list(self._in_hand.items())
        for start in range(0, max(1, len(messages)), _BEAT_MESSAGES):
            pairs = itertools.chain.from_iterable(messages[start : start + _BEAT_MESSAGES])
            await self._run(scripts.BEAT, self._replica, self._silent_ms, idle_ms, *pairs)
