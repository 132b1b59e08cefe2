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

# No message of the probe is ever taken over because of silence: its replica gives it up.
_SILENT_MS: Final = 86_400_000
_CHAT: Final = "single:probe"
_LIFETIME_MS: Final = 60_000

# Scripts compare times only with each other.
_NOW: Final = 1.0
_UNTIL: Final = 2.0


async def probe(connection: RedisConnection, *, channel: str, replica: str) -> str | None:
    """Run every script as for one message, on keys of their own, which are removed at the end.

    The keys have the prefix of the channel, so permissions apply alike, and they are in its slot. They contain the name
    of the replica, so that the probes of several replicas do not disturb each other.

    Returns:
        A sentence if Redis removes keys when its memory is full, otherwise None.

    Raises:
        StateUnavailable: an operation on a message would fail too.
    """
    prefix = f"{key_prefix(channel)}probe:{replica}:"
    stream = f"{prefix}unfinished"
    message_id, token, holder = "probe", f"{replica}:probe", f"{replica}:claim"

    async def update(*updates: tuple[str, str]) -> None:
        arguments = [argument for kind, of in updates for argument in (kind, of, message_id, _NOW)]
        await connection.run(scripts.APPLY_UPDATES, stream, *arguments)

    admission = (message_id, _NOW, "", _CHAT, "", "", _NOW, _UNTIL)
    await connection.run(scripts.ADMIT, stream, replica, token, _UNTIL, _NOW, *admission)
    *_, evicts = await connection.run(scripts.HEARTBEAT, stream, replica, _SILENT_MS, 0, message_id, token)
    for name in ("unfinished", "windows", "pulse"):
        await connection.command("PEXPIRE", f"{prefix}{name}", _LIFETIME_MS)
    await connection.run(scripts.CLAIM_WINDOW, stream, holder, "", "", "", _NOW, _CHAT)
    await update(("restore", holder), ("abandon", holder))
    await connection.run(scripts.RELEASE, stream, replica, token, message_id, _NOW)
    # Twice, because a repeated call needs other commands.
    for _ in range(2):
        await connection.run(scripts.TAKE_OVER, stream, replica, token, _SILENT_MS, 1, 1, _NOW, _UNTIL)
    await update(("spend", ""), ("finish", token))
    names = ("unfinished", "windows", "pulse", f"message:{message_id}", f"chat:{_CHAT}")
    notes = (f"note:{token}", f"note:{holder}")
    await connection.command("DEL", *(f"{prefix}{name}" for name in (*names, *notes)))
    return _EVICTS if evicts else None
