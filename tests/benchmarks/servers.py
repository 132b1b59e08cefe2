"""Starts and measures server processes, each pinned to a core; `serving.py` is the program that they run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import msgspec

from tests.benchmarks.load import pinned, server_core

_STOP_SECONDS = 60.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that a server process reads from its first line of input.

    `entry` is the channel's entry in the configuration.
    """

    kind: str
    entry: dict[str, Any] = {}
    level: str = "info"
    uvloop: bool = False
    hangs: bool = False
    """Whether the host never finishes a message."""
    turn_seconds: float = 0.0
    """How long the host writes an answer to each message before it sends it; 0 if it sends none."""
    announces: bool = False
    """Whether the host writes an `Announcement` for each message."""
    picture_bytes: int = 0


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was published: its time on the monotonic clock, and the longest stall since the previous one."""

    at: float
    data_characters: int
    stall_seconds: float
    stall_computed_seconds: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The last line that a server writes. The stall is the longest since the first message was published.

    `fetched` counts the answers that were delivered without a POST.
    """

    published: int | None = None
    fetched: int = 0
    stall_seconds: float = 0.0
    stall_computed_seconds: float = 0.0


class Server:
    """A server process. Use it as a context manager; `summary` is set when the process has ended."""

    def __init__(self, settings: Settings, *, core: int | None = None) -> None:
        self.summary = Summary()
        self._settings = settings
        self._core = server_core() if core is None else core
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # Log lines go to a file, which costs about as much as under a supervisor.
        with pinned(self._core), tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.benchmarks.serving"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(self._settings) + b"\n")
        self._process.stdin.flush()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        out, _errors = self._process.communicate(timeout=_STOP_SECONDS)
        self.summary = msgspec.json.decode(out.splitlines()[-1] if out else b"{}", type=Summary)

    @cached_property
    def port(self) -> int:
        """The port, available once the server listens. Reading it late lets several servers start in parallel."""
        return int(self._line())

    def announcement(self) -> Announcement:
        """Wait until the next message is published."""
        return msgspec.json.decode(self._line(), type=Announcement)

    def cpu_seconds(self) -> float:
        """Return the CPU time of all threads of the process so far."""
        tasks = Path(f"/proc/{self._pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9

    def resident_bytes(self) -> int:
        """Return the resident memory of the process, and reset its peak."""
        Path(f"/proc/{self._pid}/clear_refs").write_text("5", encoding="ascii")
        return self._status_bytes("VmRSS")

    def peak_bytes(self) -> int:
        """Return the peak of resident memory since `resident_bytes` was called."""
        return self._status_bytes("VmHWM")

    @property
    def _pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _status_bytes(self, name: str) -> int:
        status = Path(f"/proc/{self._pid}/status").read_text(encoding="ascii")
        return int(status.split(f"{name}:", 1)[1].split(maxsplit=1)[0]) * 1024

    def _line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            message = f"the server {self._settings.kind} ended unexpectedly"
            raise RuntimeError(message)
        return line
