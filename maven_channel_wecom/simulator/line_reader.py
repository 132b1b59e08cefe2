"""Reads lines from a terminal, pipe or file without blocking the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_READ_BYTES = 65_536


async def read_lines(descriptor: int) -> AsyncIterator[str]:
    """Yield the lines of a file descriptor as they arrive.

    A thread reads them, since an event loop cannot watch files. It is a daemon thread and holds no lock of `sys.stdin`,
    so the process can exit while a read is still blocked.
    """
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue()

    def read() -> None:
        while True:
            try:
                chunk = os.read(descriptor, _READ_BYTES)
            except OSError:
                chunk = b""
            try:
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            except RuntimeError:  # The event loop is closed.
                return
            if not chunk:
                return

    threading.Thread(target=read, name="console input", daemon=True).start()
    pending = b""
    while chunk := await chunks.get():
        *complete, pending = (pending + chunk).split(b"\n")
        for line in complete:
            yield line.decode(errors="replace")
    if pending:
        yield pending.decode(errors="replace")
