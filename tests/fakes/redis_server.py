"""A real redis-server on a free loopback port, without persistence, that tests can kill, freeze and restart."""

from __future__ import annotations

import asyncio
import atexit
import functools
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from redis.asyncio import Connection

_START_SECONDS = 10.0
_STARTS = 3


class RedisServer:
    """One server. After `stop` it can start again, empty and on the same port. `options` are command-line arguments."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="maven-wecom-redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def address(self, user_info: str = "") -> str:
        return f"redis://{user_info}127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server, and return when it accepts connections."""
        if shutil.which("redis-server") is None:
            message = "these tests need redis-server: apt-get install redis-server"
            raise RuntimeError(message)
        # Another process may take the free port before Redis does.
        starts = 1 if self.port else _STARTS
        for _ in range(starts):
            self._process, ready = self._try_start(self.port or _free_port())
            if ready:
                return
            self.stop()
        message = f"redis-server did not start within {_START_SECONDS} s"
        raise RuntimeError(message)

    def stop(self) -> None:
        """Kill the server, as if its machine had lost power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def restart(self) -> None:
        await asyncio.to_thread(self.start)

    async def command(self, *command: str | float, password: str | None = None) -> Any:  # noqa: ANN401 - the type depends on the command
        """Run a command on a separate connection."""
        # In a thread, as redis-py reads its own version from the disk.
        connection = await asyncio.to_thread(
            Connection, host="127.0.0.1", port=self.port, password=password, protocol=2
        )
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # not typed in redis-py
            await connection.send_command(*command)
            return await connection.read_response()
        finally:
            await connection.disconnect()

    async def keys(self) -> set[str]:
        return {key.decode() for key in await self.command("KEYS", "*")}

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _try_start(self, port: int) -> tuple[subprocess.Popen[bytes], bool]:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--save", "", "--appendonly", "no", *self._options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 - our own command line
        assert process.stdout is not None
        # Ends the loop below if the server never becomes ready.
        limit = threading.Timer(_START_SECONDS, process.kill)
        limit.start()
        ready = any(b"Ready to accept connections" in line for line in process.stdout)
        limit.cancel()
        self.port = port if ready else 0
        return process, ready


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@functools.cache
def shared_redis() -> RedisServer:
    """Return the server that is shared by tests that do not stop it. Each of them empties it first."""
    server = RedisServer()
    atexit.register(server.remove)
    server.start()
    return server
