"""Tests of the configurations in `deploy/`: they have no problem, and probes and Prometheus reach the status port."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from maven_channel_wecom.config import problems, read_config
from maven_channel_wecom.host.configuration import Configuration, interpret
from tests.deploy.files import DEPLOY, read_json
from tests.suite_watch import new_encoding_aes_key, new_token

NAMES = ["compose/gateway.json", "kubernetes/wecom.json", "systemd/wecom.json"]


def read(name: str, folder: Path) -> tuple[Configuration, dict[str, Any]]:
    """Read a configuration as the gateway does, with secret files in a folder of the test."""
    text = json.dumps(read_json(name))
    for path in re.findall(r'"file": "([^"]+)"', text):
        secret = folder / Path(path).name
        secret.write_text(_secret(secret.name), encoding="utf-8")
        text = text.replace(path, str(secret))
    configuration, found = interpret(json.loads(text))
    assert found == []
    return configuration, configuration.channels["wecom"]


def _secret(name: str) -> str:
    """Return the content of a secret file of this name."""
    if name.endswith("state"):
        return "redis://:canary@redis:6379/0"
    return new_encoding_aes_key() if "key" in name.lower() else new_token()


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_has_no_problem(tmp_path: Path, name: str) -> None:
    _, entry = read(name, tmp_path)
    assert problems("wecom", entry) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_state_outlives_the_process(tmp_path: Path, name: str) -> None:
    _, entry = read(name, tmp_path)
    assert read_config("wecom", entry).state.startswith(("sqlite:/var/lib/maven-wecom/", "redis://"))


@pytest.mark.parametrize("name", NAMES)
def test_private_addresses_are_refused(tmp_path: Path, name: str) -> None:
    """Only a simulator needs them."""
    _, entry = read(name, tmp_path)
    assert not read_config("wecom", entry).allow_private_network


def test_the_status_port_is_reachable_where_probes_come_from_another_address(tmp_path: Path) -> None:
    hosts = {name: read(name, tmp_path)[0].gateway.host for name in NAMES}
    assert hosts == {
        "compose/gateway.json": "0.0.0.0",
        "kubernetes/wecom.json": "0.0.0.0",
        "systemd/wecom.json": "127.0.0.1",
    }


def test_no_path_is_one_of_apache_maven() -> None:
    """Debian keeps its configuration in /etc/maven, and many people unpack it in /opt/maven."""
    pages = [DEPLOY.parent / "README.md", *(DEPLOY.parent / "docs").glob("*.md")]
    paths = r"(/etc/maven|/opt/maven|/var/lib/maven|/usr/share/maven|\.m2|\bmvn)\b(?!-)"
    found = {
        path.name: names
        for path in [*(each for each in DEPLOY.rglob("*") if each.is_file()), *pages]
        if (names := re.findall(paths, path.read_text(encoding="utf-8")))
    }
    assert found == {}
