"""The `gateway` command in a separate process: messages, exit codes, signals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.host.gateway import configuration_problems
from tests.suite_watch import record_output

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
CANARY = "canary-4711"
INSTALLED = ["-m", "maven_channel_wecom", "gateway"]
WITH_FAKE_CHANNEL = ["-m", "tests.host.fake_gateway"]
GOOD: dict[str, Any] = {"gateway": {"port": 0}, "channels": {"fake": {"token": CANARY}}}


@asynccontextmanager
async def started(command: list[str], path: Path, *more: str, **environment: str) -> AsyncIterator[Process]:
    """Start a gateway, and kill it at the end of the block if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        "--config",
        str(path),
        *more,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def run(command: list[str], path: Path, **environment: str) -> tuple[int | None, str]:
    """Run a gateway to its end; return its exit code and everything it printed."""
    async with started(command, path, **environment) as process, asyncio.timeout(30):
        out, err = await process.communicate()
    assert out == b""
    return process.returncode, record_output("the log of a gateway", err.decode())


def written(folder: Path, document: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


async def until(process: Process, event: str) -> str:
    """Read log lines up to one that contains `event`, and return them all."""
    assert process.stderr is not None
    lines = []
    async with asyncio.timeout(30):
        async for line in process.stderr:
            lines.append(line.decode())
            if event in lines[-1]:
                return "".join(lines)
    pytest.fail(f"the gateway ended without {event!r}: {''.join(lines)}")


async def test_a_missing_file_exits_2_with_one_sentence(tmp_path: Path) -> None:
    code, printed = await run(INSTALLED, tmp_path / "none.json")
    assert code == 2
    assert printed == (
        f"maven-wecom: the configuration {tmp_path / 'none.json'} cannot be read: No such file or directory\n"
    )


async def test_broken_json_exits_2_and_names_the_place_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(f'{{\n "token": "{CANARY}",\n}}', encoding="utf-8")
    code, printed = await run(INSTALLED, path)
    assert code == 2
    assert re.search(r"is not JSON: .* at line \d+ column \d+; look there .* comma or quote\n$", printed)
    assert CANARY not in printed


async def test_all_problems_of_host_and_channels_are_escaped_and_printed_at_once(tmp_path: Path) -> None:
    document = {
        "gateway": {"port": 70000},
        "agent": {"type": "responses", "apiKey": CANARY},
        "channels": {"fake": {}, "tele\x1bgram": {}},
        "cron": [{"name": "a", "every": "1s", "message": "m", "channel": "x"}],
    }
    path = written(tmp_path, document)
    code, printed = await run(WITH_FAKE_CHANNEL, path)
    assert code == 2
    assert printed.splitlines() == [
        f"maven-wecom: {path} has 6 problems:",
        "  - gateway.port must be a whole number from 0 to 65535",
        "  - agent.url is required when agent.type is responses",
        "  - agent.model is required when agent.type is responses",
        "  - cron[0].channel names no enabled entry of channels",
        "  - channels.fake.token is required",
        (
            "  - channels.tele\\u001bgram is of type tele\\u001bgram, which no installed plugin handles "
            "(installed plugins: fake); install its plugin, or correct channels.tele\\u001bgram.type"
        ),
    ]


async def test_problems_are_errors_in_the_journal(tmp_path: Path) -> None:
    path = written(tmp_path, {"gateway": {"port": 70000}})
    with (tmp_path / "journal").open("w+", encoding="utf-8") as journal:
        status = os.fstat(journal.fileno())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *INSTALLED, "--config", str(path)),
            env=os.environ | {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
            stderr=journal,
        )
        assert await process.wait() == 2
        journal.seek(0)
        assert journal.read().splitlines() == [
            f"<3>maven-wecom: {path} has 1 problem:",
            "<3>  - gateway.port must be a whole number from 0 to 65535",
        ]


def test_the_same_problems_are_found_in_a_configuration_that_is_not_run() -> None:
    problems = configuration_problems({"gateway": {"port": 9886}, "channels": {"wecom": {"port": 9886}, "x": {}}})
    assert {problem.split(" ")[0] for problem in problems} >= {"channels.wecom.token", "channels.x"}
    assert configuration_problems({}) == []


async def test_entries_that_exclude_each_other_exit_2_and_are_all_named(tmp_path: Path) -> None:
    entry = {"type": "wecom", "token": CANARY, "encodingAESKey": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"}
    path = written(tmp_path, {"gateway": {"port": 9886}, "channels": {"a": entry, "b": entry | {"host": "::"}}})
    code, printed = await run(INSTALLED, path)
    assert code == 2
    assert printed.splitlines()[1:] == [
        "  - gateway.port and channels.a.port are both 9886: give each a port of its own",
        "  - gateway.port and channels.b.port are both 9886: give each a port of its own",
        "  - channels.a.port and channels.b.port are both 9886: give each a port of its own",
    ]


async def test_a_port_in_use_exits_1_with_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, printed = await run(WITH_FAKE_CHANNEL, written(tmp_path, GOOD | {"gateway": {"port": port}}))
    assert code == 1
    assert printed == (
        f"maven-wecom: the status server cannot listen on 127.0.0.1:{port}: the port is in use; "
        "stop the program that uses it, or change gateway.port\n"
    )


async def test_a_channel_that_cannot_start_exits_1_with_its_sentence(tmp_path: Path) -> None:
    channel = {"token": CANARY, "start_error": "channels.fake.port: 9886 is in use"}
    code, printed = await run(WITH_FAKE_CHANNEL, written(tmp_path, GOOD | {"channels": {"fake": channel}}))
    assert code == 1
    assert printed.endswith("maven-wecom: channels.fake.port: 9886 is in use\n")
    assert "Traceback" not in printed
    assert CANARY not in printed


async def test_a_memory_that_cannot_be_opened_exits_1_with_its_sentence(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/v1/responses"
    address = f"sqlite:{tmp_path}/nowhere/memory.db"
    agent = {"type": "responses", "url": url, "model": "maven", "memoryState": address}
    code, printed = await run(WITH_FAKE_CHANNEL, written(tmp_path, GOOD | {"agent": agent}))
    assert code == 1
    assert (
        f"maven-wecom: the file {tmp_path}/nowhere/memory.db of agent.memoryState cannot be opened: No such" in printed
    )
    assert "Traceback" not in printed


async def test_a_memory_in_the_file_of_a_channel_exits_2(tmp_path: Path) -> None:
    agent = {"type": "responses", "url": "http://127.0.0.1:1/", "model": "m", "memoryState": f"sqlite:{tmp_path}/a.db"}
    channel = {"token": "t", "state": f"sqlite:{tmp_path}/./a.db"}
    document = GOOD | {"agent": agent, "channels": {"fake": channel}}
    code, printed = await run(WITH_FAKE_CHANNEL, written(tmp_path, document))
    assert code == 2
    assert "  - agent.memoryState is the same file as channels.fake.state: give each a file of its own\n" in printed


async def test_a_bug_in_a_channel_exits_1_and_logs_its_place(tmp_path: Path) -> None:
    """The text of the exception is left out, as it may contain anything."""
    channel = {"token": "t", "start_bug": CANARY}
    code, printed = await run(WITH_FAKE_CHANNEL, written(tmp_path, GOOD | {"channels": {"fake": channel}}))
    assert code == 1
    assert re.search(r"fake_channel\.py:\d+ in maven_channel_start", printed)
    assert printed.endswith("maven-wecom: a part of the gateway failed to start with ValueError; the log shows where\n")
    assert CANARY not in printed


async def test_a_plugin_that_does_not_load_exits_1_and_is_named(tmp_path: Path) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[maven]\nbroken = not_there_at_all\n", encoding="utf-8")
    path = written(tmp_path, {"channels": {}})
    code, printed = await run(INSTALLED, path, PYTHONPATH=str(tmp_path))
    assert code == 1
    assert printed.startswith(f"maven-wecom: {path} has ")
    assert "  - plugin broken cannot be loaded: ModuleNotFoundError" in printed
    assert "No module named 'not_there_at_all'; repair or uninstall it" in printed
    assert "Traceback" not in printed


async def test_systemd_learns_that_the_start_is_complete(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(0)
        path = written(tmp_path, GOOD)
        async with started(WITH_FAKE_CHANNEL, path, NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
            await until(process, "agent configured")
            async with asyncio.timeout(30):
                assert await asyncio.get_running_loop().sock_recv(notified, 100) == b"READY=1"
            await until(process, "gateway channels started")


async def test_a_signal_during_the_start_exits_0(tmp_path: Path) -> None:
    """A channel that waits for its state does not delay a stop."""
    async with started(WITH_FAKE_CHANNEL, written(tmp_path, GOOD), "--never-starts") as process:
        await until(process, "gateway status server listening")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await process.communicate()
        assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_drains_and_exits_0(tmp_path: Path, number: signal.Signals) -> None:
    """The log lines look like those of the original gateway."""
    async with started(WITH_FAKE_CHANNEL, written(tmp_path, GOOD)) as process:
        printed = await until(process, "gateway channels started")
        assert re.search(
            r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d INFO gateway channels started channels=\[fake\]$", printed, re.MULTILINE
        )
        assert re.search(r"INFO gateway status server listening port=[1-9]\d*$", printed, re.MULTILINE)
        process.send_signal(number)
        async with asyncio.timeout(30):
            _, rest = await process.communicate()
        assert process.returncode == 0
        assert b"gateway stopped" in rest
        assert CANARY not in printed + rest.decode()


async def test_signals_of_log_rotation_and_a_closed_terminal_under_nohup_change_nothing(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
    )
    command = ["-c", program, sys.executable, *WITH_FAKE_CHANNEL]
    async with started(command, written(tmp_path, GOOD)) as process:
        await until(process, "gateway channels started")
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            process.send_signal(number)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.wait(), 0.5)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            _, rest = await process.communicate()
        assert process.returncode == 0
        assert b"gateway stopped" in rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_drains_even_if_it_was_ignored_before_the_start(tmp_path: Path, number: signal.Signals) -> None:
    """A shell without job control starts background jobs with SIGINT ignored."""
    program = f"import os, signal, sys; signal.signal({number}, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
    command = ["-c", program, sys.executable, *WITH_FAKE_CHANNEL]
    async with started(command, written(tmp_path, GOOD)) as process:
        await until(process, "gateway channels started")
        process.send_signal(number)
        async with asyncio.timeout(30):
            _, rest = await process.communicate()
        assert process.returncode == 0
        assert b"gateway stopped" in rest


async def test_a_second_signal_exits_1_without_waiting_for_the_drain(tmp_path: Path) -> None:
    async with started(WITH_FAKE_CHANNEL, written(tmp_path, GOOD), "--never-drains") as process:
        await until(process, "gateway channels started")
        process.send_signal(signal.SIGTERM)
        await until(process, "gateway draining")
        ended = asyncio.create_task(process.communicate())
        async with asyncio.timeout(30):
            # A signal too soon after the first counts as a repeat of it.
            while not ended.done():
                process.send_signal(signal.SIGTERM)
                await asyncio.wait({ended}, timeout=0.1)
            _, rest = await ended
        assert process.returncode == 1
        assert b"gateway stopped without draining" in rest


async def test_signals_in_quick_succession_count_as_one(tmp_path: Path) -> None:
    """`make` forwards a signal that its whole process group has received already."""
    async with started(WITH_FAKE_CHANNEL, written(tmp_path, GOOD)) as process:
        await until(process, "gateway channels started")
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            _, rest = await process.communicate()
        assert process.returncode == 0
        assert b"gateway stopped" in rest


async def test_a_signal_after_the_stop_does_not_change_the_exit_code(tmp_path: Path) -> None:
    """Threads of libraries that still run receive signals too."""
    async with started(WITH_FAKE_CHANNEL, written(tmp_path, GOOD)) as process:
        await until(process, "gateway channels started")
        process.send_signal(signal.SIGTERM)
        await until(process, "gateway stopped")
        async with asyncio.timeout(30):
            while process.returncode is None:
                for number in (signal.SIGTERM, signal.SIGINT):
                    # Not process.send_signal, which would reap the process, so that its exit code would be lost.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, number)
                await asyncio.sleep(0)
        assert process.returncode == 0


async def test_a_gateway_without_channels_logs_a_warning_and_runs(tmp_path: Path) -> None:
    document = {"gateway": {"port": 0}, "channels": {"fake": {"enabled": False}}, "logging": {"format": "json"}}
    async with started(WITH_FAKE_CHANNEL, written(tmp_path, document)) as process:
        lines = [json.loads(line) for line in (await until(process, "gateway channels started")).splitlines()]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await process.communicate()
        assert process.returncode == 0
        assert [line["msg"] for line in lines if line["level"] == "WARNING"] == ["no channels enabled"]
        assert lines[-1]["channels"] == []
