"""The chat on one machine: with a demo agent, with a configured bot, and as a process that ends cleanly."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom import cli
from maven_channel_wecom.playground import chat
from tests.suite_watch import record_output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def typed(*lines: str) -> AsyncIterator[str]:
    for line in lines:
        yield line


async def test_without_a_configuration_an_answer_grows_and_nothing_leaves_the_machine() -> None:
    printed: list[str] = []
    lines = typed("three small words", "/enter")
    assert await chat.chat(None, lines, printed.append, user="alice", writing_seconds=0.005) == 0
    assert "nothing leaves this machine" in printed[0]
    streamed = "\n".join(line for line in printed if line.startswith("<- stream"))
    assert "You wrote:\n\n> three small words" in streamed
    assert "<- stream finished" in streamed
    assert "<- welcome: Hello, ask me anything." in printed
    assert not [line for line in printed if line.startswith("!!")]


async def test_the_bot_of_a_configuration_keeps_its_texts_and_answers_as_it_does() -> None:
    """Its secrets are not set, and its answers are not streamed."""
    entry = {"token": {"env": "NOT_SET"}, "encodingAESKey": {"env": "NOT_SET"}, "port": 1, "welcomeText": "Hi there."}
    printed: list[str] = []
    assert await chat.chat({"channels": {"wecom": entry}}, typed("hello", "/enter"), printed.append, user="bob") == 0
    assert [line.partition("s: ")[2] for line in printed if line.startswith("<- reply")] == ["hello"]
    assert "<- welcome: Hi there." in printed


async def test_with_an_agent_of_ones_own_it_is_not_said_that_nothing_leaves_the_machine() -> None:
    agent = {"type": "responses", "url": "http://127.0.0.1:1/v1/responses", "model": "m"}
    printed: list[str] = []
    assert await chat.chat({"agent": agent}, typed("/quit"), printed.append, user="bob") == 0
    assert printed[0].endswith("WeCom is simulated, and your agent answers…")


async def test_if_the_gateway_does_not_start_its_words_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    printed: list[str] = []
    assert await chat.chat({"agent": {"type": "responses"}}, typed("hello"), printed.append, user="alice") == 1
    assert any("agent.url is required" in line for line in printed), printed
    assert "the gateway ended with exit code 2 before it was ready" in capsys.readouterr().err


def test_what_the_gateway_would_refuse_exits_2_and_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wecom.json"
    path.write_text('{"agent": {"type": "responses"}, "cron": {}}', encoding="utf-8")
    assert cli.main(["chat", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"maven-wecom chat: {path} has 3 problems:\n  - ")
    assert error.count("agent.url is required") == 1


@pytest.mark.parametrize("content", [None, "{", "\ud800"], ids=["missing", "not JSON", "not UTF-8"])
def test_an_unreadable_configuration_is_one_sentence_and_exits_2(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wecom.json"
    if content is not None:
        path.write_text(content, encoding="utf-8", errors="surrogatepass")
    assert cli.main(["chat", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"maven-wecom chat: the configuration {path} ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("ending", ["end of input", "interrupt", "SIGTERM", "SIGHUP"])
async def test_the_command_ends_cleanly_with_its_gateway(ending: str, tmp_path: Path) -> None:
    """A terminal sends an interrupt to every process that it runs."""
    config = tmp_path / "wecom.json"
    config.write_text(json.dumps({"channels": {"wecom": {"progress": "off"}}}), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "maven_channel_wecom", "chat", "--config", str(config)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    printed: list[str] = []
    try:
        async with asyncio.timeout(60):
            process.stdin.write(b"hello\n")
            while not printed or not printed[-1].startswith("<- reply"):
                printed.append(record_output("the chat", (await process.stdout.readline()).decode()))
                assert printed[-1], printed
            if ending == "interrupt":
                os.killpg(process.pid, signal.SIGINT)
                await process.wait()
            elif ending.startswith("SIG"):
                process.send_signal(signal.Signals[ending])
                await process.wait()
            process.stdin.close()
            _, error = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert printed[-1].endswith(": hello\n")
    assert (process.returncode, error) == (0, b"")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert not list(tmp_path.glob("maven-wecom-*"))
