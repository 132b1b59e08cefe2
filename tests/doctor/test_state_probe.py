"""Probing the state: the file, its folder, or Redis; none of them is changed."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from maven_channel_wecom.host.configuration import Gateway
from maven_channel_wecom.host.memory_file import MemoryFile
from maven_channel_wecom.host.status_server import StatusServer
from maven_channel_wecom.state.sqlite.store import SqliteStateStore
from tests.doctor.faulty_bots import PASSWORD, FakeBot, bot_config, entry, write_config
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.hostile_journal import give_to_another_user, put_journal_beside
from tests.fakes.redis_server import RedisServer, shared_redis
from tests.suite_watch import record_output

if TYPE_CHECKING:
    from tests.doctor.conftest import Doctor

VECTORS = Path(__file__).parents[1] / "vectors" / "state"

USER = ("--user", "default", "on", "nopass", "~*", "+@all")

RUNS = "Redis is reachable, new enough and runs the scripts of the gateway"


async def test_state_in_memory_is_a_warning(doctor: Doctor, tmp_path: Path) -> None:
    found = await doctor.diagnose(bot_config(tmp_path))
    assert (found.exit_code, found.outcome("state")) == (0, "warn")
    assert "a restart loses the messages" in found.detail("state")


async def test_a_missing_state_file_is_not_created(doctor: Doctor, tmp_path: Path) -> None:
    """A file created here would belong to the user who runs the doctor."""
    path = tmp_path / "wecom.db"
    found = await doctor.diagnose(bot_config(tmp_path, state=f"sqlite:{path}"))
    assert found.outcome("state") == "ok"
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


async def test_a_missing_folder_of_the_state_file_is_a_failure(doctor: Doctor, tmp_path: Path) -> None:
    found = await doctor.diagnose(bot_config(tmp_path, state=f"sqlite:{tmp_path}/no/wecom.db"))
    assert found.outcome("state") == "fail"
    assert f"there is no folder {tmp_path}/no" in found.detail("state")


async def memory_check(doctor: Doctor, folder: Path, memory: Path, *, port: int = 0) -> tuple[str, str]:
    """Return outcome and detail of the check of a memory, where no agent answers."""
    agent = {"type": "responses", "url": "http://127.0.0.1:1/", "model": "m", "memoryState": f"sqlite:{memory}"}
    found = await doctor.diagnose(
        write_config(folder, {"gateway": {"port": port}, "agent": agent, "channels": {"wecom": entry()}})
    )
    return found.outcome("memory"), found.detail("memory")


async def test_a_memory_that_can_be_written_is_ok_and_not_created(doctor: Doctor, tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    assert await memory_check(doctor, tmp_path, path) == (
        "ok",
        "the file does not exist yet, and its folder is writable",
    )
    assert not path.exists()
    path.touch()
    assert await memory_check(doctor, tmp_path, path) == ("ok", "the file is healthy and writable")


async def test_a_memory_that_cannot_be_opened_is_a_failure(doctor: Doctor, tmp_path: Path) -> None:
    missing = await memory_check(doctor, tmp_path, tmp_path / "no" / "memory.db")
    assert missing == ("fail", f"there is no folder {tmp_path}/no for the file: create it")
    other = tmp_path / "other.db"
    other.write_bytes(b"canary" * 1_000)
    outcome, detail = await memory_check(doctor, tmp_path, other)
    assert (outcome, "is no SQLite database" in detail) == ("fail", True)
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "nowhere" / "memory.db")
    assert (await memory_check(doctor, tmp_path, link))[0] == "fail"


async def test_a_memory_is_held_by_the_gateway_that_runs(doctor: Doctor, tmp_path: Path) -> None:
    async def ready() -> list[str]:
        return []

    status = StatusServer(Gateway(port=0), CollectorRegistry(), ready)
    await status.start()
    found = await memory_check(doctor, tmp_path, tmp_path / "no" / "memory.db", port=status.port)
    await status.stop()
    assert found == ("ok", "the file is in use, as expected while the gateway runs")


async def test_a_memory_in_the_process_is_ok(doctor: Doctor, tmp_path: Path) -> None:
    agent = {"type": "responses", "url": "http://127.0.0.1:1/", "model": "m"}
    found = await doctor.diagnose(write_config(tmp_path, {"agent": agent, "channels": {"wecom": entry()}}))
    assert found.outcome("memory") == "ok"
    assert "a restart forgets" in found.detail("memory")


async def test_a_symbolic_link_that_leads_nowhere_is_a_failure(doctor: Doctor, tmp_path: Path) -> None:
    path = tmp_path / "wecom.db"
    for target in ("canary", "wecom.db"):
        path.symlink_to(tmp_path / target)
        found = await doctor.diagnose(bot_config(tmp_path, state=f"sqlite:{path}"))
        assert found.outcome("state") == "fail"
        assert f"the state file {path} is a symbolic link that leads nowhere" in found.detail("state")
        path.unlink()


async def test_a_state_file_that_is_not_in_use_is_ok(doctor: Doctor, tmp_path: Path) -> None:
    path = tmp_path / "wecom.db"
    await (await SqliteStateStore.open(str(path))).close()
    found = await doctor.diagnose(bot_config(tmp_path, state=f"sqlite:{path}"))
    assert (found.outcome("state"), found.detail("state")) == ("ok", "the file is healthy and writable")
    await (await SqliteStateStore.open(str(path))).close()


@pytest.mark.parametrize("version", [1, 2])
async def test_an_older_state_file_is_ok_and_not_migrated(doctor: Doctor, tmp_path: Path, version: int) -> None:
    """The older version of the gateway may still be running, and would refuse a migrated file."""
    path = tmp_path / "wecom.db"
    shutil.copyfile(VECTORS / f"schema-{version}.sqlite", path)
    before = path.read_bytes()
    found = await doctor.diagnose(bot_config(tmp_path, state=f"sqlite:{path}"))
    assert (found.outcome("state"), found.detail("state")) == (
        "ok",
        f"the file has the older version {version}, the gateway will migrate it when it starts",
    )
    assert path.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"config.json", "wecom.db"}


async def test_an_empty_state_file_is_ok_and_stays_empty(doctor: Doctor, tmp_path: Path) -> None:
    """An operator may have created it in order to set its owner."""
    path = tmp_path / "wecom.db"
    path.touch()
    found = await doctor.diagnose(bot_config(tmp_path, state=f"sqlite:{path}"))
    assert (found.outcome("state"), found.detail("state")) == (
        "ok",
        "the file is empty, the gateway will set it up when it starts",
    )
    assert path.read_bytes() == b""
    assert {file.name for file in tmp_path.iterdir()} == {"config.json", "wecom.db"}


async def test_a_missing_lock_file_is_not_created(doctor: Doctor, tmp_path: Path) -> None:
    """The file may be a restored backup, and the lock file would belong to the user who runs the doctor."""
    path = tmp_path / "wecom.db"
    await (await SqliteStateStore.open(str(path))).close()
    path.with_name("wecom.db.lock").unlink()
    found = await doctor.diagnose(bot_config(tmp_path, state=f"sqlite:{path}"))
    assert (found.outcome("state"), found.detail("state")) == ("ok", "the file is healthy and writable")
    assert {file.name for file in tmp_path.iterdir()} == {"config.json", "wecom.db"}


async def test_a_state_file_in_use_is_ok_only_while_the_port_accepts_connections(
    doctor: Doctor, tmp_path: Path
) -> None:
    path = tmp_path / "wecom.db"
    store = await SqliteStateStore.open(str(path))
    async with FakeBot() as bot:
        running = await doctor.diagnose(bot_config(tmp_path, port=bot.port, state=f"sqlite:{path}"))
    stopped = await doctor.diagnose(bot_config(tmp_path, port=bot.port, state=f"sqlite:{path}"))
    assert await store.health() is None
    await store.close()
    assert (running.outcome("state"), stopped.outcome("state")) == ("ok", "warn")
    assert "by another process" in stopped.detail("state")


async def test_a_foreign_or_damaged_state_file_is_refused_and_not_changed(doctor: Doctor, tmp_path: Path) -> None:
    foreign, damaged = tmp_path / "foreign.db", tmp_path / "damaged.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE canary (canary)")
    connection.close()
    damaged.write_bytes(b"canary" * 1000)
    before = foreign.read_bytes()
    found = await doctor.diagnose(bot_config(tmp_path, state=f"sqlite:{foreign}"))
    assert "is a database of another program" in found.detail("state")
    assert foreign.read_bytes() == before
    found = await doctor.diagnose(bot_config(tmp_path, state=f"sqlite:{damaged}"))
    assert "is damaged or not an SQLite database" in found.detail("state")
    assert found.exit_code == 1


def run_without_disk_space(path: Path) -> str:
    """Return the output of the doctor when it may not write a byte to any file, as on a full disk."""
    command = [sys.executable, "-m", "maven_channel_wecom", "doctor", "--config", str(path)]
    shell = ["/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *command]
    done = subprocess.run(shell, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    assert (done.returncode, done.stderr) == (1, "")
    return record_output("the output of the doctor", done.stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_root_only_reads_what_another_user_could_use_to_make_it_delete_a_file(
    doctor: Doctor, tmp_path: Path
) -> None:
    folder, roots = tmp_path / "files", tmp_path / "a file of root"
    folder.mkdir()
    roots.touch()
    await (await SqliteStateStore.open(str(folder / "state.db"))).close()
    memory = await MemoryFile(folder / "memory.db", lambda: 0.0).open()
    give_to_another_user(folder)
    assert "is in use by another process" in (await memory_check(doctor, tmp_path, folder / "memory.db"))[1]
    await memory.close()
    config = bot_config(tmp_path, state=f"sqlite:{folder}/state.db")
    assert (await doctor.diagnose(config)).outcome("state") == "ok"
    assert (await memory_check(doctor, tmp_path, folder / "memory.db"))[0] == "ok"
    for name in ("state.db", "memory.db"):
        put_journal_beside(folder / name, roots)
    give_to_another_user(folder)
    assert (await doctor.diagnose(bot_config(tmp_path, state=f"sqlite:{folder}/state.db"))).outcome("state") == "fail"
    assert (await memory_check(doctor, tmp_path, folder / "memory.db"))[0] == "fail"
    assert roots.exists()


async def test_a_full_disk_is_detected_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "state" / "wecom.db"
    path.parent.mkdir()
    configuration = bot_config(tmp_path, state=f"sqlite:{path}")
    assert f"nothing can be written to {path.parent} (File too large)" in run_without_disk_space(configuration)
    assert list(path.parent.iterdir()) == []
    await (await SqliteStateStore.open(str(path))).close()
    assert f"the state file {path} cannot be read or written, its disk reports an error" in run_without_disk_space(
        configuration
    )
    await (await SqliteStateStore.open(str(path))).close()


async def test_redis_is_written_to_and_no_key_is_left_behind(doctor: Doctor, tmp_path: Path) -> None:
    server = await asyncio.to_thread(shared_redis)
    await server.command("FLUSHALL")
    found = await doctor.diagnose(bot_config(tmp_path, state=server.address()))
    assert (found.outcome("state"), found.detail("state")) == ("ok", RUNS)
    assert await server.keys() == set()


async def test_an_unusable_redis_is_explained(doctor: Doctor, tmp_path: Path) -> None:
    """No password, a wrong one, not writable, stopped. A password in the address counts as a secret of the file."""
    server = RedisServer("--requirepass", "right", "--min-replicas-to-write", "1")
    await asyncio.to_thread(server.start)
    try:
        found = await doctor.diagnose(bot_config(tmp_path, state=server.address()))
        assert "requires a password" in found.detail("state")
        found = await doctor.diagnose(bot_config(tmp_path, state=server.address(f":{PASSWORD}@")))
        assert "refuses the user or the password" in found.detail("state")
        assert "state written in the configuration" in found.detail("secrets")
        found = await doctor.diagnose(bot_config(tmp_path, state=server.address(":right@")))
        assert "too few replicas" in found.detail("state")
    finally:
        server.remove()
    found = await doctor.diagnose(bot_config(tmp_path, state=server.address()))
    assert "cannot be reached" in found.detail("state")
    assert (found.exit_code, found.outcome("state")) == (1, "fail")


async def test_a_redis_that_answers_late_at_first_is_ok(doctor: Doctor, tmp_path: Path) -> None:
    """As on a busy machine, where the doctor has just started."""
    server = await asyncio.to_thread(shared_redis)
    async with FaultProxy(server.port) as proxy:
        proxy.drop(2, to=b"DEL", silently=True)
        found = await doctor.diagnose(bot_config(tmp_path, state=proxy.address()))
        assert (found.outcome("state"), proxy.lost) == ("ok", 2)


@pytest.mark.parametrize(
    ("options", "outcome", "detail"),
    [
        (("--rename-command", "EVALSHA", "canary"), "fail", "lacks a command"),
        ((*USER, "-xadd"), "fail", "lacks permissions"),
        ((*USER, "-info"), "ok", RUNS),
        (("--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb"), "warn", "set maxmemory-policy noeviction"),
        (("--maxmemory-policy", "allkeys-lru"), "ok", RUNS),
    ],
    ids=["renamed", "permission in a script", "no permission for INFO", "evicts", "unlimited"],
)
async def test_redis_is_judged_by_what_a_message_needs(
    doctor: Doctor, tmp_path: Path, options: tuple[str, ...], outcome: str, detail: str
) -> None:
    server = RedisServer(*options)
    await asyncio.to_thread(server.start)
    try:
        found = await doctor.diagnose(bot_config(tmp_path, state=server.address()))
    finally:
        server.remove()
    assert found.outcome("state") == outcome
    assert detail in found.detail("state")


async def test_missing_tls_files_for_redis_are_a_failure(doctor: Doctor, tmp_path: Path) -> None:
    found = await doctor.diagnose(bot_config(tmp_path, state=f"rediss://127.0.0.1:1?ssl_ca_certs={tmp_path}/no.pem"))
    assert "the TLS files" in found.detail("state")
