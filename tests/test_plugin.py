"""Tests for the plugin's hooks, called as a host calls them."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING

import pluggy
import pytest
from prometheus_client import generate_latest

from maven_channel_wecom import plugin
from maven_channel_wecom.channel import CAPABILITIES
from maven_channel_wecom.contract import hookspecs
from maven_channel_wecom.contract.channel import ChannelStartError
from maven_channel_wecom.contract.messages import OutboundMessage, OutboundProgress
from maven_channel_wecom.inbox import AdmittedCallback
from maven_channel_wecom.media import MediaUse
from maven_channel_wecom.protocol.callback import Callback, TextItem
from tests.plugin_host import ENTRY, PluginHost

if TYPE_CHECKING:
    from pathlib import Path

SIX = (
    "maven_channel_problems",
    "maven_channel_start",
    "maven_inbound_normalize",
    "maven_outbound_send",
    "maven_channel_capabilities",
    "maven_channel_stop",
)
"""The hooks that every host has."""


@pytest.mark.parametrize(
    ("name", "config"), [("wecom", ENTRY), ("support", {**ENTRY, "type": "wecom"})], ids=["by its name", "by its type"]
)
def test_a_valid_entry_has_no_problems(name: str, config: dict[str, object]) -> None:
    assert PluginHost().hook.maven_channel_problems(name=name, config=config) == [[]]


def test_problems_of_an_entry_name_their_keys() -> None:
    (problems,) = PluginHost().hook.maven_channel_problems(name="wecom", config={**ENTRY, "port": "x", "path": "bot"})
    assert [sentence.split()[0] for sentence in problems] == ["channels.wecom.port", "channels.wecom.path"]


def test_only_entries_of_this_type_can_exclude_each_other() -> None:
    hook = PluginHost().hook
    entries = {"a": {"type": "wecom"}, "b": {"type": "other"}, "wecom": {}}
    (found,) = hook.maven_channels_problems(channels=entries, taken=[("127.0.0.1", 1, "gateway.port")])
    assert found == ["channels.a.port and channels.wecom.port are both 9886: give each a port of its own"]


def test_a_host_that_does_not_know_the_optional_hooks_can_load_the_plugin() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    six = types.ModuleType("six")
    vars(six).update({name: getattr(hookspecs, name) for name in SIX})
    manager.add_hookspecs(six)
    manager.register(plugin)
    manager.check_pending()


async def test_a_started_channel_is_served_by_every_hook() -> None:
    host = PluginHost()
    channel = await host.start(progress="stream")
    capabilities = host.hook.maven_channel_capabilities(channel=channel)
    callback = Callback(
        message_id="m1", type="text", is_group=False, chat_id="alice", sender_id="alice", items=(TextItem("hello"),)
    )
    message = await host.hook.maven_inbound_normalize(
        channel=channel, callback=AdmittedCallback(callback, 0.0, MediaUse("chat"))
    )
    progress = OutboundProgress(channel="wecom", chat_id="alice", reply_to="m1", content="canary")
    shown = await host.hook.maven_outbound_progress(channel=channel, message=progress)
    answer = OutboundMessage(channel="wecom", chat_id="alice", content="canary", reply_to="m1")
    receipt = await host.hook.maven_outbound_send(channel=channel, message=answer)
    await host.hook.maven_channel_stop(channel=channel)
    assert capabilities == CAPABILITIES
    assert shown is None
    assert (message.channel, message.message_id, message.content) == ("wecom", "m1", "hello")
    assert (receipt.outcome, receipt.reason) == ("undeliverable", "no_reply_window")
    assert channel.port is None


@pytest.mark.parametrize("progress", ["off", "notice"])
async def test_a_channel_that_streams_nothing_says_so(progress: str) -> None:
    host = PluginHost()
    channel = await host.start(progress=progress)
    assert not host.hook.maven_channel_capabilities(channel=channel).progress
    await host.hook.maven_channel_stop(channel=channel)


async def test_a_secret_that_is_missing_at_the_start_is_a_start_error(tmp_path: Path) -> None:
    """The file may have been removed after `maven_channel_problems` read it."""
    host = PluginHost()
    with pytest.raises(ChannelStartError, match=r"channels\.wecom\.token"):
        await host.start(token={"file": str(tmp_path / "missing")})
    assert generate_latest(host.metrics) == b""


async def test_a_state_that_cannot_be_opened_is_a_start_error(tmp_path: Path) -> None:
    with pytest.raises(ChannelStartError, match=r"channels\.wecom\.state cannot be opened: .*missing"):
        await PluginHost().start(state=f"sqlite:{tmp_path}/missing/state.db")


async def test_a_second_channel_cannot_start_on_the_same_state_file(tmp_path: Path) -> None:
    host = PluginHost()
    address = f"sqlite:{tmp_path}/state.db"
    first = await host.start(state=address)
    with pytest.raises(ChannelStartError, match=r"channels\.wecom\.state cannot be opened"):
        await PluginHost().start(state=address)
    await host.hook.maven_channel_stop(channel=first)


async def test_hooks_return_nothing_for_entries_and_channels_of_other_plugins() -> None:
    host = PluginHost()
    other = object()
    assert host.hook.maven_channel_problems(name="slack", config={}) == []
    assert host.hook.maven_channel_start(name="slack", config={}, host=host) is None
    assert host.hook.maven_channel_capabilities(channel=other) is None
    assert host.hook.maven_channel_stop(channel=other) is None
    assert host.hook.maven_inbound_normalize(channel=other, callback=object()) is None
    message = OutboundMessage(channel="slack", chat_id="c", content="canary")
    assert host.hook.maven_outbound_send(channel=other, message=message) is None
    assert "canary" not in repr(message)
