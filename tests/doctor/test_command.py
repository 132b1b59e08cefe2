"""The command: arguments that it refuses, output without secrets, and a real gateway that it finds healthy."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.cli import main
from maven_channel_wecom.simulator.gateway_process import free_port
from tests.doctor.faulty_bots import KEY, PASSWORD, TOKEN, FakeBot, bot_config, entry, write_config
from tests.e2e.gateway_process import GatewayProcess
from tests.suite_watch import record_output

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doctor.conftest import Doctor
    from tests.e2e.watch import Watch

OTHER_KEY = KEY[::-1]


async def test_a_running_gateway_passes_and_other_credentials_fail(
    doctor: Doctor, tmp_path: Path, watch: Watch
) -> None:
    settings: dict[str, Any] = entry(
        port=free_port(), path="/企业/bot", receiveId="ww1", state=f"sqlite:{tmp_path}/wecom.db", maxSkewSeconds=600
    )
    url = f"http://127.0.0.1:{settings['port']}/企业/bot"
    document = {"gateway": {"port": 0}, "channels": {"bot": settings | {"type": "wecom"}}}
    async with GatewayProcess(watch, tmp_path, document) as gateway:
        await gateway.until("gateway channels started")
        found = await doctor.diagnose(gateway.config, "--url", url)
        assert [check for check in found.checks if check["outcome"] == "fail"] == []
        assert found.exit_code == 0
        assert {check["channel"] for check in found.checks} == {"bot"}
        assert (found.outcome("local_url"), found.outcome("public_url"), found.outcome("clock")) == ("ok", "ok", "ok")
        assert found.detail("state") == "the file is in use, as expected while the gateway runs"
        for wrong, sentence in (
            ({"token": "canary-other"}, "401: the program that answers has a different token"),
            ({"encodingAESKey": OTHER_KEY}, "400: the token matches but EncodingAESKey or receiveId does not"),
            ({"path": "/elsewhere"}, "404: the path differs"),
        ):
            found = await doctor.diagnose(bot_config(tmp_path, **settings | wrong))
            assert sentence in found.detail("local_url")


ENTRIES = [
    {"token": {"env": TOKEN}},
    {"token": {"file": TOKEN}},
    {"token": {"env": TOKEN, "file": TOKEN}},
    {"token": [TOKEN]},
    {"token": f"{TOKEN} {PASSWORD}"},
    {"encodingAESKey": {"env": KEY}},
    {"encodingAESKey": {"file": KEY}},
    {"encodingAESKey": KEY + PASSWORD},
    {"encodingAESKey": TOKEN, "token": KEY},
    {"previousToken": {"env": TOKEN}, "previousEncodingAESKey": PASSWORD},
    {"proxy": f"user:{PASSWORD}@127.0.0.1:9"},
    {"proxy": f"http://user:{PASSWORD}@127.0.0.1:0"},
    {"proxy": f"http://user:{PASSWORD}/@127.0.0.1:9"},
    {"proxy": {"env": f"http://user:{PASSWORD}@127.0.0.1:9"}},
    {"proxy": f"socks4://user:{PASSWORD}@127.0.0.1:9"},
    {"proxy": f"socks5://{PASSWORD}@127.0.0.1:9"},
    {"state": f"redis://:{PASSWORD}#@127.0.0.1:9"},
    {"state": f"redis://:{PASSWORD}@127.0.0.1:9/{PASSWORD}"},
    {"state": f"redis://:{PASSWORD}@127.0.0.1:9?password={PASSWORD}"},
    {"state": f"redis://:{PASSWORD}@127.0.0.1:{PASSWORD}"},
    {"state": f"rediss://:{PASSWORD}@127.0.0.1:9"},
    {"state": f"postgres://:{PASSWORD}@127.0.0.1:9"},
    {"host": PASSWORD, "port": PASSWORD, "path": PASSWORD},
    {"allowFrom": PASSWORD, "receiveId": [PASSWORD], "overflow": PASSWORD, "maxSkewSeconds": PASSWORD},
]
AGENTS = [
    {"type": "responses", "url": f"http://user:{PASSWORD}@127.0.0.1:9/", "model": "m"},
    {"type": "responses", "url": f"http://user:{PASSWORD}@[", "model": "m"},
    {"type": "responses", "url": "http://127.0.0.1:9/", "model": "m", "apiKey": {"env": PASSWORD.replace("-", "")}},
    {"type": "responses", "url": "http://127.0.0.1:9/", "model": "m", "apiKey": {"file": PASSWORD}},
    {"type": "responses", "url": "http://127.0.0.1:9/", "model": "m", "apiKey": f"{PASSWORD}\n"},
    {"type": PASSWORD},
    {"type": "responses", "apiKey": [PASSWORD]},
]


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
@pytest.mark.parametrize("number", range(len(ENTRIES) + len(AGENTS)))
async def test_a_secret_in_the_wrong_place_is_not_repeated(
    doctor: Doctor, tmp_path: Path, number: int, *, as_json: bool
) -> None:
    """The `doctor` fixture searches every output for canaries."""
    document: dict[str, Any] = {"gateway": {"port": 0}, "channels": {"wecom": entry()}}
    if number < len(ENTRIES):
        document["channels"]["wecom"] |= ENTRIES[number]
    else:
        document["agent"] = AGENTS[number - len(ENTRIES)]
    code, out, err = await doctor.run(write_config(tmp_path, document), *(["--json"] if as_json else []))
    assert (code in {0, 1}, err) == (True, "")
    assert out


UNUSUAL_VALUES: list[Any] = [
    *(None, True, -1, 10**30, "", "canary", "\0canary", "canary" * 100, ["canary"], {"a": "canary"}, [], {"env": ""}),
    *({"env": "canary"}, {"env": "CAN=ARY"}, {"file": "\0canary"}, {"file": "/"}, {"file": "canary" * 100}),
    *("http://xn--:1", "http://[::1", "http://%zz:1", "redis://127.0.0.1:1/99999999999999999999", "sqlite:/dev/null"),
    *(f"sqlite:{'long' * 100}", "sqlite:/proc/self/mem", "sqlite:canary\0", "::", "fe80::1%lo", "a..b"),
    "\x9b",
]
SECTIONS = {
    "channels.wecom": ("type", "token", "encodingAESKey", "host", "port", "path", "proxy", "state"),
    "gateway": ("host", "port"),
    "agent": ("type", "url", "model", "apiKey"),
}


@pytest.mark.parametrize("place", [*SECTIONS, "", "channels", "cron", "logging"])
async def test_every_value_in_a_configuration_gives_a_report(doctor: Doctor, tmp_path: Path, place: str) -> None:
    for value in UNUSUAL_VALUES:
        good: dict[str, Any] = {"gateway": {"port": 0}, "channels": {"wecom": entry()}}
        good["agent"] = {"type": "responses", "url": "http://127.0.0.1:1/", "model": "m"}
        documents: list[Any] = [good | {place: value} if place else value]
        if place in SECTIONS:
            section = good["channels"]["wecom"] if place == "channels.wecom" else good[place]
            sections = [section | {key: value} for key in SECTIONS[place]]
            documents = [good | ({"channels": {"wecom": each}} if "." in place else {place: each}) for each in sections]
        for document in documents:
            assert (await doctor.diagnose(write_config(tmp_path, document))).exit_code in {0, 1}


async def test_a_configuration_without_an_enabled_bot_is_a_failure(doctor: Doctor, tmp_path: Path) -> None:
    found = await doctor.diagnose(write_config(tmp_path, {"channels": {"wecom": entry(enabled=False)}}))
    assert (found.exit_code, found.detail("configuration")) == (
        1,
        'channels has no enabled entry of type wecom: add one named wecom, or one with "type": "wecom"',
    )


@pytest.mark.parametrize("document", [[], "text", {"channels": []}, {"channels": {"wecom": 7}}, {"agent": 7}])
async def test_json_of_another_shape_is_a_failure(doctor: Doctor, tmp_path: Path, document: object) -> None:
    assert (await doctor.diagnose(write_config(tmp_path, document))).exit_code == 1


async def test_an_unreadable_file_exits_2_with_one_sentence(doctor: Doctor, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    missing = f"maven-wecom: the configuration {path} cannot be read: No such file or directory\n"
    assert await doctor.run(path, "--json") == (2, "", missing)
    path.write_text('{"token": "canary",}', encoding="utf-8")
    code, out, err = await doctor.run(path)
    assert (code, out) == (2, "")
    assert "is not JSON" in err


async def test_a_url_needs_a_channel_if_there_are_several_bots(doctor: Doctor, tmp_path: Path) -> None:
    async with FakeBot() as bot:
        document = {"channels": {"a": entry(type="wecom", port=0), "b": entry(type="wecom", port=bot.port)}}
        path = write_config(tmp_path, document)
        code, out, err = await doctor.run(path, "--url", bot.url)
        assert (code, out) == (2, "")
        assert "choose it with --channel from a, b" in err
        found = await doctor.diagnose(path, "--url", bot.url, "--channel", "b")
    assert {check["channel"] for check in found.checks} == {"b"}
    assert found.outcome("public_url") == "ok"
    assert (await doctor.run(path, "--channel", "c"))[0] == 2


@pytest.mark.parametrize(
    "url",
    ["canary", "ftp://canary/", "https://", "https://canary:canary@h/", "https://h/#canary", "https://h/ canary"],
)
def test_an_invalid_url_exits_2_and_is_not_repeated(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, url: str
) -> None:
    """A URL may contain a password."""
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--config", str(tmp_path / "config.json"), "--url", url])
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert "argument --url: must be a URL such as https://" in printed
    assert "canary" not in printed


def test_the_command_runs_as_a_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "maven_channel_wecom", "doctor", "--config", str(bot_config(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    assert (done.returncode, done.stderr) == (0, "")
    output = record_output("the output of the doctor", done.stdout)
    assert output.endswith("with --url the address that WeCom calls is checked too.\n")


async def test_lines_are_aligned_and_followed_by_a_verdict(doctor: Doctor, tmp_path: Path) -> None:
    async with FakeBot(lambda echo: echo + b"\n") as bot:
        path = bot_config(tmp_path, port=bot.port)
        code, out, _ = await doctor.run(path)
    *lines, blank, verdict = out.splitlines()
    assert (code, blank) == (1, "")
    assert [line[:4] for line in lines] == ["ok  ", "ok  ", "ok  ", "warn", "FAIL", "warn"]
    assert {line[:13] for line in lines} == {f"{word:4}  wecom  " for word in ("ok", "warn", "FAIL")}
    assert {line[26:28] for line in lines} == {"  "}
    assert verdict == "1 check failed; until the URL check passes, the console says 回调地址请求不通过."
