"""The command `init`: with flags, with questions, and with the gateway and a simulated console."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from typing import TYPE_CHECKING, Self

import pytest

from maven_channel_wecom import cli
from maven_channel_wecom.setup import command
from maven_channel_wecom.setup.answers import Answers
from maven_channel_wecom.simulator.gateway_process import free_port
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from tests.suite_watch import new_encoding_aes_key, new_token, record_output, register

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def secrets(folder: Path) -> dict[str, str]:
    """Read secrets.env, and register its values as secrets."""
    lines = (folder / "secrets.env").read_text("utf-8").splitlines()
    found = dict(line.split("=", 1) for line in lines)
    register("a generated secret", *found.values())
    return found


def test_with_flags_both_files_are_written_and_a_pipe_is_shown_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_API_KEY", "canary-agent-key")
    url = "http://127.0.0.1:1/v1/responses"
    given = ["--url", "https://bot.example.com", "--name", "Maven", "--agent-url", url, "--model", "m"]
    assert cli.main(["init", "--folder", str(tmp_path), *given]) == 0
    document = json.loads((tmp_path / "wecom.json").read_text("utf-8"))
    assert document["agent"]["apiKey"] == {"env": "AGENT_API_KEY"}
    assert secrets(tmp_path)["AGENT_API_KEY"] == "canary-agent-key"
    printed = record_output("init", capsys.readouterr().out)
    assert "https://bot.example.com/wecom/bot" in printed
    assert f"the value of WECOM_TOKEN in {tmp_path / 'secrets.env'}" in printed


def test_a_second_run_changes_nothing_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", "--folder", str(tmp_path)]) == 0
    before = secrets(tmp_path)
    assert cli.main(["init", "--folder", str(tmp_path)]) == 2
    assert "--force overwrites, with a new token and key" in capsys.readouterr().err
    assert secrets(tmp_path) == before
    assert cli.main(["init", "--folder", str(tmp_path), "--force"]) == 0
    assert secrets(tmp_path) != before


@pytest.mark.parametrize(
    ("given", "sentence"),
    [(["--url", "x"], "the URL must be like"), (["--model", "m"], "agent.url is required")],
)
def test_a_wrong_flag_exits_2_and_nothing_is_written(
    given: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["init", "--folder", str(tmp_path), *given]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["init", "--folder", str(tmp_path / "file" / "sub")]) == 1
    assert "cannot be written: Not a directory" in capsys.readouterr().err


def test_the_program_is_named_as_a_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a clone it is not in PATH, or another one is."""
    called = [tmp_path / folder / "maven-wecom" for folder in ("here", "there")]
    for path in called:
        path.parent.mkdir()
        path.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "here"))
    assert [command.program(str(path)) for path in called] == ["maven-wecom", str(called[1])]
    assert command.program("/package/__main__.py").endswith(" -m maven_channel_wecom")


def typed(*lines: str) -> Callable[[str], str]:
    rest = iter(lines)
    return lambda _prompt: next(rest)


def test_a_wrong_answer_is_explained_and_asked_for_again() -> None:
    printed: list[str] = []
    empty = Answers(token=new_token(), encoding_aes_key=new_encoding_aes_key(), name="Maven")
    lines = typed("bot", "https://b.example", "http://127.0.0.1/v1", "http://127.0.0.1/v1/responses", "", "m")
    asked = command.ask(empty, lines, typed("canary-agent-key"), printed.append)
    assert [line.split(" ")[0] for line in printed] == ["the", "agent.url", "agent.model"]
    assert (asked.url, asked.agent_url, asked.model) == ("https://b.example", "http://127.0.0.1/v1/responses", "m")
    assert asked.agent_key == "canary-agent-key"


def test_without_an_agent_nothing_more_is_asked_about_it() -> None:
    empty = Answers(token=new_token(), encoding_aes_key=new_encoding_aes_key())
    asked = command.ask(empty, typed("", "", ""), typed(), lambda _line: None)
    assert asked == empty


async def test_start_runs_the_gateway_and_tells_what_the_url_check_brought(tmp_path: Path) -> None:
    """First the console has another token, then the right one."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "maven_channel_wecom", "init", "--start", "--folder", str(tmp_path)),
        *("--port", str(port), "--status-port", "0"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if not key.startswith("WECOM_")},
    )
    assert process.stdout is not None

    async def until(text: str) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            if text in record_output("init", line.decode()):
                return
        pytest.fail(f"{text!r} was not printed")

    url = f"http://127.0.0.1:{port}/wecom/bot"
    try:
        async with asyncio.timeout(60):
            await until("this waits for the URL check")
            found = secrets(tmp_path)
            key = found["WECOM_ENCODING_AES_KEY"]
            for token, text in (
                (new_token(), "No URL check passed yet: a request is signed with another token"),
                (found["WECOM_TOKEN"], "A URL check passed"),
            ):
                async with SimulatedWeCom(url, token=token, encoding_aes_key=key) as wecom:
                    await wecom.check_url()
                await until(text)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()


class Terminal:
    """`init` on a terminal: a context manager."""

    def __init__(self, folder: Path) -> None:
        self.shown = b""
        self._main, child = os.openpty()
        self._process_id = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "maven_channel_wecom", "init", "--folder", str(folder)],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, child, descriptor) for descriptor in (0, 1, 2)],
        )
        os.close(child)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._main)

    def write(self, text: bytes) -> None:
        os.write(self._main, text)

    def until(self, text: bytes) -> None:
        while text not in self.shown:
            self.shown += os.read(self._main, 65_536)

    def exit_code(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self._process_id, 0)[1])


def test_a_file_that_appears_while_it_asks_stays_as_it_is(tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal:
        terminal.until(b"Public URL")
        (tmp_path / "wecom.json").write_text("mine", encoding="utf-8")
        terminal.write(b"\n" * 3)
        terminal.until(b"--force overwrites")
        assert terminal.exit_code() == 2
    assert f"{tmp_path / 'wecom.json'} exists" in terminal.shown.decode()
    assert [(path.name, path.read_text("utf-8")) for path in tmp_path.iterdir()] == [("wecom.json", "mine")]


def test_on_a_terminal_the_values_to_enter_are_shown(tmp_path: Path) -> None:
    """The values themselves are what the operator copies."""
    with Terminal(tmp_path) as terminal:
        terminal.write(b"\n" * 3)
        terminal.until(b"Save")
        assert terminal.exit_code() == 0
    assert re.search(rf"Token: +{secrets(tmp_path)['WECOM_TOKEN']}\r", terminal.shown.decode())
