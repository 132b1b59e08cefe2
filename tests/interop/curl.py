"""Sends the simulator's requests with curl, which speaks HTTP/2 and announces bodies with `Expect`."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.http_client import HttpAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_PROCESSES = 8


class CurlClient:
    """Replaces the `BotClient` of a simulated WeCom. `versions` has the version of HTTP of each answer.

    Args:
        program: the path of curl.
        options: further arguments of curl.
        trust: a file with the certificate of the authority to trust.
    """

    def __init__(self, program: str, *options: str, trust: Path | None = None) -> None:
        self._slots = asyncio.Semaphore(_PROCESSES)
        self.versions: list[str] = []
        self._command = [program, "--silent", "--show-error", *options]
        if trust is not None:
            self._command += ["--cacert", str(trust)]

    async def request(
        self,
        method: str,
        url: str,
        *,
        query: str = "",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        within_seconds: float,
    ) -> HttpAnswer:
        command = [*self._command, "--request", method, "--max-time", f"{within_seconds:g}"]
        for name, value in (headers or {}).items():
            command += ["--header", f"{name}: {value}"]
        if body:
            command += ["--data-binary", "@-"]
        # The status follows the body, on a line of its own.
        command += ["--write-out", r"\n%{http_code} %{http_version}", f"{url}?{query}" if query else url]
        async with self._slots:
            started = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            output, _ = await process.communicate(body)
            elapsed = time.perf_counter() - started
        received, _, result = output.rpartition(b"\n")
        status, version = result.decode().split()
        self.versions.append(version)
        return HttpAnswer(status=int(status), body=received, elapsed_seconds=elapsed)

    async def close(self) -> None:
        """Do nothing: each request has its own process."""
