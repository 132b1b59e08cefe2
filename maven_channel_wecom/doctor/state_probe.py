"""Probes the state by writing to it, and leaves no change behind.

A SQLite file is opened as the gateway opens it, and its own version number is written to it again; one of an older
version is only read, because opening it would migrate it, and so is one that another user could use against root. In
Redis the scripts of the gateway run on keys of their own, which are deleted at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.doctor.checks import StateFinding
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.file_lock import UnusableFile, others_can_change
from maven_channel_wecom.host.memory import open_store
from maven_channel_wecom.host.memory_file import check_memory
from maven_channel_wecom.host.memory_store import IN_FILE, IN_PROCESS, MemoryUnavailable
from maven_channel_wecom.state.backends import SQLITE
from maven_channel_wecom.state.redis.address import is_redis, parse_redis_address
from maven_channel_wecom.state.sqlite.file import StateInUse, check_link, probe_file
from maven_channel_wecom.state.sqlite.schema import VERSION

if TYPE_CHECKING:
    from maven_channel_wecom.state.redis.connection import RedisConnection

_PAGE_BYTES: Final = 4096

REDIS_ATTEMPTS: Final = 3
"""How often Redis is probed before it counts as unusable. A command has 0.2 s, which a process that has just started
may miss on a busy machine. Lower: it is blamed for that. Higher: a Redis that does not answer is reported later."""


async def probe_state(address: str, *, channel: str) -> StateFinding:
    """Probe the state of one channel. `address` has been validated before."""
    try:
        if address.startswith(SQLITE):
            return await asyncio.to_thread(_probe_file, address.removeprefix(SQLITE))
        if is_redis(address):
            for _ in range(REDIS_ATTEMPTS - 1):
                with contextlib.suppress(StateUnavailable):
                    return await _probe_redis(address, channel)
            return await _probe_redis(address, channel)
    except StateUnavailable as unavailable:
        return StateFinding(kind="unusable", detail=str(unavailable))
    return StateFinding(kind="memory")


async def probe_memory(address: str, *, gateway_runs: bool) -> StateFinding:
    """Probe where the host stores what it remembers: a valid address. A running gateway holds the file."""
    if address == IN_PROCESS:
        return StateFinding(kind="memory")
    if gateway_runs:
        return StateFinding(kind="locked")
    path = Path(address.removeprefix(IN_FILE))
    try:
        if missing := await asyncio.to_thread(_probe_missing_file, path):
            return missing
        await _probe_memory_file(address, path)
    except MemoryUnavailable as unavailable:
        return StateFinding(kind="unusable", detail=str(unavailable))
    except OSError as error:
        return StateFinding(kind="unusable", detail=f"the file {path} cannot be accessed: {error.strerror}")
    return StateFinding(kind="file")


async def _probe_memory_file(address: str, path: Path) -> None:
    if await asyncio.to_thread(others_can_change, path.parent):
        # Opening it to write could delete a file of root's.
        await asyncio.to_thread(check_memory, path)
    else:
        await (await open_store(address)).close()


def _probe_file(name: str) -> StateFinding:
    # Absolute, so that the sentences name the full path.
    path = Path(name).absolute()
    try:
        check_link(path)
        missing = _probe_missing_file(path)
    except UnusableFile as unusable:
        return StateFinding(kind="unusable", detail=f"the state file {path} {unusable}")
    except OSError as error:
        return StateFinding(kind="unusable", detail=f"the state file {path} cannot be accessed: {error.strerror}")
    if missing:
        return missing
    try:
        version = probe_file(path)
    except StateInUse:
        return StateFinding(kind="locked")
    if version == VERSION:
        return StateFinding(kind="file")
    return _probe_folder(path.parent) or StateFinding(kind="older_file", detail=str(version))


def _probe_missing_file(path: Path) -> StateFinding | None:
    """Return None for a file that exists. Others are not created: they would belong to the user who runs the doctor."""
    return None if os.path.lexists(path) else _probe_folder(path.absolute().parent) or StateFinding(kind="new_file")


def _probe_folder(folder: Path) -> StateFinding | None:
    """Write a page to an unnamed temporary file, and return why it failed, as on a full or read-only disk."""
    if not folder.is_dir():
        return StateFinding(kind="unusable", detail=f"there is no folder {folder} for the file: create it")
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(bytes(_PAGE_BYTES))
            os.fsync(probe.fileno())
    except PermissionError:
        return StateFinding(kind="unusable", detail=f"this user may not write to {folder}: grant the permission")
    except OSError as error:
        detail = f"nothing can be written to {folder} ({error.strerror}): check its disk, quota and limits"
        return StateFinding(kind="unusable", detail=detail)
    return None


async def _probe_redis(address: str, channel: str) -> StateFinding:
    try:
        connection = await asyncio.to_thread(_redis_connection, address)
    except OSError:
        detail = "the TLS files in the address cannot be read, or are not certificates and keys in PEM"
        return StateFinding(kind="unusable", detail=detail)
    from maven_channel_wecom.state.redis.probe import probe  # noqa: PLC0415 - needs the extra

    try:
        risk = await probe(connection, channel=channel, name=f"doctor-{socket.gethostname()}")
    finally:
        await connection.close()
    return StateFinding(kind="risk", detail=risk) if risk else StateFinding(kind="redis")


def _redis_connection(address: str) -> RedisConnection:
    """Return a connection. Reads TLS files and the package's scripts, so call it in a thread."""
    from maven_channel_wecom.state.redis.connection import RedisConnection  # noqa: PLC0415 - needs the extra

    return RedisConnection(parse_redis_address(address))
