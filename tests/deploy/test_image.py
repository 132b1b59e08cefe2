"""Tests of the Dockerfile: its linter finds nothing, and its commands run without root in a read-only root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maven_channel_wecom.simulator.keys import new_encoding_aes_key, new_token
from tests.deploy.files import DEPLOY, check, instructions


@pytest.mark.skipif(not (Path(sys.executable).parent / "hadolint").exists(), reason="hadolint has no wheel for this")
def test_the_linter_finds_nothing() -> None:
    check("hadolint", DEPLOY / "Dockerfile")


def test_the_image_is_built_from_what_the_wheel_is_built_from() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        name.strip("/")
        for line in (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    }
    assert copied == kept
    assert all((DEPLOY.parent / name).exists() for name in copied)


def test_the_image_never_runs_as_root() -> None:
    assert [arguments for instruction, arguments in instructions() if instruction == "USER"] == ["10001:10001"]


def is_possible() -> bool:
    """Return whether this user may create mount and network namespaces."""
    command = shutil.which("unshare")
    return (
        os.geteuid() == 0
        and command is not None
        and not subprocess.run([command, "--mount", "--net", "true"], capture_output=True, check=False).returncode  # noqa: S603 - ours
    )


@pytest.mark.skipif(not is_possible(), reason="needs root and namespaces")
def test_the_commands_of_the_image_run_without_root_in_a_read_only_root(tmp_path: Path) -> None:
    """With the configuration of the Compose file. Its Redis is away, which is no reason to be unhealthy."""
    found = dict(instructions())
    (tmp_path / "token").write_text(new_token(), encoding="utf-8")
    (tmp_path / "key").write_text(new_encoding_aes_key(), encoding="utf-8")
    (tmp_path / "root").mkdir()
    health_check = json.loads(found["HEALTHCHECK"].partition("CMD ")[2])
    done = subprocess.run(  # noqa: S603 - the tests' own words
        [
            *("unshare", "--mount", "--net", "--fork", sys.executable, "-m", "tests.deploy.bare_root"),
            *(str(tmp_path / "root"), found["USER"].partition(":")[0]),
            f"/etc/maven-wecom/wecom.json={DEPLOY / 'compose' / 'gateway.json'}",
            f"/run/secrets/wecom_token={tmp_path / 'token'}",
            f"/run/secrets/wecom_encoding_aes_key={tmp_path / 'key'}",
            *("--", *json.loads(found["ENTRYPOINT"]), *json.loads(found["CMD"]), "--", *health_check),
        ],
        env={"PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=DEPLOY.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line)["msg"] for line in done.stderr.splitlines()]
    assert "gateway channels started" in events
    assert events[-1] == "gateway stopped"
