"""What surrounds a channel: the port, the state, the proxy, and who may read the secrets."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.config import read_config
from maven_channel_wecom.doctor import checks, probing
from maven_channel_wecom.state.sqlite.store import SqliteStateStore
from tests.doctor.patients import KEY, PASSWORD, TOKEN, FakeBot, entry, with_bot
from tests.fakes.proxies import HttpProxy
from tests.fakes.redis_server import RedisServer, shared_redis

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doctor.conftest import Doctor


def bound(*, listening: bool) -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    if listening:
        taken.listen()
    return taken


async def test_nobody_on_the_port_is_a_gateway_that_does_not_run(doctor: Doctor, tmp_path: Path) -> None:
    """One failure, and no second one for the check that could not be made."""
    with bound(listening=False) as taken:
        port = taken.getsockname()[1]
    found = await doctor.ask(with_bot(tmp_path, port=port))
    assert (found.code, found.outcome("port")) == (1, "fail")
    assert "the gateway is not running" in found.detail("port")
    assert "回调地址请求不通过" in found.detail("port")
    assert "local_url" not in found.names()


async def test_a_port_taken_by_somebody_who_does_not_answer_is_told_apart(doctor: Doctor, tmp_path: Path) -> None:
    """Starting the gateway would not help."""
    with bound(listening=False) as taken:
        found = await doctor.ask(with_bot(tmp_path, port=taken.getsockname()[1]))
    assert "is taken, and nobody answers there" in found.detail("port")


async def test_a_listener_on_all_addresses_is_found(doctor: Doctor, tmp_path: Path) -> None:
    """Under the address of this machine itself."""
    async with FakeBot() as bot:
        found = await doctor.ask(with_bot(tmp_path, host="0.0.0.0", port=bot.port))
    assert (found.outcome("port"), found.outcome("local_url")) == ("ok", "ok")


async def test_any_free_port_cannot_be_checked(doctor: Doctor, tmp_path: Path) -> None:
    """Which is no failure."""
    found = await doctor.ask(with_bot(tmp_path, port=0))
    assert (found.code, found.outcome("port")) == (0, "warn")


def test_a_host_that_is_no_address_is_not_here() -> None:
    """Too long for a name, so nobody is asked for it."""
    assert probing.probe_port("x" * 64, 9886) == "not_here"


@pytest.mark.parametrize(("seen", "sentence"), [("not_allowed", "1024"), ("not_here", "none of this machine's")])
def test_a_port_that_cannot_be_had_says_why(seen: checks.PortSeen, sentence: str) -> None:
    """Rights, or the address."""
    check = checks.judge_port("wecom", seen, read_config("wecom", entry(port=80)))
    assert check.outcome == "fail"
    assert sentence in check.detail


async def test_memory_is_a_warning(doctor: Doctor, tmp_path: Path) -> None:
    """It works, and forgets."""
    found = await doctor.ask(with_bot(tmp_path))
    assert (found.code, found.outcome("state")) == (0, "warn")
    assert "a restart loses the messages" in found.detail("state")


async def test_a_state_file_that_is_not_there_yet_is_not_made(doctor: Doctor, tmp_path: Path) -> None:
    """It would belong to whoever asked."""
    path = tmp_path / "wecom.db"
    found = await doctor.ask(with_bot(tmp_path, state=f"sqlite:{path}"))
    assert found.outcome("state") == "ok"
    assert not path.exists()


async def test_a_state_file_without_a_folder_is_a_failure(doctor: Doctor, tmp_path: Path) -> None:
    """Named, so that it can be created."""
    found = await doctor.ask(with_bot(tmp_path, state=f"sqlite:{tmp_path}/no/wecom.db"))
    assert found.outcome("state") == "fail"
    assert f"there is no folder {tmp_path}/no" in found.detail("state")


async def test_a_state_file_at_rest_is_healthy(doctor: Doctor, tmp_path: Path) -> None:
    """And can be opened by the gateway afterwards."""
    path = tmp_path / "wecom.db"
    await (await SqliteStateStore.open(str(path))).close()
    found = await doctor.ask(with_bot(tmp_path, state=f"sqlite:{path}"))
    assert (found.outcome("state"), found.detail("state")) == ("ok", "the file is healthy and writable")
    await (await SqliteStateStore.open(str(path))).close()


async def test_a_state_file_in_use_is_right_only_while_somebody_listens(doctor: Doctor, tmp_path: Path) -> None:
    """Else another process has it."""
    path = tmp_path / "wecom.db"
    store = await SqliteStateStore.open(str(path))
    async with FakeBot() as bot:
        running = await doctor.ask(with_bot(tmp_path, port=bot.port, state=f"sqlite:{path}"))
    stopped = await doctor.ask(with_bot(tmp_path, port=bot.port, state=f"sqlite:{path}"))
    assert await store.health() is None
    await store.close()
    assert (running.outcome("state"), stopped.outcome("state")) == ("ok", "warn")
    assert "by another process" in stopped.detail("state")


async def test_a_file_of_another_program_is_refused_and_left_alone(doctor: Doctor, tmp_path: Path) -> None:
    """So is one that is damaged."""
    foreign, damaged = tmp_path / "foreign.db", tmp_path / "damaged.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE canary (canary)")
    connection.close()
    damaged.write_bytes(b"canary" * 1000)
    before = foreign.read_bytes()
    found = await doctor.ask(with_bot(tmp_path, state=f"sqlite:{foreign}"))
    assert "is a database of another program" in found.detail("state")
    assert foreign.read_bytes() == before
    found = await doctor.ask(with_bot(tmp_path, state=f"sqlite:{damaged}"))
    assert "is no SQLite database, or is damaged" in found.detail("state")
    assert found.code == 1


async def test_a_redis_is_written_to_and_left_as_it_was(doctor: Doctor, tmp_path: Path) -> None:
    """The key of the trial is gone again."""
    server = await asyncio.to_thread(shared_redis)
    await server.command("FLUSHALL")
    found = await doctor.ask(with_bot(tmp_path, state=server.address()))
    assert (found.outcome("state"), found.detail("state")) == ("ok", "Redis is reachable, new enough and writable")
    assert await server.keys() == set()


async def test_a_redis_that_cannot_be_used_says_why(doctor: Doctor, tmp_path: Path) -> None:
    """Without a password, with a wrong one, not writable, not there; the password is a secret of the configuration."""
    server = RedisServer("--requirepass", "right", "--min-replicas-to-write", "1")
    await asyncio.to_thread(server.start)
    try:
        found = await doctor.ask(with_bot(tmp_path, state=server.address()))
        assert "wants a password" in found.detail("state")
        found = await doctor.ask(with_bot(tmp_path, state=server.address(f":{PASSWORD}@")))
        assert "refuses the user or the password" in found.detail("state")
        assert "state written in the configuration" in found.detail("secrets")
        found = await doctor.ask(with_bot(tmp_path, state=server.address(":right@")))
        assert "too few replicas" in found.detail("state")
    finally:
        server.remove()
    found = await doctor.ask(with_bot(tmp_path, state=server.address()))
    assert "cannot be reached" in found.detail("state")
    assert (found.code, found.outcome("state")) == (1, "fail")


async def test_tls_files_of_a_redis_that_are_missing_are_a_failure(doctor: Doctor, tmp_path: Path) -> None:
    """Before anything is connected to."""
    found = await doctor.ask(with_bot(tmp_path, state=f"rediss://127.0.0.1:1?ssl_ca_certs={tmp_path}/no.pem"))
    assert "the files for TLS" in found.detail("state")


async def test_a_proxy_is_connected_to_and_asked_nothing(doctor: Doctor, tmp_path: Path) -> None:
    """Its user and password stay here, its address is not shown."""
    async with HttpProxy() as proxy:
        address = f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}"
        up = await doctor.ask(with_bot(tmp_path, proxy=address))
        # The doctor runs in a thread, and may be done before this loop has looked at its connection.
        async with asyncio.timeout(10):
            while not proxy.accepted:  # noqa: ASYNC110 - it announces nothing
                await asyncio.sleep(0.01)
    down = await doctor.ask(with_bot(tmp_path, proxy=address))
    assert (up.outcome("proxy"), down.outcome("proxy"), down.code) == ("ok", "fail", 1)
    assert (proxy.accepted, proxy.asked) == (1, [])
    assert str(proxy.port) not in up.detail("proxy") + down.detail("proxy")


async def test_without_a_proxy_there_is_nothing_to_say_about_it(doctor: Doctor, tmp_path: Path) -> None:
    """No line at all."""
    assert "proxy" not in (await doctor.ask(with_bot(tmp_path))).names()


@pytest.mark.parametrize(("mode", "outcome"), [(0o600, "ok"), (0o640, "warn"), (0o604, "warn")])
async def test_a_file_with_a_secret_is_for_its_owner_alone(
    doctor: Doctor, tmp_path: Path, mode: int, outcome: str
) -> None:
    """A secret's own file, whatever the configuration's mode is when no secret stands in it."""
    token, key = tmp_path / "token", tmp_path / "key"
    token.write_text(TOKEN, encoding="utf-8")
    token.chmod(mode)
    key.write_text(KEY, encoding="utf-8")
    key.chmod(0o600)
    path = with_bot(tmp_path, token={"file": str(token)}, encodingAESKey={"file": str(key)})
    path.chmod(0o644)
    found = await doctor.ask(path)
    assert (found.code, found.outcome("secrets")) == (0, outcome)
    assert f"token from the file {token}, encodingAESKey from the file {key}" in found.detail("secrets")
    assert (f"the file {token} may be read by" in found.detail("secrets")) == (outcome == "warn")


async def test_a_configuration_with_a_secret_in_it_is_for_its_owner_alone(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one of the two in the environment, the other still counts."""
    monkeypatch.setenv("BOT_TOKEN", TOKEN)
    path = with_bot(tmp_path, token={"env": "BOT_TOKEN"})
    assert (await doctor.ask(path)).outcome("secrets") == "ok"
    path.chmod(0o644)
    found = await doctor.ask(path)
    assert found.detail("secrets") == (
        "token from the environment variable BOT_TOKEN, encodingAESKey written in the configuration; "
        "the configuration file may be read by its group and by everybody: take that away"
    )
