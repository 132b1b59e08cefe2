"""The edges of the doctor towards what is kept: the state, and the files that hold secrets.

Nothing in them is changed but what the gateway itself would change when it starts: the file is written what it holds
already, and the key in Redis is gone at once.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.doctor.checks import StateSeen
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.backends import SQLITE
from maven_channel_wecom.state.redis.address import is_redis, key_prefix, parse_redis_address
from maven_channel_wecom.state.sqlite.file import StateFile, StateInUse, explain

if TYPE_CHECKING:
    from maven_channel_wecom.state.redis.connection import RedisConnection

_PAGE_BYTES: Final = 4096

_PROBE_SECONDS: Final = 10
"""How long the key that tried a Redis lives, should deleting it fail."""


def readers(path: Path) -> str:
    """Return who may read a file beside its owner, empty when nobody may. For a thread: it looks at the disk."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    return " and by ".join(
        who for right, who in ((stat.S_IRGRP, "its group"), (stat.S_IROTH, "everybody")) if mode & right
    )


async def probe_state(address: str, *, channel: str) -> StateSeen:
    """Look at the state an address names, of one channel. The address has no problem in it."""
    try:
        if address.startswith(SQLITE):
            return await asyncio.to_thread(_probe_file, address.removeprefix(SQLITE))
        if is_redis(address):
            return await _probe_redis(address, channel)
    except StateUnavailable as unavailable:
        return StateSeen(kind="unusable", detail=str(unavailable))
    return StateSeen(kind="memory")


def _probe_file(name: str) -> StateSeen:
    # Absolute, so that its sentences say where it is.
    path = Path(name).absolute()
    folder = path.parent
    try:
        exists = path.exists()
    except OSError as error:
        return StateSeen(kind="unusable", detail=f"the state file {path} cannot be looked for: {error.strerror}")
    if not exists:
        # The file is not made: it would belong to whoever asks, who need not be the user the gateway runs as.
        if not folder.is_dir():
            return StateSeen(kind="unusable", detail=f"there is no folder {folder} for the state file: create it")
        return _probe_folder(folder)
    try:
        file = StateFile(path)
    except StateInUse:
        return StateSeen(kind="locked")
    try:
        _write_to(file.connection)
    except sqlite3.Error as error:
        raise explain(error, path) or error from None
    finally:
        file.close()
    return StateSeen(kind="file")


def _write_to(connection: sqlite3.Connection) -> None:
    """Write the version that stands there already."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version}")


def _probe_folder(folder: Path) -> StateSeen:
    """Write a page to a file that has no name, so that a full or read-only disk is seen."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(bytes(_PAGE_BYTES))
            os.fsync(probe.fileno())
    except PermissionError:
        return StateSeen(kind="unusable", detail=f"this user may not write in {folder}: give the right to")
    except OSError as error:
        detail = f"nothing can be written in {folder} ({error.strerror}): look at its disk, its quota and limits"
        return StateSeen(kind="unusable", detail=detail)
    return StateSeen(kind="new_file")


async def _probe_redis(address: str, channel: str) -> StateSeen:
    try:
        connection = await asyncio.to_thread(_redis_connection, address)
    except OSError:
        detail = "the files for TLS in the address cannot be read, or are no certificates and keys in PEM"
        return StateSeen(kind="unusable", detail=detail)
    key = f"{key_prefix(channel)}doctor"
    try:
        await connection.command("SET", key, "1", "EX", _PROBE_SECONDS)
        await connection.command("DEL", key)
    finally:
        await connection.close()
    return StateSeen(kind="redis")


def _redis_connection(address: str) -> RedisConnection:
    """Make a connection. For a thread: it reads the files for TLS, and the package its scripts."""
    from maven_channel_wecom.state.redis.connection import RedisConnection  # noqa: PLC0415 - with the extra only

    return RedisConnection(parse_redis_address(address))
