"""Tests of the installation of Debian packages: their services are neither started nor enabled."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.deploy.files import may_create_namespaces

CI = Path(__file__).parents[2] / ".ci"

# Records its arguments, and what dpkg would be told that asks before it starts a service.
APT_GET = """#!/bin/sh
/usr/sbin/policy-rc.d; echo "apt-get $* (start a service: $?)" >>CALLS
"""
SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >>CALLS
"""


@pytest.mark.skipif(not may_create_namespaces(), reason="needs root and namespaces")
@pytest.mark.parametrize("script", ["servers", "interop"])
def test_a_missing_server_is_installed_without_being_started_and_disabled(tmp_path: Path, script: str) -> None:
    """In a mount namespace where no server is installed, and /usr/sbin is a folder of the test's own."""
    calls = tmp_path / "calls"
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "sbin").mkdir()
    for name, text in (("apt-get", APT_GET), ("systemctl", SYSTEMCTL)):
        (programs / name).write_text(text.replace("CALLS", str(calls)), encoding="utf-8")
        (programs / name).chmod(0o755)
    for name in ("bash", "cat", "chmod", "dirname", "id", "rm", "env", "sh"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    hide = f"mount --bind {tmp_path}/sbin /usr/sbin && exec env PATH={programs} {CI}/{script}"
    done = subprocess.run(  # noqa: S603 - ours
        ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", hide], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = calls.read_text(encoding="utf-8").splitlines()
    installed = [line for line in lines if line.startswith("apt-get install") and " curl " not in line]
    assert len(installed) >= 3
    assert all(line.endswith("(start a service: 101)") for line in installed)
    disabled = [line.split()[-1] for line in lines if line.startswith("systemctl disable")]
    assert {"redis-server", "prometheus"} <= set(disabled)
    assert len(disabled) == len(installed)
    assert list((tmp_path / "sbin").iterdir()) == []
