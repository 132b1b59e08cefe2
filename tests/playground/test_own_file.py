"""The operator's file is checked as the gateway checks it, except for the secrets of its channels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.host.document import UnreadableConfiguration
from maven_channel_wecom.playground.own_file import WrongConfiguration, read_own_file

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, document: object) -> Path:
    path = folder / "wecom.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_secrets_of_channels_may_be_unset(tmp_path: Path) -> None:
    secret = {"env": "NOT_SET"}
    entry = {"token": secret, "encodingAESKey": secret, "previousToken": secret, "proxy": secret, "state": "memory:"}
    document: dict[str, Any] = {"channels": {"wecom": entry, "sales": {"type": "wecom", "port": 1}}}
    assert read_own_file(written(tmp_path, document)) == document


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"channels": {"wecom": {"mentionName": ["x"]}}}, "channels.wecom.mentionName is not a known key"),
        ({"channels": {"wecom": {"progress": "yes"}}}, "channels.wecom.progress must be"),
        ({"channels": {"slack": {}}}, "channels.slack is of type slack, which no installed plugin handles"),
        ({"gateway": {"port": 9886}, "channels": {"wecom": {}}}, "gateway.port"),
        ({"agent": {"type": "responses", "url": "x", "model": "m"}}, "agent.url must be a URL"),
        ([], "the configuration must be an object"),
    ],
)
def test_each_problem_is_told_once_with_the_name_of_the_file(document: object, problem: str, tmp_path: Path) -> None:
    path = written(tmp_path, document)
    with pytest.raises(WrongConfiguration) as raised:
        read_own_file(path)
    first, *lines = str(raised.value).splitlines()
    assert first == f"{path} has 1 problem:"
    assert [problem in line for line in lines] == [True]


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnreadableConfiguration, match="cannot be read"):
        read_own_file(tmp_path / "none.json")
