"""What a host asks of its process: a fast event loop when there is one, and room for connections."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

OPEN_FILES: Final = 65_536
"""Sockets count as files. Lower: a busy hour, or a flood of connections, ends with nobody getting in."""


def event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes uvloop's event loop where it is installed, None where asyncio's own has to do."""
    try:
        import uvloop  # noqa: PLC0415 - comes with the extra [speed]
    except ImportError:
        return None
    return uvloop.new_event_loop


def allow_open_files() -> None:
    """Raise the limit of open files as far as this process may: many systems begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
