"""A real Prometheus on a free loopback port that scrapes the given targets twice a second."""

from __future__ import annotations

import asyncio
import math
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import aiohttp
import yaml

from maven_channel_wecom.simulator.gateway_process import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_START_SECONDS = 30.0
_POLL_SECONDS = 0.1
_SCRAPE = "500ms"


class Firing(NamedTuple):
    """A firing alert. `channel` and `instance` are empty if it has no such label."""

    name: str
    channel: str
    instance: str


class PrometheusServer:
    """One server, for use with `async with`. `rules` is the content of a rule file; the job `maven` has `targets`."""

    def __init__(self, folder: Path, targets: Sequence[str], *, rules: Mapping[str, Any] | None = None) -> None:
        self._folder = folder
        self._targets = list(targets)
        self._rules = rules
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._url = ""

    async def __aenter__(self) -> Self:
        command = shutil.which("prometheus")
        if command is None:
            message = "these tests need prometheus: apt-get install prometheus"
            raise RuntimeError(message)
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._session = aiohttp.ClientSession()
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                command,
                f"--config.file={self._write_config()}",
                f"--storage.tsdb.path={self._folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            # Prometheus loads its targets a few seconds after the start.
            await self.until_up()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def until_up(self) -> None:
        """Wait until the last scrape of every target has succeeded."""
        async with asyncio.timeout(_START_SECONDS):
            while await self._up() != set(self._targets):
                if self._process is not None and self._process.returncode is not None:
                    message = f"Prometheus ended: {(self._folder / 'prometheus.log').read_text(encoding='utf-8')}"
                    raise RuntimeError(message)
                await asyncio.sleep(_POLL_SECONDS)

    async def query(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """Return the current finite samples of an expression. Raises ValueError if it is not valid PromQL."""
        found = await self._get("/api/v1/query", query=expr)
        if found["resultType"] == "scalar":
            return [({}, float(found["result"][1]))]
        samples = [(sample["metric"], float(sample["value"][1])) for sample in found["result"]]
        return [(labels, value) for labels, value in samples if math.isfinite(value)]

    async def query_range(
        self, expr: str, *, start: float, end: float, step: float
    ) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """Return the series of an expression between two times in seconds since the epoch."""
        found = await self._get("/api/v1/query_range", query=expr, start=str(start), end=str(end), step=str(step))
        return [
            (series["metric"], [(float(at), float(value)) for at, value in series["values"]])
            for series in found["result"]
        ]

    async def firing(self) -> set[Firing]:
        """Return the firing alerts."""
        found = await self._get("/api/v1/alerts")
        return {
            Firing(labels["alertname"], labels.get("channel", ""), labels.get("instance", ""))
            for alert in found["alerts"]
            if alert["state"] == "firing" and (labels := alert["labels"])
        }

    async def fired(self, seconds: int) -> set[Firing]:
        """Return the alerts that fired at any time in the last `seconds`."""
        found = await self.query(f'present_over_time(ALERTS{{alertstate="firing"}}[{seconds}s])')
        return {
            Firing(labels["alertname"], labels.get("channel", ""), labels.get("instance", "")) for labels, _ in found
        }

    async def rule_problems(self) -> list[str]:
        """Return the errors of the last evaluation of the rules."""
        found = await self._get("/api/v1/rules")
        return [rule["lastError"] for group in found["groups"] for rule in group["rules"] if rule.get("lastError")]

    async def _up(self) -> set[str]:
        try:
            found = await self._get("/api/v1/targets", state="active")
        except aiohttp.ClientError:
            return set()
        return {target["labels"]["instance"] for target in found["activeTargets"] if target["health"] == "up"}

    async def _get(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - the JSON depends on the endpoint
        assert self._session is not None
        async with self._session.get(f"{self._url}{path}", params=parameters) as response:
            if response.status == 503:
                raise aiohttp.ClientConnectionError
            answer = await response.json()
        if answer["status"] != "success":
            message = f"{answer['error']}: {parameters.get('query')}"
            raise ValueError(message)
        return answer["data"]

    def _write_config(self) -> Path:
        config: dict[str, Any] = {
            "global": {"scrape_interval": _SCRAPE, "scrape_timeout": _SCRAPE, "evaluation_interval": _SCRAPE},
            "scrape_configs": [{"job_name": "maven", "static_configs": [{"targets": self._targets}]}],
        }
        if self._rules is not None:
            rules = self._folder / "rules.yml"
            rules.write_text(yaml.safe_dump(self._rules), encoding="utf-8")
            config["rule_files"] = [str(rules)]
        path = self._folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path
