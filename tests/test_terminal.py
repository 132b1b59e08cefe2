"""Tests of the command line on outputs that are closed, full or ASCII only, and when it is interrupted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.suite_watch import new_encoding_aes_key

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "maven_channel_wecom"
ALL_COMMANDS = [
    f"{PACKAGE} schema",
    f"{PACKAGE} --help",
    f"{PACKAGE} --version",
    f"{PACKAGE} gateway --help",
    f"{PACKAGE} doctor --config {{config}}",
    f"{PACKAGE} dashboards --into {{config.parent}}",
    f"{PACKAGE} demo",
    "reference",
    "dashboards",
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    entry = {"token": "token", "encodingAESKey": new_encoding_aes_key(), "host": "127.0.0.1", "port": 0}
    document = {"gateway": {"port": 0}, "channels": {"wecom": entry}}
    path = tmp_path / "wecom.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def shell(
    line: str, config: Path, *, module: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `$RUN` stands for the command."""
    command = f"{sys.executable} -W ignore -m {module.format(config=config)}"
    return subprocess.run(  # noqa: S603 - the tests' own words
        ["/bin/bash", "-o", "pipefail", "-c", line],
        env=os.environ | {"RUN": command} | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("module", ALL_COMMANDS)
def test_a_reader_that_closes_the_pipe_ends_the_command_silently(config: Path, module: str) -> None:
    # The pipe is closed before the command writes.
    done = shell("$RUN | sleep 0", config, module=module)
    assert (done.returncode, done.stdout, done.stderr) == (141, "", "")


@pytest.mark.parametrize("module", ALL_COMMANDS)
def test_a_full_disk_is_one_sentence_and_exit_code_1(config: Path, module: str) -> None:
    done = shell("$RUN >/dev/full", config, module=module)
    assert done.returncode == 1
    assert done.stderr == "maven-wecom: the output cannot be written: No space left on device\n"


# The demo would play all of its scenes.
@pytest.mark.parametrize("module", [module for module in ALL_COMMANDS if not module.endswith("demo")])
def test_a_closed_output_changes_nothing(config: Path, module: str) -> None:
    done = shell("$RUN >&-", config, module=module)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_errors_that_cannot_be_printed_keep_the_exit_code(config: Path, redirection: str) -> None:
    done = shell(f"$RUN {redirection}", config, module=f"{PACKAGE} gateway --config /nonexistent")
    assert (done.returncode, done.stderr) == (2, "")


def test_an_ascii_terminal_gets_escapes_which_are_valid_json(config: Path) -> None:
    done = shell("$RUN", config, module=f"{PACKAGE} schema", environment={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert json.loads(done.stdout) == json.loads(shell("$RUN", config, module=f"{PACKAGE} schema").stdout)


@pytest.mark.parametrize("module", [module for module in ALL_COMMANDS if "demo" not in module])
def test_the_smallest_locale_suffices_and_nothing_is_colored(config: Path, module: str) -> None:
    done = shell("$RUN", config, module=module, environment={"LC_ALL": "C", "NO_COLOR": "1"})
    assert done.stderr == ""
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("port", ["99999", "-1", "x", "65536"])
def test_a_port_out_of_range_is_a_usage_error(config: Path, port: str) -> None:
    done = shell("$RUN", config, module=f"{PACKAGE} simulator --port {port}")
    assert done.returncode == 2
    assert "argument --port: must be a port from 0 to 65535" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_gateway_without_standard_streams_drains_like_any_other(config: Path) -> None:
    """Otherwise the first socket would be its standard input, and uvloop would abort."""
    document = json.loads(config.read_text(encoding="utf-8"))
    document["channels"]["wecom"]["state"] = f"sqlite:{config.parent / 'state.db'}"
    config.write_text(json.dumps(document), encoding="utf-8")
    line = f"exec {sys.executable} -m {PACKAGE} gateway --config {config} <&- >&- 2>&-"
    process = await asyncio.create_subprocess_exec("/bin/sh", "-c", line)
    async with asyncio.timeout(20):
        while not (config.parent / "state.db.lock").exists():  # noqa: ASYNC110 - another process creates it
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("terminal.prepare(); interrupt()", -signal.SIGINT),
        ("terminal.prepare(); sys.exit(terminal.run(interrupt))", 130),
        ("terminal.prepare(); terminal.run(int); interrupt()", -signal.SIGINT),
    ],
    ids=["imports", "command", "exit"],
)
def test_ctrl_c_is_silent_at_every_moment(program: str, code: int) -> None:
    assert run_interrupted(program) == (code, "")


def test_too_many_open_files_are_one_sentence_and_exit_code_1(config: Path) -> None:
    """With six, asyncio can make its loop, and the simulator no socket."""
    secrets = {"WECOM_TOKEN": "token", "WECOM_ENCODING_AES_KEY": new_encoding_aes_key()}
    done = shell("ulimit -n 6; $RUN", config, module=f"{PACKAGE} simulator", environment=secrets)
    sentence = "cannot listen on 127.0.0.1 port 0: Too many open files; choose another --port"
    assert (done.returncode, done.stderr) == (1, f"maven-wecom simulator: {sentence}\n")


def test_an_error_of_the_system_is_one_sentence_that_names_the_file(tmp_path: Path) -> None:
    program = f"terminal.prepare(); sys.exit(terminal.run(lambda: open({str(tmp_path / 'none')!r})))"
    sentence = f"maven-wecom: the system reports an error: No such file or directory: {str(tmp_path / 'none')!r}\n"
    assert run_interrupted(program) == (1, sentence)


def test_files_are_written_even_if_nobody_reads_their_names(config: Path) -> None:
    module = f"{PACKAGE} dashboards --into {config.parent / 'into'}"
    done = shell("$RUN | sleep 0", config, module=module, environment={"PYTHONUNBUFFERED": "1"})
    assert done.returncode == 141
    assert len(list((config.parent / "into").iterdir())) == 3


def test_a_background_job_keeps_ignoring_ctrl_c() -> None:
    """A shell starts it with SIGINT ignored."""
    program = "signal.signal(signal.SIGINT, signal.SIG_IGN); terminal.prepare(); interrupt(); terminal.run(interrupt)"
    assert run_interrupted(program) == (0, "")


def run_interrupted(program: str) -> tuple[int, str]:
    """Run a program that interrupts itself, and return its exit code and what it printed."""
    start = (
        "import os, signal, sys\n"
        "from maven_channel_wecom import terminal\n"
        "def interrupt(): os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", start + program], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    return done.returncode, done.stdout + done.stderr
