"""The gateway as an operator runs it: a process of its own, a configuration file, log lines on stderr."""

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

PATIENCE_SECONDS = 30


class GatewayProcess:
    """`python -m maven_channel_wecom gateway --config FILE`; a context manager that leaves none behind."""

    def __init__(
        self, watch: Watch, folder: Path, document: Mapping[str, Any], *, environment: Mapping[str, str] | None = None
    ) -> None:
        self.lines: list[str] = []
        self.config = folder / "config.json"
        self._watch = watch
        self._document = document
        self._environment = dict(environment or {})

    async def __aenter__(self) -> Self:
        self.config.write_text(json.dumps(self._document), encoding="utf-8")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "maven_channel_wecom", "gateway", "--config", str(self.config)),
            env=os.environ | self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self._finish()

    async def until(self, event: str) -> str:
        """Read up to the line of an event, and return that line."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in self.process.stderr:
                self._take(line.decode())
                if event in self.lines[-1]:
                    return self.lines[-1]
        text = f"the gateway ended without {event!r}"
        raise AssertionError(text)

    async def port_of(self, event: str) -> int:
        """Wait for a line such as `wecom callback server listening port=9886`, and return its port."""
        found = re.search(r'\bport(?:=|": )([1-9][0-9]*)\b', await self.until(event))
        assert found is not None
        return int(found[1])

    def terminate(self) -> None:
        """Ask it to stop, as an operator or an orchestrator does."""
        self.process.send_signal(signal.SIGTERM)

    async def exit_code(self) -> int:
        """Wait for its end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._finish()
        assert self.process.returncode is not None
        return self.process.returncode

    async def _finish(self) -> None:
        out, err = await self.process.communicate()
        assert out == b""
        for line in err.decode().splitlines():
            self._take(line)

    def _take(self, line: str) -> None:
        self.lines.append(line.rstrip("\n"))
        self._watch.shown("a log line", line)
