"""Judging findings: secrets, and ports that cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.config import read_config
from maven_channel_wecom.doctor import checks
from tests.doctor.faulty_bots import KEY, TOKEN, bot_config, entry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doctor.conftest import Doctor


@pytest.mark.parametrize(("finding", "sentence"), [("not_allowed", "1024"), ("not_local", "not one of this machine")])
def test_an_unusable_port_is_explained(finding: checks.PortFinding, sentence: str) -> None:
    check = checks.judge_port("wecom", finding, read_config("wecom", entry(port=80)))
    assert check.outcome == "fail"
    assert sentence in check.detail


def test_a_port_on_every_ipv4_address_is_said_to_be_on_ipv4_only() -> None:
    for host, only in (("0.0.0.0", True), ("::", False), ("127.0.0.1", False)):
        check = checks.judge_port("wecom", "accepts", read_config("wecom", entry(port=80, host=host)))
        assert ('IPv4 only; host "::" would include IPv6' in check.detail) is only


@pytest.mark.parametrize(
    ("address", "has_proxy", "outcome", "sentence"),
    [
        ("10.0.0.1", False, "warn", "which WeCom cannot reach"),
        ("198.18.0.5", False, "fail", "set proxy to the port of that proxy"),
        ("198.19.255.1", True, "ok", "and proxy is set"),
    ],
)
def test_an_address_made_up_by_a_local_proxy_is_told_from_a_private_one(
    address: str, outcome: str, sentence: str, *, has_proxy: bool
) -> None:
    check = checks.judge_address("wecom", address, has_proxy=has_proxy)
    assert check.outcome == outcome
    assert sentence in check.detail


@pytest.mark.parametrize(("mode", "outcome"), [(0o600, "ok"), (0o640, "warn"), (0o604, "warn")])
async def test_a_secret_file_that_others_may_read_is_a_warning(
    doctor: Doctor, tmp_path: Path, mode: int, outcome: str
) -> None:
    """The mode of the configuration file does not matter if it holds no secret."""
    token, key = tmp_path / "token", tmp_path / "key"
    token.write_text(TOKEN, encoding="utf-8")
    token.chmod(mode)
    key.write_text(KEY, encoding="utf-8")
    key.chmod(0o600)
    path = bot_config(tmp_path, token={"file": str(token)}, encodingAESKey={"file": str(key)})
    path.chmod(0o644)
    found = await doctor.diagnose(path)
    assert (found.exit_code, found.outcome("secrets")) == (0, outcome)
    assert f"token from the file {token}, encodingAESKey from the file {key}" in found.detail("secrets")
    assert (f"the file {token} is readable by" in found.detail("secrets")) == (outcome == "warn")


async def test_the_address_of_a_state_in_a_file_counts_as_a_secret(doctor: Doctor, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text(f"sqlite:{tmp_path}/wecom.db\n", encoding="utf-8")
    state.chmod(0o644)
    found = await doctor.diagnose(bot_config(tmp_path, state={"file": str(state)}))
    assert found.outcome("state") == "ok"
    assert f"state from the file {state}; the file {state} is readable by" in found.detail("secrets")
    found = await doctor.diagnose(bot_config(tmp_path, state=f"sqlite:{tmp_path}/wecom.db"))
    assert "state" not in found.detail("secrets")


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/run/secrets/wecom_token", "ok"),
        ("/run/secrets/maven-wecom/token", "ok"),
        ("/run/secrets2/token", "warn"),
        ("/run/credentials/maven-wecom.service/token", "ok"),
    ],
)
def test_the_mode_of_a_secret_that_a_container_engine_or_systemd_provides_is_not_judged(
    path: str, outcome: str
) -> None:
    """The files of `deploy/` have modes with which the gateway's user can read them."""
    secret = checks.Secret(key="token", place="file", name=path)
    found = checks.judge_secrets("wecom", [secret], {path: "everybody"})
    assert (found.outcome, f"token from the file {path}" in found.detail) == (outcome, True)


async def test_a_configuration_with_a_secret_that_others_may_read_is_a_warning(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_TOKEN", TOKEN)
    path = bot_config(tmp_path, token={"env": "BOT_TOKEN"})
    assert (await doctor.diagnose(path)).outcome("secrets") == "ok"
    path.chmod(0o644)
    found = await doctor.diagnose(path)
    assert found.detail("secrets") == (
        "token from the environment variable BOT_TOKEN, encodingAESKey written in the configuration; "
        "the configuration file is readable by its group and by everybody: remove that permission"
    )


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ("refused", "nothing listens there"),
        ("dns", "its name cannot be resolved"),
        ("tls", "SSL_CERT_FILE"),
        ("connect", "cannot be reached from this machine"),
        ("connect_timeout", "does not accept a connection in time"),
        ("timeout", "does not answer in time"),
        ("connection_lost", "the connection breaks"),
        ("http_302", "redirects to another address"),
        ("http_401", "correct agent.apiKey"),
        ("http_403", "correct agent.apiKey"),
        ("http_404", "correct agent.url"),
        ("http_405", "correct agent.url"),
        ("malformed", "a web page"),
        ("proxy_credentials", "the proxy refused the user or the password"),
    ],
)
def test_an_agent_that_cannot_be_used_is_named_with_the_cause(failure: str, words: str) -> None:
    check = checks.judge_agent("http://agent:8000", failure, "", "")
    assert (check.name, check.channel, check.outcome) == ("agent", "", "fail")
    assert check.detail.startswith("http://agent:8000 cannot be used: ")
    assert words in check.detail


def test_an_agent_with_another_api_is_named_with_its_type() -> None:
    check = checks.judge_agent("https://agent", "other_api", "chat-completions", "")
    assert check.outcome == "fail"
    assert 'set agent.type to "chat-completions"' in check.detail


def test_an_agent_that_answers_is_named_with_the_source_of_its_proxy() -> None:
    check = checks.judge_agent("https://agent", "", "", "HTTPS_PROXY")
    assert (check.outcome, check.detail) == ("ok", "https://agent answers (through the proxy of HTTPS_PROXY)")
