"""The command line of the playground."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from maven_channel_wecom.cli import main
from tests.suite_watch import new_encoding_aes_key, new_token

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WECOM_TOKEN", new_token())
    monkeypatch.setenv("WECOM_ENCODING_AES_KEY", new_encoding_aes_key())


URL = "http://127.0.0.1:9/wecom/bot"


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        (["--callback-url", "nonsense"], {}, "--callback-url must be a URL"),
        (["--callback-url", URL, "--config", "x.json"], {}, "--config and --callback-url exclude each other"),
        (["--callback-url", URL], {"WECOM_TOKEN": ""}, "no token: set WECOM_TOKEN"),
        (["--callback-url", URL], {"WECOM_ENCODING_AES_KEY": "short"}, "the EncodingAESKey (WECOM_ENCODING_AES_KEY)"),
        (["--config", "no-such-file.json"], {}, "no-such-file.json cannot be read"),
        (["--config", "y.json"], {}, "y.json has 1 problem:\n  - agent.kind is not a known key"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    arguments: list[str],
    variables: dict[str, str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    (tmp_path / "y.json").write_text('{"agent": {"kind": "echo"}}', encoding="utf-8")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["playground", *arguments]) == 2
    assert expected in capsys.readouterr().err


def test_without_the_extra_the_sentence_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['markdown_it'] = sys.modules['nh3'] = None\n"
        "from maven_channel_wecom.cli import main\n"
        "sys.exit(main(['playground']))"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = " ".join(f"'{each}'" for each in project["optional-dependencies"]["playground"])
    assert (
        ended.stderr
        == f"maven-wecom playground: the page needs packages that are not installed: pip install {needed}\n"
    )
    assert ended.returncode == 1


def test_a_port_in_use_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["playground", "--callback-url", URL, "--port", str(port)]) == 1
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in capsys.readouterr().err


async def test_ctrl_c_while_the_gateway_starts_ends_both_without_a_word(tmp_path: Path) -> None:
    """A terminal sends it to both, so that the gateway ends before it is ready."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "maven_channel_wecom", "playground"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    async with asyncio.timeout(30):
        while not list(tmp_path.glob("maven-wecom-*/*")):  # noqa: ASYNC110 - another process creates it
            await asyncio.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        printed, error = await process.communicate()
    assert (process.returncode, error) == (0, b"")
    assert printed.decode().splitlines() == ["Starting a gateway with generated secrets; WeCom is simulated…"]
    assert not list(tmp_path.glob("maven-wecom-*"))
