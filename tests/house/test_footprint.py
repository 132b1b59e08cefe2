"""Tests of what it costs to have the plugin installed: few dependencies, a short import, little memory."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.e2e.gateway_process import GatewayProcess
from tests.suite_watch import SUITE, new_encoding_aes_key

MAX_DEPENDENCIES = 9
MAX_IMPORT_SECONDS = 0.5
# What Linux calls kB is 1,024 bytes.
MAX_IDLE_KIBIBYTES = 60 * 1024


def test_the_core_has_few_dependencies() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert len(project["dependencies"]) <= MAX_DEPENDENCIES


def test_the_plugin_is_imported_within_half_a_second() -> None:
    """Measured as CPU time, the best of three, because other tests run at the same time."""
    program = "import time; start = time.process_time(); import maven_channel_wecom.plugin\n"
    command = [sys.executable, "-c", f"{program}print(time.process_time() - start)"]
    seconds = min(float(subprocess.check_output(command)) for _ in range(3))  # noqa: S603 - ours
    assert seconds < MAX_IMPORT_SECONDS


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
async def test_an_idle_gateway_needs_at_most_60_megabytes(tmp_path: Path) -> None:
    entry = {"token": "token", "encodingAESKey": new_encoding_aes_key(), "host": "127.0.0.1", "port": 0}
    entry["state"] = f"sqlite:{tmp_path}/state.db"
    document = {"gateway": {"port": 0}, "channels": {"wecom": entry}}
    async with GatewayProcess(SUITE.watch, tmp_path, document) as gateway:
        await gateway.until("gateway channels started")
        status = Path(f"/proc/{gateway.process.pid}/status").read_text(encoding="utf-8")
    (resident,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident <= MAX_IDLE_KIBIBYTES
