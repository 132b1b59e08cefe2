"""A probe of Redis: whether it runs the scripts of this backend, has memory for a message, and keeps what it stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maven_channel_wecom.state.redis import scripts
from maven_channel_wecom.state.redis.address import key_prefix

if TYPE_CHECKING:
    from maven_channel_wecom.state.redis.connection import RedisConnection

_EVICTS: Final = (
    "the state's Redis removes keys when its memory is full, and with them messages, reply windows and claims: "
    "set maxmemory-policy noeviction"
)

# The message of the probe is never taken over because of silence: it is released.
_SILENT_MS: Final = 86_400_000
_CHAT: Final = "single:probe"
_LIFETIME_MS: Final = 60_000

# Scripts compare times only with each other.
_NOW: Final = 1.0
_UNTIL: Final = 2.0


async def probe(connection: RedisConnection, *, channel: str, name: str) -> str | None:
    """Run every script as for one message, on keys of their own, which are removed at the end.

    The keys have the prefix of the channel, so permissions apply alike, and they are in its slot.

    Args:
        connection: the connection to Redis.
        channel: the name of the channel.
        name: part of the keys, and the same in every probe of one host. So a probe removes what one that was
            interrupted left behind, and those of other hosts do not disturb it. If two run at once under one name, each
            may skip steps.

    Returns:
        A sentence if Redis removes keys when its memory is full, otherwise None.

    Raises:
        StateUnavailable: an operation on a message would fail too.
    """
    prefix = f"{key_prefix(channel)}probe:{name}:"
    unfinished = f"{prefix}unfinished"
    message_id, stream_id, token, holder = "probe", "probe", f"{name}:probe", f"{name}:claim"
    message = f"message:{message_id}"

    async def remove_keys() -> None:
        names = ("unfinished", "windows", "pulse", message, f"stream:{stream_id}", f"chat:{_CHAT}")
        notes = (f"note:{token}", f"note:{holder}")
        await connection.command("DEL", *(f"{prefix}{each}" for each in (*names, *notes)))

    async def expire(*names: str) -> None:
        for each in names:
            await connection.command("PEXPIRE", f"{prefix}{each}", _LIFETIME_MS)

    async def update(*updates: tuple[str, str]) -> None:
        arguments = [argument for kind, of in updates for argument in (kind, of, message_id, _NOW)]
        await connection.run(scripts.APPLY_UPDATES, unfinished, *arguments)

    admission = (message_id, _NOW, "", stream_id, "", _CHAT, "", "", _NOW, _UNTIL)
    await remove_keys()
    await connection.run(scripts.ADMIT, unfinished, name, token, _UNTIL, _UNTIL, _NOW, *admission)
    await expire("unfinished", "windows", message)
    *_, evicts = await connection.run(scripts.HEARTBEAT, unfinished, name, _SILENT_MS, 0, message_id, token)
    await expire("pulse")
    await connection.run(scripts.WRITE_FRAME, unfinished, stream_id, token, 1, "", "answer")
    # A reservation that is over at once, so that the stream can be closed and the message released.
    await connection.run(scripts.READ_FRAME, unfinished, stream_id, _CHAT, 0, _NOW, 0)
    await connection.run(scripts.IS_FETCHED, unfinished, stream_id)
    await connection.run(scripts.CLOSE_STREAM, unfinished, stream_id, token)
    await connection.run(scripts.CLAIM_WINDOW, unfinished, holder, "", "", "", _NOW, _CHAT)
    await update(("restore", holder), ("abandon", holder))
    # Claiming the only window removed this key, and restoring it made it again.
    await expire("windows")
    await connection.run(scripts.RELEASE, unfinished, name, token, message_id, _NOW)
    # Twice, because a repeated call needs other commands.
    for _ in range(2):
        await connection.run(scripts.TAKE_OVER, unfinished, name, token, _SILENT_MS, 1, 1, _NOW, _UNTIL)
    await update(("fetched", ""), ("spend", ""), ("finish", token))
    await remove_keys()
    return _EVICTS if evicts else None
