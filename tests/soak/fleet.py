"""Runs gateways as processes that can be killed, drained and restarted."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from maven_channel_wecom.protocol.cipher import decode_key
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator.gateway_process import free_port
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from tests.soak.agent import counting_agent
from tests.suite_watch import new_encoding_aes_key, new_token, record_output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

READY_SECONDS = 30.0
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.02


class Gateway:
    """One gateway process. Ports and configuration stay the same when it is restarted.

    It uses the echo agent if `agent_url` is empty. `settings` are further keys of its channel. `program` is the module
    that it runs.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        *,
        token: str,
        encoding_aes_key: str,
        agent_url: str,
        state: str,
        settings: Mapping[str, object] | None = None,
        log_level: str = "error",
        program: str = "maven_channel_wecom",
    ) -> None:
        self._program = program
        self._status_port, callback_port = free_port(), free_port()
        self.callback_url = f"http://127.0.0.1:{callback_port}/wecom/bot"
        self.log = folder / f"gateway-{number}.log"
        self._config = folder / f"gateway-{number}.json"
        wecom = {
            "token": token,
            "encodingAESKey": encoding_aes_key,
            "host": "127.0.0.1",
            "port": callback_port,
            "allowPrivateNetwork": True,
            "state": state,
            **(settings or {}),
        }
        self._config.write_text(
            json.dumps(
                {
                    "gateway": {"port": self._status_port},
                    "agent": {"type": "responses", "url": agent_url, "model": "proof"}
                    if agent_url
                    else {"type": "echo"},
                    "channels": {"wecom": wecom},
                    "logging": {"level": log_level},
                }
            ),
            encoding="utf-8",
        )
        self._process: asyncio.subprocess.Process | None = None

    @property
    def target(self) -> str:
        """The host and port that Prometheus scrapes."""
        return f"127.0.0.1:{self._status_port}"

    @property
    def status_url(self) -> str:
        """The base URL of the status server."""
        return f"http://{self.target}"

    @property
    def pid(self) -> int:
        """The id of the current process."""
        assert self._process is not None
        return self._process.pid

    async def start(self, *, ready: bool = True) -> None:
        """Start the process and wait until it is ready or, with `ready=False`, until it answers on the status port."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self._program, "gateway", "--config", str(self._config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )
        async with asyncio.timeout(READY_SECONDS), aiohttp.ClientSession() as session:
            while not await self._answers_with(session, 200 if ready else 503):
                if self._process.returncode is not None:
                    message = f"the gateway ended with {self._process.returncode}: see {self.log}"
                    raise RuntimeError(message)
                await asyncio.sleep(_POLL_SECONDS)

    async def kill(self) -> None:
        """Kill the process, as a power failure would."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._check_log()

    async def drain(self) -> int:
        """Send SIGTERM and return the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_SECONDS):
            code = await self._process.wait()
        self._check_log()
        return code

    def _check_log(self) -> None:
        record_output("the log of a gateway", self.log.read_text(encoding="utf-8"))

    def resident_bytes(self) -> int:
        """Return the resident memory of the process."""
        assert self._process is not None
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * 4096

    async def samples(self) -> dict[str, float]:
        """Return every sample of `/metrics` by its series, in the notation of `/metrics`."""
        pairs = (line.rsplit(" ", 1) for line in (await self.metrics()).splitlines() if not line.startswith("#"))
        return {series: float(value) for series, value in pairs}

    async def metrics(self) -> str:
        """Return the text of `/metrics`."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.status_url}/metrics") as response:
            return record_output("/metrics", await response.text())

    async def _answers_with(self, session: aiohttp.ClientSession, status: int) -> bool:
        try:
            async with session.get(f"{self.status_url}/readyz") as response:
                return response.status in {200, status}
        except aiohttp.ClientError:
            return False


@asynccontextmanager
async def lone_gateway(
    folder: Path, *, settings: Mapping[str, object] | None = None, log_level: str = "error"
) -> AsyncIterator[tuple[SimulatedWeCom, Gateway]]:
    """Run one gateway with its state in SQLite, a simulated WeCom, and an agent that takes up to 0.3 s."""
    token, key = new_token(), new_encoding_aes_key()
    async with (
        SimulatedWeCom(token=token, encoding_aes_key=key) as wecom,
        counting_agent(slowest_seconds=0.3) as agent,
    ):
        state = f"sqlite:{folder / 'state.db'}"
        gateway = Gateway(
            folder,
            1,
            token=token,
            encoding_aes_key=key,
            agent_url=agent.url,
            state=state,
            settings=settings,
            log_level=log_level,
        )
        await gateway.start()
        try:
            yield wecom, gateway
        finally:
            await gateway.kill()


@asynccontextmanager
async def plain_gateway(
    folder: Path, *, agent_url: str = "", settings: Mapping[str, object] | None = None
) -> AsyncIterator[tuple[Credentials, Gateway]]:
    """Run one gateway with its state in memory and default settings, except for `settings`.

    It uses the echo agent if `agent_url` is empty.
    """
    token, key = new_token(), new_encoding_aes_key()
    gateway = Gateway(
        folder, 1, token=token, encoding_aes_key=key, agent_url=agent_url, state="memory:", settings=settings
    )
    await gateway.start()
    try:
        yield Credentials(token, decode_key(key)), gateway
    finally:
        await gateway.kill()
