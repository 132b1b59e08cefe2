"""Tests of the Dockerfile: its linter finds nothing, and its commands run without root in a read-only root."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest

from tests.deploy.bare_root import Stage
from tests.deploy.files import DEPLOY, check, instructions, may_create_namespaces
from tests.suite_watch import new_encoding_aes_key, new_token


@pytest.mark.skipif(not (Path(sys.executable).parent / "hadolint").exists(), reason="hadolint has no wheel for this")
def test_the_linter_finds_nothing() -> None:
    check("hadolint", DEPLOY / "Dockerfile")


def copied() -> set[str]:
    """Return the files and folders of the repository that the image is built from."""
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copies = (line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line)
    return {name.strip("/") for names in copies for name in names}


def build(source: Path, target: Path) -> Path:
    """Build a wheel as the image's first stage does, and return it."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)]
    subprocess.run(command, cwd=source, capture_output=True, check=True)  # noqa: S603 - ours
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of what the image is built from."""
    source = tmp_path_factory.mktemp("source")
    for name in copied():
        path = DEPLOY.parent / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (source / name).parent.mkdir(exist_ok=True)
            shutil.copy(path, source / name)
    return build(source, tmp_path_factory.mktemp("wheel"))


def test_the_image_is_built_from_what_the_wheel_is_built_from(tmp_path: Path, wheel: Path) -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied() == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert wheel.read_bytes() == build(DEPLOY.parent, tmp_path).read_bytes()


def test_the_image_never_runs_as_root() -> None:
    assert [arguments for instruction, arguments in instructions() if instruction == "USER"] == ["10001:10001"]


@pytest.mark.skipif(not may_create_namespaces(), reason="needs root and namespaces")
def test_the_commands_of_the_image_run_without_root_in_a_read_only_root(tmp_path: Path, wheel: Path) -> None:
    """With the configuration of the Compose file. Its Redis is away, which is no reason to be unhealthy."""
    found = dict(instructions())
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "token").write_text(new_token(), encoding="utf-8")
    (tmp_path / "key").write_text(new_encoding_aes_key(), encoding="utf-8")
    (tmp_path / "state").write_text("redis://:canary@127.0.0.1:1/0", encoding="utf-8")
    (tmp_path / "root").mkdir()
    stage = Stage(
        root=str(tmp_path / "root"),
        files={
            "/opt/site": str(tmp_path / "site"),
            "/etc/maven-wecom/wecom.json": str(DEPLOY / "compose" / "gateway.json"),
            "/run/secrets/wecom_token": str(tmp_path / "token"),
            "/run/secrets/wecom_encoding_aes_key": str(tmp_path / "key"),
            "/run/secrets/wecom_state": str(tmp_path / "state"),
        },
        run=[arguments for instruction, arguments in instructions() if instruction == "RUN"],
        user=found["USER"],
        folder=found["WORKDIR"],
        entry_point=[*json.loads(found["ENTRYPOINT"]), *json.loads(found["CMD"])],
        health_check=json.loads(found["HEALTHCHECK"].partition("CMD ")[2]),
    )
    done = subprocess.run(  # noqa: S603 - the tests' own words
        [
            *("unshare", "--mount", "--net", "--fork", sys.executable, "-m", "tests.deploy.bare_root"),
            msgspec.json.encode(stage).decode(),
        ],
        env={
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": "/opt/site",
        },
        cwd=DEPLOY.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # It is healthy before its channels have started.
    events = [json.loads(line)["msg"] for line in done.stderr.splitlines()]
    assert events[0] == "gateway status server listening"
    assert "gateway stopped" in events
