"""The Lua scripts as they are sent to Redis."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.state.redis.scripts import (
    ADMIT,
    APPLY_UPDATES,
    CLAIM_WINDOW,
    CLOSE_STREAM,
    HEARTBEAT,
    IS_FETCHED,
    READ_FRAME,
    RELEASE,
    TAKE_OVER,
    TEXTS,
    WRITE_FRAME,
    Script,
)

if TYPE_CHECKING:
    from tests.fakes.redis_server import RedisServer

SCRIPTS = {
    "admit.lua": ADMIT,
    "apply_updates.lua": APPLY_UPDATES,
    "claim_window.lua": CLAIM_WINDOW,
    "close_stream.lua": CLOSE_STREAM,
    "heartbeat.lua": HEARTBEAT,
    "is_fetched.lua": IS_FETCHED,
    "read_frame.lua": READ_FRAME,
    "release.lua": RELEASE,
    "take_over.lua": TAKE_OVER,
    "write_frame.lua": WRITE_FRAME,
}


def lua_file(name: str) -> str:
    return resources.files("maven_channel_wecom.state.redis").joinpath("lua", name).read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
async def test_redis_compiles_a_script_and_names_it_by_the_same_digest(server: RedisServer, script: Script) -> None:
    assert await server.command("SCRIPT", "LOAD", script.text) == script.sha.encode()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_its_flags_then_the_shared_functions_then_its_own_lines(name: str) -> None:
    flags, _, lines = lua_file(name).partition("\n")
    assert flags.startswith("#!lua")
    assert SCRIPTS[name].text == f"{flags}\n{lua_file('records.lua')}\n{lines}"


def test_every_script_can_be_sent_by_its_digest() -> None:
    assert {script.sha: script.text for script in SCRIPTS.values()} == TEXTS


def test_every_lua_file_is_a_script_or_shared_by_all() -> None:
    folder = resources.files("maven_channel_wecom.state.redis").joinpath("lua")
    assert {file.name for file in folder.iterdir()} == {*SCRIPTS, "records.lua"}


def test_no_line_of_a_script_is_longer_than_those_of_other_code() -> None:
    lines = [line for text in TEXTS.values() for line in text.splitlines()]
    assert [line for line in lines if len(line) > 120] == []
