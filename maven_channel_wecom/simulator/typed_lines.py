"""What an operator types, line by line, beside a running event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_READ_BYTES = 65_536


async def read_lines(descriptor: int) -> AsyncIterator[str]:
    """Yield the lines of a terminal, pipe or file as they come.

    A thread reads, since an event loop cannot watch files. It is a daemon and holds no lock of Python's own input
    object, so leaving never waits for a line that nobody types.
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
            except RuntimeError:  # The loop is closed: nobody listens any more.
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
