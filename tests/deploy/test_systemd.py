"""Tests of the systemd unit."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.deploy.files import DEPLOY, check, read_json
from tests.e2e.gateway_process import GatewayProcess
from tests.suite_watch import SUITE, new_encoding_aes_key

if TYPE_CHECKING:
    from pathlib import Path

UNIT = DEPLOY / "systemd" / "maven-wecom.service"
TEXT = UNIT.read_text(encoding="utf-8")

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")

DENY_WRITE_EXECUTE = (
    "import ctypes, os, sys\n"
    # PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN; 22 is EINVAL, of kernels before 6.3.
    "libc = ctypes.CDLL(None, use_errno=True)\n"
    "assert libc.prctl(65, 1, 0, 0, 0) == 0 or ctypes.get_errno() == 22\n"
    "os.execv(sys.executable, [sys.executable, '-m', 'maven_channel_wecom', *sys.argv[1:]])\n"
)


@needs_systemd
def test_the_unit_is_hardened() -> None:
    check("systemd-analyze", "security", "--offline=true", "--threshold=20", UNIT)


@needs_systemd
def test_the_unit_is_valid(tmp_path: Path) -> None:
    """Its program is not installed here, so another takes its place."""
    copy = tmp_path / UNIT.name
    copy.write_text(TEXT.replace("/opt/maven-wecom/bin/maven-wecom", "/bin/true"), encoding="utf-8")
    assert check("systemd-analyze", "verify", copy) == ""


def test_the_configuration_finds_its_secrets() -> None:
    credentials = re.findall(r"^LoadCredential=(\w+):/etc/maven-wecom/(\w+)$", TEXT, re.MULTILINE)
    entry = read_json("systemd/wecom.json")["channels"]["wecom"]
    assert {name for name, _ in credentials} == {"token", "encodingAESKey"}
    for name, file in credentials:
        assert name == file
        assert entry[name] == {"file": f"/run/credentials/{UNIT.name}/{name}"}


def test_a_start_is_complete_when_the_gateway_says_so() -> None:
    """That it says so is tested in tests/host/test_gateway.py."""
    assert "\nType=notify\n" in TEXT


def test_the_state_is_in_the_folder_that_systemd_creates() -> None:
    assert "\nStateDirectory=maven-wecom\n" in TEXT
    assert read_json("systemd/wecom.json")["channels"]["wecom"]["state"].startswith("sqlite:/var/lib/maven-wecom/")


async def test_the_gateway_runs_without_memory_that_is_writable_and_executable(tmp_path: Path) -> None:
    """As MemoryDenyWriteExecute= demands."""
    entry = {"token": "token", "encodingAESKey": new_encoding_aes_key(), "host": "127.0.0.1", "port": 0}
    document = {"gateway": {"port": 0}, "channels": {"wecom": entry}}
    async with GatewayProcess(SUITE.watch, tmp_path, document, python=("-c", DENY_WRITE_EXECUTE)) as gateway:
        await gateway.until("gateway channels started")
        gateway.terminate()
        assert await gateway.exit_code() == 0
