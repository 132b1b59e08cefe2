"""Running the checks: which of them run, in which order, and what is reported before anything is probed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.doctor.run_checks import check_replicas
from tests.doctor.faulty_bots import PASSWORD, FakeBot, bot_config, entry, write_config
from tests.host.fake_responses import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doctor.conftest import Doctor


async def test_checks_run_in_a_fixed_order(doctor: Doctor, tmp_path: Path) -> None:
    async with FakeBot() as bot:
        found = await doctor.diagnose(bot_config(tmp_path, port=bot.port), "--url", bot.url)
    assert found.names() == ["configuration", "secrets", "port", "state", "local_url", "public_url", "address", "clock"]


async def test_an_agent_behind_http_is_checked_without_a_message(doctor: Doctor, tmp_path: Path) -> None:
    async with FakeBot() as bot:
        async with serving() as fake:
            agent = {"type": "responses", "url": f"{fake.url}?{PASSWORD}", "model": "maven"}
            path = write_config(tmp_path, {"agent": agent, "channels": {"wecom": entry(port=bot.port)}})
            alive = await doctor.diagnose(path)
        dead = await doctor.diagnose(path)
    origin = fake.url.removesuffix("/v1/responses")
    assert (alive.outcome("agent"), alive.detail("agent")) == ("ok", f"{origin} answers")
    assert dead.outcome("agent") == "fail"
    assert dead.detail("agent").startswith(f"{origin} cannot be used: nothing listens there")
    ((_, body),) = fake.requests
    assert body == {}


async def test_an_agent_with_another_api_is_found(doctor: Doctor, tmp_path: Path) -> None:
    async with FakeBot() as bot, serving("/agent") as fake:
        fake.json({"error": {"message": "Missing required parameter: 'input'."}}, 400)
        agent = {"type": "chat-completions", "url": fake.url, "model": "maven"}
        document = {"agent": agent, "channels": {"wecom": entry(port=bot.port)}}
        found = await doctor.diagnose(write_config(tmp_path, document))
    assert found.outcome("agent") == "fail"
    assert 'set agent.type to "responses"' in found.detail("agent")


async def test_entries_that_exclude_each_other_are_reported(doctor: Doctor, tmp_path: Path) -> None:
    channels = {name: entry(type="wecom", port=18790) for name in ("a", "b")}
    found = await doctor.diagnose(write_config(tmp_path, {"channels": channels}))
    details = [check["detail"] for check in found.checks if check["channel"] == ""]
    assert "channels.a.port and channels.b.port are both 18790: give each a port of its own" in details
    assert len(details) == 3


async def test_every_problem_of_the_configuration_is_reported_at_once(doctor: Doctor, tmp_path: Path) -> None:
    """A channel with a problem is not checked any further; the other channels are."""
    document = {
        "gateway": {"port": 70_000},
        "channels": {
            "wecom": {"tokne": "canary", "encodingAESKey": "canary"},
            "other": entry(type="wecom"),
            "pigeon": {},
        },
    }
    found = await doctor.diagnose(write_config(tmp_path, document))
    assert found.exit_code == 1
    failed = [(check["channel"], check["detail"]) for check in found.checks if check["outcome"] == "fail"]
    assert failed[0] == ("", "gateway.port must be a whole number from 0 to 65535")
    assert [channel for channel, _ in failed] == ["", "wecom", "wecom", "wecom", "pigeon"]
    assert any("encodingAESKey must have 43 characters, this one has 6" in detail for _, detail in failed)
    assert [check["name"] for check in found.checks if check["channel"] == "wecom"] == ["configuration"] * 3
    assert [check["name"] for check in found.checks if check["channel"] == "other"][-1] == "state"


async def test_an_obsolete_key_is_a_warning(doctor: Doctor, tmp_path: Path) -> None:
    found = await doctor.diagnose(bot_config(tmp_path, port=0, shortPath=True))
    assert (found.exit_code, found.outcome("configuration")) == (0, "warn")
    assert "shortPath no longer has an effect: remove it" in found.detail("configuration")


async def test_a_token_that_looks_like_a_placeholder_is_a_warning(doctor: Doctor, tmp_path: Path) -> None:
    """A JSON file has no variables: a gateway would start with this token, and answer 401 to everything."""
    found = await doctor.diagnose(bot_config(tmp_path, token="${WECOM_TOKEN}"))
    assert (found.exit_code, found.outcome("token")) == (0, "warn")
    for token in ("<token>", "ｔｏｋｅｎ", "tоken"):
        assert (await doctor.diagnose(bot_config(tmp_path, token=token))).outcome("token") == "warn"
    assert "token" not in (await doctor.diagnose(bot_config(tmp_path))).names()


async def test_port_0_cannot_be_checked_and_is_a_warning(doctor: Doctor, tmp_path: Path) -> None:
    found = await doctor.diagnose(bot_config(tmp_path, port=0))
    assert (found.exit_code, found.outcome("port")) == (0, "warn")


async def test_an_agent_key_in_a_file_that_others_may_read_is_a_warning(doctor: Doctor, tmp_path: Path) -> None:
    agent = {"type": "responses", "url": "http://127.0.0.1:1/", "model": "m", "apiKey": PASSWORD}
    path = write_config(tmp_path, {"agent": agent, "channels": {"wecom": entry()}})
    path.chmod(0o640)
    found = await doctor.diagnose(path)
    assert ("", "warn") in {(check["channel"], check["outcome"]) for check in found.checks}


@pytest.mark.parametrize(
    ("memory", "state", "warns"),
    [
        ("messages", "redis://127.0.0.1:1", True),
        ("server", "redis://127.0.0.1:1", False),
        ("messages", "memory:", False),
    ],
)
def test_replicas_that_would_remember_apart_from_each_other_are_a_warning(
    memory: str, state: str, *, warns: bool
) -> None:
    found = list(check_replicas({"wecom": entry(state=state), "other": {"state": state}}, memory))
    assert [(check.channel, check.outcome) for check in found] == [("wecom", "warn")] * warns
    assert all("agent.memory" in check.detail for check in found)


def test_an_address_in_a_file_is_that_of_replicas_too(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("redis://127.0.0.1:1\n", encoding="utf-8")
    entries = {"wecom": entry(state={"file": str(tmp_path / "state")})}
    assert [check.channel for check in check_replicas(entries, "messages")] == ["wecom"]
    # It is reported as a problem of the configuration.
    entries["wecom"]["state"]["file"] = "/none/such"
    assert list(check_replicas(entries, "messages")) == []


async def test_the_url_of_an_agent_counts_as_a_secret_if_it_is_not_in_the_configuration(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent: dict[str, object] = {"type": "responses", "url": "http://127.0.0.1:1/v1/responses", "model": "m"}
    document = {"agent": agent, "channels": {"wecom": entry()}}
    found = await doctor.diagnose(write_config(tmp_path, document))
    assert [check["channel"] for check in found.checks if check["name"] == "secrets"] == ["wecom"]
    monkeypatch.setenv("AGENT_URL", f"http://127.0.0.1:1/v1/responses?key={PASSWORD}")
    agent["url"] = {"env": "AGENT_URL"}
    found = await doctor.diagnose(write_config(tmp_path, document))
    assert "url from the environment variable AGENT_URL" in [check["detail"] for check in found.checks]
    assert found.detail("agent").startswith("http://127.0.0.1:1 cannot be used: nothing listens there")


async def test_the_doctor_warns_of_replicas_only_if_the_agent_is_behind_http(doctor: Doctor, tmp_path: Path) -> None:
    channels = {"wecom": entry(state="redis://127.0.0.1:1")}
    async with serving() as fake:
        agent = {"type": "responses", "url": fake.url, "model": "maven"}
        found = await doctor.diagnose(write_config(tmp_path, {"agent": agent, "channels": channels}))
    assert ("memory", "wecom") in [(check["name"], check["channel"]) for check in found.checks]
    found = await doctor.diagnose(write_config(tmp_path, {"channels": channels}))
    assert ("memory", "wecom") not in [(check["name"], check["channel"]) for check in found.checks]
