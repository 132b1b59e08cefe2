"""Server processes, each on a core of its own choice; what they do is in `serving.py`."""

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
    """What a server process is told on its first line of input; `entry` is the channel's, as in a configuration."""

    kind: str
    entry: dict[str, Any] = {}
    level: str = "info"
    uvloop: bool = False
    hangs: bool = False
    """The host never finishes with a message."""
    announces: bool = False
    """The host tells of each message as it comes."""
    picture_bytes: int = 0


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """A message handed over: when, on the clock all processes share, and the longest stall since the one before."""

    at: float
    data_characters: int
    stall_seconds: float
    stall_computed_seconds: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says when it ends. The stall is the longest since the first message was handed over."""

    published: int | None = None
    stall_seconds: float = 0.0
    stall_computed_seconds: float = 0.0


class Server:
    """A server process. Use as a context manager; `summary` is known after it ended."""

    def __init__(self, settings: Settings, *, core: int | None = None) -> None:
        self.summary = Summary()
        self._settings = settings
        self._core = server_core() if core is None else core
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # Log lines go to a file, as under a supervisor.
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
        """Wait until it listens. Several can so be started side by side."""
        return int(self._line())

    def announcement(self) -> Announcement:
        """Wait until the next message is handed over."""
        return msgspec.json.decode(self._line(), type=Announcement)

    def cpu_seconds(self) -> float:
        """Return what the process has computed so far, all its threads together: no other program's work is in it."""
        tasks = Path(f"/proc/{self._pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9

    def resident_bytes(self) -> int:
        """Return the memory the process has, and let its peak begin there."""
        Path(f"/proc/{self._pid}/clear_refs").write_text("5", encoding="ascii")
        return self._status_bytes("VmRSS")

    def peak_bytes(self) -> int:
        """Return the most memory the process had since."""
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
            message = f"the server {self._settings.kind} ended before its time"
            raise RuntimeError(message)
        return line
