"""What surrounds a channel: the port, the state, the proxy, and who may read the secrets."""

from __future__ import annotations

import asyncio
import gc
import socket
import sqlite3
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.config import read_config
from maven_channel_wecom.doctor import checks, probing
from maven_channel_wecom.state.sqlite.store import SqliteStateStore
from tests.doctor.faulty_bots import KEY, PASSWORD, TOKEN, FakeBot, entry, with_bot, written
from tests.fakes.certificates import Authority
from tests.fakes.names import Names
from tests.fakes.proxies import HttpProxy, SocksProxy
from tests.fakes.redis_server import RedisServer, shared_redis
from tests.fakes.sites import Site, answer, hang_up, in_turn, silence
from tests.suite_watch import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.doctor.conftest import Diagnosis, Doctor


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


async def test_a_key_without_effect_is_a_warning(doctor: Doctor, tmp_path: Path) -> None:
    """The bot works all the same."""
    found = await doctor.ask(with_bot(tmp_path, port=0, shortPath=True))
    assert (found.code, found.outcome("configuration")) == (0, "warn")
    assert "shortPath has no effect any more: take it out" in found.detail("configuration")


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
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


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


def limited(path: Path) -> str:
    """Return what the doctor prints when no file may hold a byte, as on a full disk."""
    command = [sys.executable, "-m", "maven_channel_wecom", "doctor", "--config", str(path)]
    shell = ["/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *command]
    done = subprocess.run(shell, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    assert (done.returncode, done.stderr) == (1, "")
    return shown("the output of the doctor", done.stdout)


async def test_a_disk_that_takes_nothing_is_seen(tmp_path: Path) -> None:
    """The state is written to for a trial, the file as well as the folder where one will be; nothing is left there."""
    path = tmp_path / "state" / "wecom.db"
    path.parent.mkdir()
    configuration = with_bot(tmp_path, state=f"sqlite:{path}")
    assert f"nothing can be written in {path.parent} (File too large)" in limited(configuration)
    assert list(path.parent.iterdir()) == []
    await (await SqliteStateStore.open(str(path))).close()
    assert f"the state file {path} cannot be read or written, its disk reports an error" in limited(configuration)
    await (await SqliteStateStore.open(str(path))).close()


async def test_a_gateway_that_runs_is_asked_whether_it_is_ready(doctor: Doctor, tmp_path: Path) -> None:
    """It alone can tell whether a state it holds can be written."""
    ready = b'{"ready": true, "reasons": []}'
    away = b'{"ready": false, "reasons": ["wecom: the disk is full", "b: \\u001b[2J"]}'
    async with FakeBot() as bot, Site(in_turn(answer(ready), answer(away, status="503 No"))) as status:
        document = {"gateway": {"port": status.port}, "channels": {"wecom": entry(port=bot.port)}}
        well = await doctor.ask(written(tmp_path, document))
        ill = await doctor.ask(written(tmp_path, document))
    assert [asked.line for asked in status.requests] == ["GET /readyz HTTP/1.1"] * 2
    assert (well.code, well.outcome("gateway")) == (0, "ok")
    assert (ill.code, ill.outcome("gateway")) == (1, "fail")
    assert "it says that it is not ready: wecom: the disk is full" in ill.detail("gateway")


@pytest.mark.parametrize("body", [b"<html>canary", b"[]", b'{"reasons": 7}', b"[" * 50_000, b"\xff", b""])
async def test_another_program_on_the_port_of_the_gateway_is_a_warning(
    doctor: Doctor, tmp_path: Path, body: bytes
) -> None:
    """So is nobody there: the callbacks are taken, by a gateway that was started with another file."""
    async with FakeBot() as bot:
        async with Site(answer(body)) as status:
            document = {"gateway": {"port": status.port}, "channels": {"wecom": entry(port=bot.port)}}
            path = written(tmp_path, document)
            other = await doctor.ask(path)
        nobody = await doctor.ask(path)
    for found in (other, nobody):
        assert (found.code, found.outcome("gateway")) == (0, "warn")
        assert f"nobody answers on gateway.port {status.port}" in found.detail("gateway")


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


async def through(doctor: Doctor, folder: Path, address: str, bot: Site, **probe: Any) -> Diagnosis:  # noqa: ANN401
    return await doctor.ask(with_bot(folder, proxy=address), "--url", bot.url, **probe)


async def test_with_a_url_a_request_goes_through_the_proxy(doctor: Doctor, tmp_path: Path) -> None:
    """As replies go, with its user and password; WeCom itself comes directly, so the other check does too."""
    async with FakeBot() as bot, HttpProxy(bot.port, user="user", password=PASSWORD) as proxy:
        found = await through(doctor, tmp_path, f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}", bot)
        refused = await through(doctor, tmp_path, f"http://user:canary@127.0.0.1:{proxy.port}", bot)
    assert (found.code, found.outcome("proxy")) == (0, "ok")
    assert "the URL check went through the proxy too" in found.detail("proxy")
    assert "none goes around it" in found.detail("proxy")
    assert "compare its user and password" in refused.detail("proxy")
    assert (refused.code, refused.outcome("proxy"), refused.outcome("public_url")) == (1, "fail", "ok")
    assert proxy.asked == [f"127.0.0.1:{bot.port}"] * 2
    # Twice directly, and once through the proxy that let it pass.
    assert len(bot.requests) == 3
    assert not any("proxy-authorization" in asked.headers for asked in bot.requests)


async def test_an_answer_in_pieces_is_read_to_its_end(doctor: Doctor, tmp_path: Path) -> None:
    """A proxy may hand it on as it comes."""
    async with FakeBot(pieces=3) as bot, HttpProxy(bot.port) as proxy:
        found = await through(doctor, tmp_path, f"http://127.0.0.1:{proxy.port}", bot)
    assert (found.outcome("public_url"), found.outcome("proxy")) == ("ok", "ok")


async def test_a_socks_proxy_is_gone_through_too(doctor: Doctor, tmp_path: Path) -> None:
    """With the name left to it, and its refusal told."""
    async with FakeBot() as bot:
        async with SocksProxy(bot.port) as proxy:
            found = await through(doctor, tmp_path, f"socks5h://127.0.0.1:{proxy.port}", bot)
        async with SocksProxy() as closed:
            refused = await through(doctor, tmp_path, f"socks5://127.0.0.1:{closed.port}", bot)
    assert (found.outcome("proxy"), proxy.asked) == ("ok", [("127.0.0.1", bot.port)])
    assert (refused.outcome("proxy"), closed.asked) == ("fail", [("127.0.0.1", bot.port)])


async def test_tls_goes_through_the_proxy_unbroken(doctor: Doctor, tmp_path: Path) -> None:
    """And one that answers with a certificate of its own is told."""
    authority = await asyncio.to_thread(Authority, tmp_path)
    other = await asyncio.to_thread(Authority, tmp_path)
    names = Names({"bot.example.com": [["127.0.0.1"]]})
    how: dict[str, Any] = {"resolver": names, "tls": authority.trust}
    async with (
        FakeBot(tls=authority.server("bot.example.com")) as bot,
        FakeBot(tls=other.server("bot.example.com")) as breaker,
        HttpProxy(bot.port) as honest,
        HttpProxy(breaker.port) as breaking,
    ):
        url = f"https://bot.example.com:{bot.port}/wecom/bot"
        path = with_bot(tmp_path, proxy=f"http://127.0.0.1:{honest.port}")
        found = await doctor.ask(path, "--url", url, **how)
        path = with_bot(tmp_path, proxy=f"http://127.0.0.1:{breaking.port}")
        broken = await doctor.ask(path, "--url", url, **how)
    assert (found.outcome("proxy"), honest.asked) == ("ok", [f"bot.example.com:{bot.port}"])
    assert (broken.outcome("proxy"), broken.outcome("public_url")) == ("fail", "ok")
    assert "TLS through the proxy fails" in broken.detail("proxy")


async def test_no_connection_is_left_to_the_garbage_collector(doctor: Doctor, tmp_path: Path) -> None:
    """With TLS, a connection lives on after its close, and the event loop of the doctor ends with its last check."""
    authority = await asyncio.to_thread(Authority, tmp_path)
    async with FakeBot(tls=authority.server("bot.example.com")) as bot, HttpProxy(bot.port) as proxy:
        path = with_bot(tmp_path, proxy=f"http://127.0.0.1:{proxy.port}")
        url = f"https://bot.example.com:{bot.port}/wecom/bot"
        names = Names({"bot.example.com": [["127.0.0.1"]]})
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always", ResourceWarning)
            found = await doctor.ask(path, "--url", url, resolver=names, tls=authority.trust)
            gc.collect()
    assert found.outcome("proxy") == "ok"
    assert [str(warning.message) for warning in seen if warning.category is ResourceWarning] == []


@pytest.mark.parametrize(
    ("site", "outcome", "sentence"),
    [
        (answer(b"canary page"), "warn", "another answer than the right one"),
        (hang_up, "fail", "no answer came back"),
        (silence, "fail", "no answer came back"),
    ],
    ids=["page", "hang up", "silence"],
)
async def test_a_proxy_that_does_something_else_is_told(
    doctor: Doctor,
    tmp_path: Path,
    site: Callable[[asyncio.StreamWriter], Awaitable[None]],
    outcome: str,
    sentence: str,
) -> None:
    """The way without it is fine, so it is the proxy."""
    async with FakeBot() as bot, Site(site) as elsewhere, HttpProxy(elsewhere.port) as proxy:
        found = await through(doctor, tmp_path, f"http://127.0.0.1:{proxy.port}", bot, answer_seconds=1)
    assert (found.outcome("proxy"), found.outcome("public_url")) == (outcome, "ok")
    assert sentence in found.detail("proxy")


async def test_a_proxy_is_connected_to_and_asked_nothing(doctor: Doctor, tmp_path: Path) -> None:
    """Without a URL nobody may be asked for; its user and password stay here, its address is not shown."""
    async with HttpProxy() as proxy:
        address = f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}"
        up = await doctor.ask(with_bot(tmp_path, proxy=address))
        # The doctor runs in a thread, and may be done before this loop has looked at its connection.
        async with asyncio.timeout(10):
            await proxy.came.wait()
    down = await doctor.ask(with_bot(tmp_path, proxy=address))
    assert (up.outcome("proxy"), down.outcome("proxy"), down.code) == ("ok", "fail", 1)
    assert (proxy.accepted, proxy.asked) == (1, [])
    assert "nothing was sent through it" in up.detail("proxy")
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
