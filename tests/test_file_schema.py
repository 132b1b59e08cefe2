"""Tests that the JSON Schema of the configuration file agrees with the code that reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from maven_channel_wecom import config
from maven_channel_wecom.cli import main
from maven_channel_wecom.file_schema import file_schema
from maven_channel_wecom.host import configuration as host

if TYPE_CHECKING:
    from maven_channel_wecom.settings import Key

ROOT = Path(__file__).parents[1]
SCHEMA = file_schema()
FILE = Draft202012Validator(SCHEMA)
ENTRY = Draft202012Validator(config.entry_schema())

KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
MINIMAL: dict[str, Any] = {"token": "token", "encodingAESKey": KEY}
RESPONSES = {"type": "responses", "url": "http://127.0.0.1:1/v1/responses", "model": "maven"}
JOB = {"name": "report", "every": "5m", "message": "report"}

PLAIN = st.none() | st.booleans() | st.integers(-9, 99_999) | st.floats(-9, 99_999) | st.text(max_size=3)
VALUES = PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(st.sampled_from(["env", "file", "x"]), PLAIN, max_size=2)


def test_the_schema_is_a_valid_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA


def test_every_key_has_a_title_and_a_description_in_english_and_chinese() -> None:
    keys = (*config.KEYS, *host.GATEWAY_KEYS, *host.AGENT_KEYS, *host.CRON_KEYS, *host.LOGGING_KEYS, *host.SECTIONS)
    for key in keys:
        assert key.title.isascii()
        assert key.help.isascii()
        assert key.help.endswith(".")
        assert not key.title_zh.isascii()
        assert key.help_zh.endswith("。")


def test_every_example_of_the_readme_is_valid() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"<!-- example: wecom.json -->\s*```json\n(.*?)```", readme, re.DOTALL)
    assert examples
    for example in examples:
        FILE.validate(json.loads(example))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"$schema": "./wecom.schema.json"},
        {"gateway": {"host": "0.0.0.0", "port": 1}, "logging": {"level": "debug", "format": "json", "userIds": True}},
        {"agent": RESPONSES | {"apiKey": {"env": "KEY"}, "timeoutSeconds": 5}},
        {"agent": RESPONSES | {"url": {"file": "/run/url"}}},
        {"agent": {"type": "echo"}},
        {"cron": [JOB | {"deliver": True, "channel": "wecom", "to": "chat"}]},
        {"cron": [{"name": "b", "schedule": "0 9 * * 1-5", "message": "m"}]},
        {"channels": {"wecom": MINIMAL, "second": MINIMAL | {"type": "wecom"}}},
        {"channels": {"wecom": MINIMAL | {"token": {"file": "/run/token"}, "shortPath": False, "proxy": ""}}},
        {"channels": {"wecom": MINIMAL | {"state": {"env": "WECOM_STATE"}}}},
        {"channels": {"wecom": MINIMAL | {"state": "sqlite:/var/lib/My Bot/wecom.db"}}},
        {"channels": {"wecom": {"enabled": False, "token": ""}}},
        {"channels": {"telegram": {"whatever": 1}, "wecom": {"type": "telegram"}}},
    ],
)
def test_the_schema_accepts_a_correct_file(document: dict[str, Any]) -> None:
    FILE.validate(document)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"gatway": {}},
        {"gateway": {"port": 65536}},
        {"gateway": {"host": ""}},
        {"logging": {"level": "loud"}},
        {"agent": {"type": "responses", "url": RESPONSES["url"]}},
        {"agent": {"type": "chat-completions", "url": RESPONSES["url"]}},
        {"agent": {"type": "chat-completions", "model": "maven"}},
        {"agent": RESPONSES | {"apiKey": {"env": "A", "file": "B"}}},
        {"agent": RESPONSES | {"apiKey": ""}},
        {"cron": {}},
        {"cron": [{"name": "b", "message": "m"}]},
        {"cron": [JOB | {"schedule": "* * * * *"}]},
        {"cron": [JOB | {"every": "0s"}]},
        {"cron": [JOB | {"deliver": True}]},
        {"channels": {" ": {}}},
        {"channels": {"telegram": {"enabled": "yes"}}},
        {"channels": {"wecom": {}}},
        {"channels": {"second": {"type": "wecom"}}},
        {"channels": {"wecom": MINIMAL | {"prot": 1}}},
        {"channels": {"wecom": MINIMAL | {"state": "cassette:"}}},
        {"channels": {"wecom": MINIMAL | {"state": {"env": "A", "file": "B"}}}},
    ],
)
def test_the_schema_rejects_a_wrong_file(document: object) -> None:
    assert not FILE.is_valid(document)


@pytest.mark.parametrize("key", config.KEYS, ids=[key.name for key in config.KEYS])
@given(value=VALUES)
def test_the_schema_and_the_channel_accept_the_same_values(key: Key, value: object) -> None:
    """The schema may accept more strings if the key has a check, for example of an address."""
    entry = MINIMAL | {key.name: value}
    problems = config.problems("wecom", entry)
    if key.check is None and key.type != "secret":
        assert ENTRY.is_valid(entry) == (problems == [])
    elif not problems:
        assert ENTRY.is_valid(entry)
    elif not (isinstance(value, str | dict) or (isinstance(value, list) and all(isinstance(v, str) for v in value))):
        assert not ENTRY.is_valid(entry)


@pytest.mark.parametrize(
    ("section", "key"),
    [("gateway", key) for key in host.GATEWAY_KEYS] + [("logging", key) for key in host.LOGGING_KEYS],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
@given(value=VALUES)
def test_the_schema_and_the_host_accept_the_same_values(section: str, key: Key, value: object) -> None:
    document = {section: {key.name: value}}
    assert FILE.is_valid(document) == (host.interpret(document, {})[1] == [])


def test_the_schema_accepts_choices_in_lower_case_only() -> None:
    """The code that reads them ignores case; an editor should suggest one spelling."""
    assert config.problems("wecom", MINIMAL | {"overflow": "Truncate"}) == []
    assert not ENTRY.is_valid(MINIMAL | {"overflow": "Truncate"})
