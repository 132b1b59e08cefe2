"""Tests of the command that copies a state while the gateway runs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.cli import main
from maven_channel_wecom.host.memory_file import MemoryFile
from maven_channel_wecom.state.sqlite.store import SqliteStateStore
from tests.fakes.hostile_journal import give_to_another_user, put_journal_beside
from tests.host.test_memory_store import NOW, conversation, put
from tests.state.messages import admit, stored, take_over_all

if TYPE_CHECKING:
    from pathlib import Path

KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"


def configure(folder: Path, **states: object) -> Path:
    """Write a configuration with one entry for each state. Its secrets are not available here."""
    secret = {"env": "NO_SUCH_VARIABLE_4711"}
    entries = {
        name: {"type": "wecom", "token": secret, "encodingAESKey": secret, "state": state}
        for name, state in states.items()
    }
    path = folder / "config.json"
    path.write_text(json.dumps({"channels": entries}), encoding="utf-8")
    return path


def back_up(config: Path, into: Path, *others: str) -> int:
    return main(["backup", "--config", str(config), "--into", str(into), *others])


async def callbacks(path: Path) -> list[Any]:
    """Open a state as a gateway does, and return the callbacks that it takes over."""
    store = await SqliteStateStore.open(str(path))
    taken = await take_over_all(store)
    await store.close()
    return taken


async def test_a_copy_of_a_state_in_use_is_one_complete_private_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, copy = tmp_path / "state.db", tmp_path / "copies" / "copy.db"
    copy.parent.mkdir()
    store = await SqliteStateStore.open(str(path))
    await admit(store, "m1")
    assert await asyncio.to_thread(back_up, configure(tmp_path, wecom=f"sqlite:{path}"), copy) == 0
    assert [each.name for each in copy.parent.iterdir()] == ["copy.db"]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert capsys.readouterr().out == f"{copy}: {copy.stat().st_size / 1000:.0f} kB\n"
    await admit(store, "m2")
    await store.close()
    assert await callbacks(copy) == [stored("m1")]
    assert await callbacks(path) == [stored("m1"), stored("m2")]


async def test_a_plain_copy_of_the_file_alone_lacks_what_was_acknowledged(tmp_path: Path) -> None:
    """docs/state.md says so."""
    path, copy = tmp_path / "state.db", tmp_path / "copy.db"
    store = await SqliteStateStore.open(str(path))
    await admit(store, "m1")
    shutil.copy(path, copy)
    await store.close()
    assert await callbacks(copy) == []


def test_a_copy_contains_everything_acknowledged_before_while_callbacks_go_on(tmp_path: Path) -> None:
    path, copy = tmp_path / "state.db", tmp_path / "copy.db"
    config = configure(tmp_path, wecom=f"sqlite:{path}")
    command = [sys.executable, "-m", "tests.state.admit_until_killed", str(path), "m"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        assert process.stdout
        admitted: list[str] = []
        for _ in range(5):
            admitted += [process.stdout.readline().strip() for _ in range(100)]
            assert back_up(config, copy) == 0
            with closing(sqlite3.connect(copy)) as connection:
                copied = {row[0] for row in connection.execute("SELECT message_id FROM messages")}
            assert set(admitted) <= copied
        # Callbacks went on.
        assert process.stdout.readline()
        process.kill()


async def test_an_older_copy_is_replaced(tmp_path: Path) -> None:
    path, copy = tmp_path / "state.db", tmp_path / "copy.db"
    config = configure(tmp_path, wecom=f"sqlite:{path}")
    store = await SqliteStateStore.open(str(path))
    assert await asyncio.to_thread(back_up, config, copy) == 0
    await admit(store, "m1")
    await store.close()
    assert await asyncio.to_thread(back_up, config, copy) == 0
    assert await callbacks(copy) == [stored("m1")]


@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal", ".lock"])
@pytest.mark.parametrize("name", ["state.db", "other.db", "disabled.db", "memory.db"])
def test_the_files_of_the_gateway_are_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, ending: str
) -> None:
    names = {"wecom": "state.db", "second": "other.db", "third": "disabled.db"}
    config = configure(tmp_path, **{channel: f"sqlite:{tmp_path / file}" for channel, file in names.items()})
    document = json.loads(config.read_text("utf-8"))
    document["agent"] = {"memoryState": f"sqlite:{tmp_path / 'memory.db'}"}
    document["channels"]["third"]["enabled"] = False
    config.write_text(json.dumps(document), encoding="utf-8")
    # Through a link in the path, too.
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to("..")
    (tmp_path / "state.db").touch()
    for folder in (tmp_path, tmp_path / "sub" / "up"):
        assert back_up(config, folder / f"{name}{ending}", "--channel", "wecom") == 2
        assert "would replace a file of the gateway: name another place" in capsys.readouterr().err


def test_the_configuration_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configure(tmp_path, wecom=f"sqlite:{tmp_path}/state.db")
    assert back_up(config, config) == 2
    assert "would replace a file of the gateway: name another place" in capsys.readouterr().err


async def test_a_state_of_another_gateway_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, other = tmp_path / "state.db", tmp_path / "other.db"
    for each in (path, other):
        await (await SqliteStateStore.open(str(each))).close()
    assert await asyncio.to_thread(back_up, configure(tmp_path, wecom=f"sqlite:{path}"), other) == 2
    assert f"the copy {other} would replace a file that is no older copy" in capsys.readouterr().err


async def test_anything_but_an_older_copy_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, target = tmp_path / "state.db", tmp_path / "target"
    await (await SqliteStateStore.open(str(path))).close()
    config = configure(tmp_path, wecom=f"sqlite:{path}")
    target.write_text("a letter", encoding="utf-8")
    assert await asyncio.to_thread(back_up, config, target) == 2
    assert f"the copy {target} would replace a file that is no older copy" in capsys.readouterr().err
    assert target.read_text("utf-8") == "a letter"
    for name, make in (("loop", lambda each: each.symlink_to(each)), ("pipe", os.mkfifo), ("folder", os.mkdir)):
        make(tmp_path / name)
        assert await asyncio.to_thread(back_up, config, tmp_path / name) == 2
        assert "would replace a link, a folder or a device: name another place" in capsys.readouterr().err
    loop = tmp_path / "loop" / "copy.db"
    assert await asyncio.to_thread(back_up, config, loop) == 1
    expected = f"maven-wecom: the copy {loop} cannot be written: Too many levels of symbolic links\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("states", "options", "sentence"),
    [
        ({"wecom": "memory:"}, [], 'no enabled entry of channels has a state that begins with "sqlite:"'),
        (
            {"wecom": "redis://h"},
            ["--channel", "wecom"],
            '--channel names no enabled entry of channels with a state that begins with "sqlite:"',
        ),
        ({"a": "sqlite:a.db", "b": "sqlite:b.db"}, [], "choose a state with --channel from a, b"),
    ],
)
def test_the_state_must_be_one_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], states: dict[str, str], options: list[str], sentence: str
) -> None:
    assert back_up(configure(tmp_path, **states), tmp_path / "copy.db", *options) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist: name the file that the gateway uses"),
        (b"text that is no database" * 100, "is damaged or not an SQLite database"),
    ],
    ids=["missing", "another file"],
)
def test_what_cannot_be_copied_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, sentence: str
) -> None:
    path = tmp_path / "state.db"
    if content:
        path.write_bytes(content)
    config = configure(tmp_path, wecom=f"sqlite:{path}")
    before = set(tmp_path.iterdir())
    assert back_up(config, tmp_path / "copy.db") == 1
    assert capsys.readouterr().err.startswith(f"maven-wecom: the state file {path} {sentence}")
    assert set(tmp_path.iterdir()) == before


def with_memory(config: Path, **agent: object) -> Path:
    """Add an agent with a memory to a configuration. Its key is not available here."""
    document = json.loads(config.read_text("utf-8"))
    common = {"type": "responses", "url": "http://127.0.0.1:1/v1/responses", "model": "m"}
    document["agent"] = common | {"apiKey": {"env": "NO_SUCH_VARIABLE_4711"}} | agent
    config.write_text(json.dumps(document), encoding="utf-8")
    return config


def back_up_all(config: Path, folder: Path, *others: str) -> int:
    return main(["backup", "--config", str(config), "--all-into", str(folder), *others])


async def test_one_command_copies_every_state_and_the_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    states = {name: f"sqlite:{tmp_path / file}.db" for name, file in (("wecom", "one"), ("../%", "two"))}
    config = configure(tmp_path, **states, trying="memory:", shared="redis://127.0.0.1:1")
    with_memory(config, memoryState=f"sqlite:{tmp_path / 'memory.db'}")
    for name, state in states.items():
        store = await SqliteStateStore.open(state.removeprefix("sqlite:"))
        await admit(store, f"m-{name}")
        await store.close()
    memory = await MemoryFile(tmp_path / "memory.db", lambda: NOW).open()
    await put(memory, "a", conversation())
    await memory.close()
    for _ in range(2):  # The second time older copies are replaced.
        assert await asyncio.to_thread(back_up_all, config, folder) == 0
    names = ["channels.wecom.state.db", "channels...%2F%25.state.db", "agent.memoryState.db"]
    assert {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == dict.fromkeys(names, 0o600)
    *lines, last = capsys.readouterr().out.splitlines()[4:]
    assert [line.rpartition(":")[0] for line in lines] == [str(folder / name) for name in names]
    assert last == "channels.shared.state is in Redis, and not copied"
    assert await callbacks(folder / names[0]) == [stored("m-wecom")]
    assert await callbacks(folder / names[1]) == [stored("m-../%")]
    copied = await MemoryFile(folder / names[2], lambda: NOW).open()
    assert await copied.read("a", NOW) == conversation()
    await copied.close()


async def test_a_copy_that_fails_leaves_all_older_copies_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A state and a memory that belong to different times would not be what the command promises."""
    config = with_memory(
        configure(tmp_path, wecom=f"sqlite:{tmp_path}/state.db"), memoryState=f"sqlite:{tmp_path}/m.db"
    )
    folder = tmp_path / "copies"
    folder.mkdir()
    store = await SqliteStateStore.open(str(tmp_path / "state.db"))
    await (await MemoryFile(tmp_path / "m.db", lambda: NOW).open()).close()
    assert await asyncio.to_thread(back_up_all, config, folder) == 0
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    await admit(store, "m1")
    await store.close()
    (tmp_path / "m.db").unlink()
    assert await asyncio.to_thread(back_up_all, config, folder) == 1
    assert f"the file {tmp_path}/m.db of agent.memoryState does not exist" in capsys.readouterr().err
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("document", "options", "sentence"),
    [
        ({"channels": {"wecom": {"state": "memory:"}}}, [], "nothing to copy: no state of an enabled channel and no"),
        # The echo remembers nothing.
        ({"agent": {"type": "echo", "memoryState": "sqlite:m.db"}}, [], "nothing to copy"),
        ({"agent": {"type": "ech", "memoryState": "sqlite:m.db"}}, [], "agent.type must be one of echo, responses"),
        ({"agent": {"type": "responses", "memoryState": "sqlite:"}}, [], 'agent.memoryState must be "memory:" or'),
        ({"agent": []}, [], "agent must be an object"),
        (
            {"channels": {"wecom": {"state": {"env": "NO_SUCH_VARIABLE_4711"}}}},
            [],
            "channels.wecom.state takes its value from the environment variable NO_SUCH_VARIABLE_4711, which is not",
        ),
        ({}, ["--channel", "wecom"], "--channel belongs to --into: leave it out"),
    ],
)
def test_what_keeps_everything_from_being_copied_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], document: object, options: list[str], sentence: str
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(document), encoding="utf-8")
    assert back_up_all(config, tmp_path, *options) == 2
    assert capsys.readouterr().err.startswith(f"maven-wecom: {sentence}")


async def test_only_older_copies_of_the_same_kind_are_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = with_memory(
        configure(tmp_path, wecom=f"sqlite:{tmp_path}/state.db"), memoryState=f"sqlite:{tmp_path}/m.db"
    )
    await (await SqliteStateStore.open(str(tmp_path / "state.db"))).close()
    await (await MemoryFile(tmp_path / "m.db", lambda: NOW).open()).close()
    target = tmp_path / "agent.memoryState.db"
    for content in (b"a letter", (tmp_path / "state.db").read_bytes()):
        target.write_bytes(content)
        assert await asyncio.to_thread(back_up_all, config, tmp_path) == 2
        assert f"the copy {target} would replace a file that is no older copy" in capsys.readouterr().err
        assert target.read_bytes() == content
    assert not (tmp_path / "channels.wecom.state.db").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
async def test_a_signal_leaves_no_part_of_a_copy(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """It would be a file with what people wrote that nobody knows of."""
    config = with_memory(configure(tmp_path), memoryState=f"sqlite:{tmp_path}/m.db")
    await (await MemoryFile(tmp_path / "m.db", lambda: NOW).open()).close()
    folder = tmp_path / "copies"
    folder.mkdir()
    with closing(sqlite3.connect(tmp_path / "m.db", isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "maven_channel_wecom", "backup"),
            *("--config", str(config), "--all-into", str(folder)),
        )
        async with asyncio.timeout(30):
            while not list(folder.iterdir()):  # noqa: ASYNC110 - it waits for another process
                await asyncio.sleep(0.01)
            process.send_signal(number)
            assert await process.wait() == code
    assert list(folder.iterdir()) == []


def test_a_file_and_a_folder_exclude_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configure(tmp_path, wecom=f"sqlite:{tmp_path}/state.db")
    with pytest.raises(SystemExit) as raised:
        back_up(config, tmp_path / "copy.db", "--all-into", str(tmp_path))
    assert raised.value.code == 2
    assert "not allowed with argument --into" in capsys.readouterr().err


async def test_the_address_of_a_state_may_be_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "address").write_text(f"sqlite:{tmp_path}/state.db\n", encoding="utf-8")
    config = configure(tmp_path, wecom={"file": str(tmp_path / "address")})
    store = await SqliteStateStore.open(str(tmp_path / "state.db"))
    await admit(store, "m1")
    await store.close()
    assert await asyncio.to_thread(back_up, config, tmp_path / "copy.db") == 0
    assert await callbacks(tmp_path / "copy.db") == [stored("m1")]
    assert await asyncio.to_thread(back_up, config, tmp_path / "state.db") == 2
    assert "would replace a file of the gateway" in capsys.readouterr().err


async def test_a_folder_that_does_not_exist_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configure(tmp_path, wecom=f"sqlite:{tmp_path}/state.db")
    copy = tmp_path / "nowhere" / "copy.db"
    assert await asyncio.to_thread(back_up, config, copy) == 1
    assert capsys.readouterr().err == f"maven-wecom: the copy {copy} cannot be written: No such file or directory\n"


async def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    store = await SqliteStateStore.open(str(tmp_path / "state.db"))
    await admit(store, "m1")
    config = configure(tmp_path, wecom=f"sqlite:{tmp_path}/state.db")
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", 'trap "" XFSZ; ulimit -f 1; exec "$@"', "sh", sys.executable, "-m", "maven_channel_wecom"),
        *("backup", "--config", str(config), "--into", str(tmp_path / "copy.db")),
        stderr=asyncio.subprocess.PIPE,
    )
    _, printed = await process.communicate()
    await store.close()
    assert process.returncode == 1
    reason = "its disk is full or reports an error"
    assert printed.decode() == f"maven-wecom: the copy {tmp_path}/copy.db cannot be written: {reason}\n"
    assert not list(tmp_path.glob("*copy.db*"))


async def make_both(folder: Path) -> Path:
    """Write a state and a memory into a folder, and return a configuration with both."""
    folder.mkdir(exist_ok=True)
    store = await SqliteStateStore.open(str(folder / "state.db"))
    await admit(store, "m1")
    await store.close()
    memory = await MemoryFile(folder / "memory.db", lambda: NOW).open()
    await put(memory, "a", conversation())
    await memory.close()
    config = configure(folder.parent, wecom=f"sqlite:{folder}/state.db")
    return with_memory(config, memoryState=f"sqlite:{folder}/memory.db")


@pytest.mark.parametrize("name", ["state.db", "memory.db"])
async def test_an_emptied_file_never_replaces_its_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    config, folder = await make_both(tmp_path / "files"), tmp_path / "copies"
    folder.mkdir()
    assert await asyncio.to_thread(back_up_all, config, folder) == 0
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    os.truncate(tmp_path / "files" / name, 0)
    assert await asyncio.to_thread(back_up_all, config, folder) == 1
    assert "is empty, so there is nothing to copy" in capsys.readouterr().err
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["state.db", "memory.db"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
async def test_a_pipe_or_device_is_not_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    """The copy of one would never end, or wait forever."""
    config = await make_both(tmp_path / "files")
    (tmp_path / "copies").mkdir()
    path = tmp_path / "files" / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    assert await asyncio.to_thread(back_up_all, config, tmp_path / "copies") == 1
    assert "is a pipe or a device: name a file" in capsys.readouterr().err


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@root_only
async def test_root_copies_what_belongs_to_the_user_of_the_gateway(tmp_path: Path) -> None:
    config, folder = await make_both(tmp_path / "files"), tmp_path / "copies"
    folder.mkdir()
    give_to_another_user(tmp_path / "files")
    for _ in range(2):
        assert await asyncio.to_thread(back_up_all, config, folder) == 0
    assert await callbacks(folder / "channels.wecom.state.db") == [stored("m1")]


@root_only
@pytest.mark.parametrize("name", ["state.db", "memory.db"])
async def test_no_journal_of_another_user_makes_root_delete_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    config, roots = await make_both(tmp_path / "files"), tmp_path / "a file of root"
    (tmp_path / "copies").mkdir()
    roots.touch()
    put_journal_beside(tmp_path / "files" / name, roots)
    give_to_another_user(tmp_path / "files")
    assert await asyncio.to_thread(back_up_all, config, tmp_path / "copies") == 1
    assert roots.exists()
    assert f"{name} " in capsys.readouterr().err


@root_only
async def test_root_writes_no_copy_where_others_could_put_a_link(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder = await make_both(tmp_path / "files"), tmp_path / "copies"
    (folder / "inside").mkdir(parents=True)
    folder.chmod(0o777)
    for target in (folder, folder / "inside"):
        assert await asyncio.to_thread(back_up_all, config, target) == 2
        assert "who could make root write to any file: name a folder of root's" in capsys.readouterr().err
    assert list((folder / "inside").iterdir()) == []
    # As in /tmp, whoever can write there cannot replace what is root's.
    folder.chmod(0o1777)
    assert await asyncio.to_thread(back_up_all, config, folder) == 0
