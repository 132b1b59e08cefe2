"""Tests of the Compose file, and of what it mounts into Prometheus and Grafana."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import maven_channel_wecom
from maven_channel_wecom.monitoring import FILES
from tests.deploy.files import DEPLOY, check, read_yaml

if TYPE_CHECKING:
    from pathlib import Path

SERVICES: dict[str, Any] = read_yaml("compose.yaml")["services"]


def mounts() -> dict[str, str]:
    """Return where each file or folder of the repository is mounted."""
    pairs = (volume.split(":")[:2] for service in SERVICES.values() for volume in service.get("volumes", []))
    return {source: target for source, target in pairs if source.startswith(".")}


def test_the_file_is_valid() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


def test_every_file_that_is_mounted_exists() -> None:
    assert [source for source in mounts() if not (DEPLOY / source).exists()] == []


def test_the_image_has_the_version_of_the_package() -> None:
    assert SERVICES["gateway"]["image"] == f"maven-channel-wecom:{maven_channel_wecom.__version__}"


def test_ports_are_published_to_this_machine_only_and_the_status_port_not_at_all() -> None:
    published = {port for service in SERVICES.values() for port in service.get("ports", [])}
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert SERVICES["gateway"]["ports"] == ["127.0.0.1:9886:9886"]


def test_no_service_has_privileges() -> None:
    for service in SERVICES.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(SERVICES[name]["read_only"] for name in ("gateway", "redis", "prometheus"))


def test_no_service_can_fill_the_disk_with_logs_or_take_all_memory() -> None:
    """Redis may hold `maxmemory` twice while it rewrites its file."""
    for service in SERVICES.values():
        assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    redis = SERVICES["redis"]
    (maximum,) = re.findall(r"--maxmemory (\d+)mb", redis["command"])
    assert int(redis["mem_limit"].removesuffix("m")) >= 2 * int(maximum) + 128


def test_the_playground_starts_only_when_asked_for_and_shares_nothing_with_the_gateway() -> None:
    """It makes a configuration of its own, the only one in which private addresses are allowed."""
    playground = SERVICES["playground"]
    assert playground["profiles"] == ["playground"]
    assert [playground[key] for key in ("build", "image")] == [SERVICES["gateway"][key] for key in ("build", "image")]
    assert playground["command"][0] == "playground"
    assert not {"secrets", "volumes", "environment", "depends_on"} & playground.keys()
    assert all("profiles" not in service for name, service in SERVICES.items() if name != "playground")


def test_redis_keeps_what_is_acknowledged() -> None:
    """docs/state.md names these settings."""
    command = SERVICES["redis"]["command"]
    assert "--appendonly yes --appendfsync always" in command
    assert "--maxmemory-policy noeviction" in command


def test_prometheus_loads_its_configuration_and_the_rules(tmp_path: Path) -> None:
    shutil.copy(DEPLOY.parent / "dashboards" / "wecom-rules.yml", tmp_path)
    text = (DEPLOY / "compose" / "prometheus.yml").read_text(encoding="utf-8")
    path = tmp_path / "prometheus.yml"
    path.write_text(text.replace("/etc/prometheus", str(tmp_path)), encoding="utf-8")
    assert "SUCCESS" in check("promtool", "check", "config", path)
    assert {"/etc/prometheus/prometheus.yml", "/etc/prometheus/wecom-rules.yml"} <= set(mounts().values())


def test_grafana_finds_both_dashboards_and_a_data_source() -> None:
    (provider,) = read_yaml("compose/grafana/dashboards/wecom.yml")["providers"]
    folder = provider["options"]["path"]
    boards = {f"../dashboards/{name}": f"{folder}/{name}" for name in FILES if name.endswith(".json")}
    assert boards.items() <= mounts().items()
    (source,) = read_yaml("compose/grafana/datasources/prometheus.yml")["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    scraped = read_yaml("compose/prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped


def test_every_image_has_a_fixed_version() -> None:
    assert all(re.fullmatch(r"[a-z/-]+:v?\d+\.\d+[\w.-]*", service["image"]) for service in SERVICES.values())
