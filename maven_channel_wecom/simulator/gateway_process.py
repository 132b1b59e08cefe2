"""Runs gateways as subprocesses for the demo and the playground."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_READY_SECONDS = 20.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.05
_STDERR_LINES = 12
_OK = 200

GATEWAY_PROGRAM: Final = (
    "import sys; from maven_channel_wecom.simulator.gateway_process import end_with_parent; end_with_parent();"
    " from maven_channel_wecom import __main__; sys.exit(__main__.run())"
)
"""A Python program that runs the command line, and ends with the process that started it."""


class GatewayFailed(Exception):
    """The gateway did not become ready or did not stop in time. The text is for the operator."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end_with_parent() -> None:
    """Send SIGTERM to this process once its standard input ends, which a parent that is killed cannot prevent."""

    def wait_for_end() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_end, daemon=True).start()


class GatewayProcess:
    """A running gateway: a context manager that waits until it is ready, and kills it on exit if it still runs.

    The gateway also ends if this process is killed.

    Args:
        document: its configuration, whose `gateway.port` is `status_port`.
        status_port: the port of its status server.
        command: a command that takes `--config FILE`, whose standard input ends with this process; empty for the
            gateway's.
    """

    def __init__(self, document: Mapping[str, object], *, status_port: int, command: tuple[str, ...] = ()) -> None:
        self._status_port = status_port
        self._folder = tempfile.TemporaryDirectory(prefix="maven-wecom-demo-")
        # Only this user may enter the temporary directory, so the secrets in the file stay private.
        self._config = Path(self._folder.name) / "config.json"
        self._config.write_text(json.dumps(document), encoding="utf-8")
        self._command = command or (sys.executable, "-c", GATEWAY_PROGRAM, "gateway")
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            "--config",
            str(self._config),
            # Nothing is written into it.
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reading = asyncio.create_task(self._read_stderr(self._process))
        try:
            await self._wait_until_ready(self._process)
            # It has been read. A process that is killed would leave it, with the key of an operator's agent.
            await asyncio.to_thread(self._config.unlink)
        except BaseException:
            await self._kill()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._kill()

    async def stop(self) -> int:
        """Stop the gateway with SIGTERM, and return its exit code.

        Raises:
            GatewayFailed: it did not stop in time, or was never started.
        """
        process = self._process
        if process is None:
            text = "the gateway was not started"
            raise GatewayFailed(text)
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                return await process.wait()
        except TimeoutError:
            text = f"the gateway did not stop within {_STOP_SECONDS:g} seconds of SIGTERM"
            raise GatewayFailed(text) from None

    async def ended(self) -> int:
        """Wait until the gateway ends, and return its exit code."""
        if self._process is None:
            text = "the gateway was not started"
            raise GatewayFailed(text)
        return await self._process.wait()

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """The last lines that the gateway wrote to stderr."""
        return tuple(self._stderr)

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        url = f"http://127.0.0.1:{self._status_port}/readyz"
        try:
            async with asyncio.timeout(_READY_SECONDS), aiohttp.ClientSession() as session:
                while process.returncode is None:
                    if await _is_ready(session, url):
                        return
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            text = f"the gateway was not ready within {_READY_SECONDS:g} seconds"
            raise GatewayFailed(text) from None
        text = f"the gateway ended with exit code {process.returncode} before it was ready"
        raise GatewayFailed(text)

    async def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await self._reading
        await asyncio.to_thread(self._folder.cleanup)

    async def _read_stderr(self, process: asyncio.subprocess.Process) -> None:
        if process.stderr is not None:
            async for line in process.stderr:
                self._stderr.append(line.decode(errors="replace").rstrip())


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=1)) as response:
            return response.status == _OK
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False
