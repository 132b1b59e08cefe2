"""A channel's start, health and end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pluggy
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from maven_channel_wecom import plugin
from maven_channel_wecom.channel import WeComChannel
from maven_channel_wecom.clock import SystemClock
from maven_channel_wecom.config import read_config
from maven_channel_wecom.contract import hookspecs
from maven_channel_wecom.contract.channel import ChannelStartError
from maven_channel_wecom.contract.messages import OutboundMessage
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.telemetry import events
from tests.fakes.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path

    from maven_channel_wecom.contract.channel import HostServices
    from maven_channel_wecom.contract.messages import InboundMessage
    from maven_channel_wecom.egress.egress import Egress
    from maven_channel_wecom.inbox import Inbox

WAIT_SECONDS = 5

ENTRY: dict[str, Any] = {
    "token": "canary-token",
    "encodingAESKey": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
    "host": "127.0.0.1",
    "port": 0,
}


class Host:
    """The least a host can be."""

    def __init__(self) -> None:
        manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin)
        manager.check_pending()
        self.hook = manager.hook
        self.metrics = CollectorRegistry()

    async def publish(self, message: InboundMessage) -> None:
        raise NotImplementedError

    async def start(self, **config: object) -> WeComChannel:
        channel = await self.hook.maven_channel_start(name="wecom", config={**ENTRY, **config}, host=self)
        assert isinstance(channel, WeComChannel)
        return channel


async def test_a_channel_is_healthy_from_its_start_to_its_end() -> None:
    """Afterwards it says why not, and has left nothing on the host's registry."""
    host = Host()
    channel = await host.start()
    assert channel.name == "wecom"
    assert channel.port
    assert (await channel.health()).ready
    await host.hook.maven_channel_stop(channel=channel)
    health = await channel.health()
    assert not health.ready
    assert health.reasons == ("channels.wecom is not listening", "channels.wecom is being stopped")
    assert generate_latest(host.metrics) == b""


async def test_a_port_in_use_is_one_sentence_and_leaves_nothing_behind() -> None:
    """It names the address and the keys to change."""
    host, late = Host(), Host()
    first = await host.start()
    with pytest.raises(ChannelStartError) as raised:
        await late.start(port=first.port)
    assert generate_latest(late.metrics) == b""
    assert str(raised.value) == (
        f"channels.wecom cannot listen on 127.0.0.1:{first.port}: Address already in use; "
        "change channels.wecom.host or .port, or stop the program that uses it"
    )
    await host.hook.maven_channel_stop(channel=first)


async def test_an_address_of_another_machine_is_a_sentence_too() -> None:
    """Binding to it fails here; nothing is sent there. Since Python 3.13 the error has no number to tell why."""
    with pytest.raises(ChannelStartError, match=r"cannot listen on 192\.0\.2\.1:0: (Cannot assign|no such address)"):
        await Host().start(host="192.0.2.1")


@pytest.mark.parametrize("address", ["a..b", "x" * 70, "a\x00b"], ids=["empty-label", "long-label", "null"])
async def test_an_address_that_cannot_be_one_is_a_sentence_and_leaves_nothing_behind(address: str) -> None:
    """No name server is asked for it."""
    host = Host()
    with pytest.raises(ChannelStartError, match="no such address"):
        await host.start(host=address)
    assert generate_latest(host.metrics) == b""


async def test_a_secret_that_is_gone_since_the_check_is_a_sentence(tmp_path: Path) -> None:
    """The host is told what it would have been told by `maven_channel_problems`."""
    host = Host()
    with pytest.raises(ChannelStartError, match=r"channels\.wecom\.token"):
        await host.start(token={"file": str(tmp_path / "missing")})
    assert generate_latest(host.metrics) == b""


async def test_a_state_that_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    """It names the key, and what to do comes from the backend."""
    with pytest.raises(ChannelStartError, match=r"channels\.wecom\.state cannot be opened: .*missing"):
        await Host().start(state=f"sqlite:{tmp_path}/missing/state.db")


async def test_a_start_that_is_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    """A signal may come while the state is asked for unfinished messages."""
    host = Host()
    address = f"sqlite:{tmp_path}/state.db"
    config = read_config("wecom", {**ENTRY, "state": address})
    hanging = asyncio.Event()

    class Egresses:
        async def close(self) -> None: ...

    channel = await plugin.build_channel(
        "wecom",
        config,
        cast("HostServices", host),
        clock=SystemClock(),
        egress=cast("Egress", Egresses()),
        jitter=lambda: 0.0,
    )

    async def hang() -> None:
        hanging.set()
        await asyncio.Event().wait()

    channel._recover = hang  # type: ignore[method-assign]  # a state that does not answer
    starting = asyncio.create_task(channel.start())
    await hanging.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert generate_latest(host.metrics) == b""
    again = await host.start(state=address)
    await host.hook.maven_channel_stop(channel=again)


@pytest.mark.parametrize("state", ["memory:", "sqlite:{}/state.db"])
async def test_a_reply_after_the_stop_has_its_receipt_at_once(state: str, tmp_path: Path) -> None:
    """Nothing will make the state available again, so nothing is waited for."""
    host = Host()
    channel = await host.start(state=state.format(tmp_path))
    await host.hook.maven_channel_stop(channel=channel)
    message = OutboundMessage(channel="wecom", chat_id="alice", content="canary", reply_to="m1")
    async with asyncio.timeout(WAIT_SECONDS):
        receipt = await host.hook.maven_outbound_send(channel=channel, message=message)
    assert receipt.outcome == "undeliverable"


async def test_a_second_channel_on_one_file_does_not_start(tmp_path: Path) -> None:
    """Two that share it would take each other's messages."""
    host = Host()
    address = f"sqlite:{tmp_path}/state.db"
    first = await host.start(state=address)
    with pytest.raises(ChannelStartError, match=r"channels\.wecom\.state cannot be opened"):
        await Host().start(state=address)
    await host.hook.maven_channel_stop(channel=first)


async def test_a_state_that_goes_away_and_comes_back_is_two_lines_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever reads the log at night does not ask for the health."""
    caplog.set_level("INFO")
    host = Host()
    channel = await host.start(state=f"sqlite:{tmp_path}/state.db")
    (tmp_path / "state.db").rename(tmp_path / "moved.db")
    await channel._report_state()
    await channel._report_state()
    (tmp_path / "moved.db").rename(tmp_path / "state.db")
    await channel._report_state()
    await host.hook.maven_channel_stop(channel=channel)
    told = [record for record in caplog.records if record.message.startswith("wecom state")]
    assert [record.message for record in told] == ["wecom state away", "wecom state back"]
    assert "removed or replaced" in told[0].__dict__["fields"]["detail"]


async def test_looking_for_unfinished_messages_goes_on_after_any_error() -> None:
    """An error of one look must not be the end of all looks; its text is not reported."""

    class FailingInbox:
        errors: ClassVar[list[Exception]] = [RuntimeError("canary"), StateUnavailable()]

        async def recover(self) -> None:
            raise self.errors.pop(0)

    unused: Any = None
    recorder = Recorder()
    channel = WeComChannel(
        "wecom",
        read_config("wecom", ENTRY),
        server=unused,
        inbound=unused,
        inbox=cast("Inbox", FailingInbox()),
        media=unused,
        send=unused,
        state=unused,
        emit=recorder,
        close=unused,
    )
    await channel._recover()
    await channel._recover()
    assert FailingInbox.errors == []
    assert recorder.events == [events.RecoveryFailed(error="RuntimeError")]


async def test_an_obsolete_key_is_reported_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    host = Host()
    channel = await host.start(shortPath=False)
    await host.hook.maven_channel_stop(channel=channel)
    reported = [record for record in caplog.records if record.message == "wecom setting obsolete"]
    assert [record.__dict__["fields"] for record in reported] == [{"channel": "wecom", "key": "shortPath"}]


async def test_a_host_can_start_and_stop_channels_without_end() -> None:
    """A reload leaves no task and no series behind."""
    host = Host()
    before = len(asyncio.all_tasks())
    for _ in range(20):
        await host.hook.maven_channel_stop(channel=await host.start())
    assert len(asyncio.all_tasks()) == before
    assert generate_latest(host.metrics) == b""


async def test_hooks_leave_other_channels_alone() -> None:
    """An entry of another type, and a handle of another plugin."""
    host = Host()
    stranger = object()
    assert host.hook.maven_channel_problems(name="slack", config={}) == []
    assert host.hook.maven_channel_start(name="slack", config={}, host=host) is None
    assert host.hook.maven_channel_capabilities(channel=stranger) is None
    assert host.hook.maven_channel_stop(channel=stranger) is None
    assert host.hook.maven_inbound_normalize(channel=stranger, callback=object()) is None
    message = OutboundMessage(channel="slack", chat_id="c", content="canary")
    assert host.hook.maven_outbound_send(channel=stranger, message=message) is None
    assert "canary" not in repr(message)
