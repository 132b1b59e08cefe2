"""Tests of what a signal does to a command that runs a coroutine."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.test_terminal import PACKAGE, run_interrupted

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
    ],
    ids=["interrupt", "two interrupts", "SIGTERM", "SIGHUP"],
)
async def test_a_signal_ends_the_demo_with_its_gateway_and_its_files(
    tmp_path: Path, signals: list[signal.Signals], code: int
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", PACKAGE, "demo"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert process.stdout
    assert process.stderr
    # The first line comes once the gateway runs.
    await process.stdout.readline()
    assert list(tmp_path.glob("maven-wecom-*"))
    for number in signals:
        process.send_signal(number)
    assert await process.stderr.read() == b""
    # A second signal may come when the demo has cleaned up and only the interpreter still runs.
    assert await process.wait() in {code, -signals[0] if len(signals) > 1 else code}
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert not list(tmp_path.glob("maven-wecom-*"))


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("run_async(lambda: asyncio.sleep(60), interrupted_loop)", (-signal.SIGINT, "")),
        ("run_async(lambda: work(signal.SIGINT))", (130, "cleaned up\n")),
        ("run_async(lambda: work(signal.SIGTERM))", (143, "cleaned up\n")),
        ("run_async(lambda: work(signal.SIGHUP, signal.SIGINT, signal.SIGTERM))", (129, "cleaned up\n")),
        ("run_async(lambda: asyncio.sleep(0)); interrupt()", (130, "")),
        (
            "signal.signal(signal.SIGHUP, signal.SIG_IGN); run_async(lambda: work(signal.SIGHUP, wait=0))",
            (0, "cleaned up\n"),
        ),
    ],
    ids=["no loop yet", "SIGINT", "SIGTERM", "one after the other", "after the loop", "nohup"],
)
def test_a_signal_lets_a_coroutine_clean_up_undisturbed(program: str, expected: tuple[int, str]) -> None:
    start = (
        "import asyncio\n"
        "from maven_channel_wecom.stop_signals import run_async\n"
        "async def work(*signals, wait=60):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signals[0])\n"
        "        await asyncio.sleep(wait)\n"
        "    finally:\n"
        "        for number in signals[1:]:\n"
        "            os.kill(os.getpid(), number)\n"
        "            await asyncio.sleep(0.01)\n"
        "        print('cleaned up')\n"
        "def interrupted_loop():\n"
        "    loop = asyncio.new_event_loop()\n"
        "    interrupt()\n"
        "    return loop\n"
    )
    command = f"def command():\n    {program}\n    return 0\n"
    assert run_interrupted(f"{start}{command}terminal.prepare()\nsys.exit(terminal.run(command))") == expected


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        (["SIGTERM"], (143, "cleaned up\n")),
        (["SIGHUP", "SIGTERM"], (129, "cleaned up\n")),
        (["SIGINT"], (130, "cleaned up\n")),
    ],
)
def test_a_signal_lets_code_without_a_coroutine_clean_up(signals: list[str], expected: tuple[int, str]) -> None:
    first, *others = (f"os.kill(os.getpid(), signal.{name})" for name in signals)
    cleaning = "; ".join([*others, "print('cleaned up')"])
    program = (
        "from maven_channel_wecom.stop_signals import raise_stopped\n"
        "def command():\n"
        "    with raise_stopped():\n"
        "        try:\n"
        f"            {first}\n"
        "        finally:\n"
        f"            {cleaning}\n"
        "    return 0\n"
    )
    assert run_interrupted(f"{program}terminal.prepare()\nsys.exit(terminal.run(command))") == expected


@pytest.mark.parametrize(("handler", "code"), [("SIG_DFL", -signal.SIGTERM), ("SIG_IGN", 0)])
def test_signals_act_as_before_after_the_code_and_in_other_threads(handler: str, code: int) -> None:
    program = (
        "import threading\n"
        "from maven_channel_wecom.stop_signals import raise_stopped\n"
        f"signal.signal(signal.SIGTERM, signal.{handler})\n"
        "def work():\n"
        "    with raise_stopped():\n"
        "        pass\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "thread.join()\n"
        "work()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    assert run_interrupted(program) == (code, "")
