"""Runs the gateway as an operator does: as a process, with a configuration file and log lines on stderr."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from tests.e2e.watch import Watch

TIMEOUT_SECONDS = 30


class GatewayProcess:
    """Context manager that runs `python -m maven_channel_wecom gateway --config FILE`, and kills it at the end.

    Its working directory is the folder of the file. `python` are other arguments of Python than `-m` and the module.
    """

    def __init__(
        self,
        watch: Watch,
        folder: Path,
        document: Mapping[str, Any],
        *,
        environment: Mapping[str, str] | None = None,
        python: tuple[str, str] = ("-m", "maven_channel_wecom"),
    ) -> None:
        self.lines: list[str] = []
        self.config = folder.absolute() / "config.json"
        self._watch = watch
        self._document = document
        self._environment = dict(environment or {})
        self._python = python

    async def __aenter__(self) -> Self:
        self.config.write_text(json.dumps(self._document), encoding="utf-8")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(*self._python, "gateway", "--config", str(self.config)),
            env=os.environ | self._environment,
            cwd=self.config.parent,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self._read_to_end()

    async def until(self, event: str) -> str:
        """Read the log up to the next line of this event and return it. AssertionError if the process ends first."""
        assert self.process.stderr is not None
        async with asyncio.timeout(TIMEOUT_SECONDS):
            async for line in self.process.stderr:
                self._record(line.decode())
                if event in self.lines[-1]:
                    return self.lines[-1]
        text = f"the gateway ended without {event!r}"
        raise AssertionError(text)

    async def port_of(self, event: str) -> int:
        """Wait for a line such as `wecom callback server listening port=9886` and return its port."""
        found = re.search(r'\bport(?:=|": )([1-9][0-9]*)\b', await self.until(event))
        assert found is not None
        return int(found[1])

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    async def exit_code(self) -> int:
        """Wait until the process ends and return its exit code."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self._read_to_end()
        assert self.process.returncode is not None
        return self.process.returncode

    async def _read_to_end(self) -> None:
        output, errors = await self.process.communicate()
        assert output == b""
        for line in errors.decode().splitlines():
            self._record(line)

    def _record(self, line: str) -> None:
        self.lines.append(line.rstrip("\n"))
        self._watch.record_output("a log line", line)
