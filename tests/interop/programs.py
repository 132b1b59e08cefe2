"""Runs a server of another project in the foreground, on 127.0.0.1."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

_START_SECONDS = 20.0
_POLL_SECONDS = 0.02


def find_program(name: str, package: str) -> str:
    """Return the path of a program. Without it, skip the test and say which Debian package has it."""
    # Debian installs servers into folders that are on the path of root only.
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed: run make interop as root, or install the Debian package {package}")
    return path


@asynccontextmanager
async def running(command: Sequence[str | Path], *, port: int, folder: Path) -> AsyncIterator[None]:
    """Run a server that listens on `port`, and kill it with all its children at the end.

    Raises:
        RuntimeError: the server ended, or does not listen; the text has its output.
    """
    log = folder / "output.txt"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Caddy writes into the home folder.
            env=os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
            start_new_session=True,
        )
    try:
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while not await _listens(port):
            if process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                text = f"{command[0]} did not start: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}"
                raise RuntimeError(text)
            await asyncio.sleep(_POLL_SECONDS)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
