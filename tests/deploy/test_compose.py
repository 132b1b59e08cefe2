"""Tests of the Compose file, and of what it mounts into Prometheus and Grafana."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import maven_channel_wecom
from maven_channel_wecom.doctor.state_probe import probe_state
from maven_channel_wecom.monitoring import FILES
from tests.deploy.files import DEPLOY, check, console_lines, instructions, read_json, read_yaml, run_lines
from tests.fakes.redis_server import RedisServer
from tests.suite_watch import register

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


def test_the_folder_that_the_image_gives_its_user_is_a_volume() -> None:
    """There the embedded host can keep conversations, as the root of the gateway is read-only."""
    folder = dict(instructions())["WORKDIR"]
    assert f"gateway:{folder}" in SERVICES["gateway"]["volumes"]
    assert "gateway" in read_yaml("compose.yaml")["volumes"]


def test_the_playground_starts_only_when_asked_for_and_shares_nothing_with_the_gateway() -> None:
    """It makes a configuration of its own, the only one in which private addresses are allowed."""
    playground = SERVICES["playground"]
    assert playground["profiles"] == ["playground"]
    assert [playground[key] for key in ("build", "image")] == [SERVICES["gateway"][key] for key in ("build", "image")]
    assert playground["command"][0] == "playground"
    assert not {"secrets", "volumes", "environment", "depends_on"} & playground.keys()
    assert playground["networks"] == ["playground"]
    assert read_yaml("compose.yaml")["networks"] == {"playground": None}
    assert all("networks" not in service for name, service in SERVICES.items() if name != "playground")
    assert all("profiles" not in service for name, service in SERVICES.items() if name != "playground")


def test_redis_keeps_what_is_acknowledged() -> None:
    """docs/state.md names these settings."""
    command = SERVICES["redis"]["command"]
    assert "--appendonly yes --appendfsync always" in command
    assert "--maxmemory-policy noeviction" in command


def make_secrets(folder: Path) -> Path:
    """Run the commands of docs/deploy.md that write the secret files, and return their folder."""
    lines = console_lines("Compose")
    end = lines.index("docker compose up --detach --build")
    assert lines[:2] == ["cd deploy", "set -a; . ../secrets.env; set +a"]
    run_lines(lines[2:end], folder)
    run_lines(lines[2:end], folder)  # as to change them
    made = folder / "secrets"
    register("the password of Redis", made.joinpath("redis_conf").read_text("utf-8").split()[1])
    register("the password of Grafana", made.joinpath("grafana_password").read_text("utf-8").strip())
    return made


def test_the_commands_in_the_document_make_every_secret_that_the_file_names(tmp_path: Path) -> None:
    made = make_secrets(tmp_path)
    named = {each["file"] for each in read_yaml("compose.yaml")["secrets"].values()}
    assert named == {f"./secrets/{path.name}" for path in made.iterdir()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.iterdir()} == {0o644}
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    mounted = {f"/run/secrets/{name}" for name in SERVICES["gateway"]["secrets"]}
    entry = read_json("compose/gateway.json")["channels"]["wecom"]
    assert {entry[key]["file"] for key in ("token", "encodingAESKey", "state")} == mounted


async def test_redis_accepts_only_the_password_in_the_address_of_the_gateway(tmp_path: Path) -> None:
    made = await asyncio.to_thread(make_secrets, tmp_path)
    command = SERVICES["redis"]["command"].replace("/run/secrets", str(made))
    program, *options = shlex.split(command)
    assert program == "redis-server"
    server = RedisServer(*options)
    await asyncio.to_thread(server.start)
    try:
        address = (made / "wecom_state").read_text("utf-8").replace("redis:6379", f"127.0.0.1:{server.port}")
        assert (await probe_state(address, channel="wecom")).kind == "redis"
        without = await probe_state(server.address(), channel="wecom")
        assert "requires a password" in without.detail
        # The health check has no password.
        test = [*SERVICES["redis"]["healthcheck"]["test"][1:-1], "-p", str(server.port), "ping"]
        asked = await asyncio.to_thread(subprocess.run, test, capture_output=True, check=False)
        assert asked.returncode == 0
    finally:
        server.remove()


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
