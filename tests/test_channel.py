"""Tests for the start, the health and the stop of a channel, and for its periodic checks."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pluggy
import pytest
from prometheus_client import generate_latest

from maven_channel_wecom import plugin
from maven_channel_wecom.channel import WeComChannel, measure_loop_lag
from maven_channel_wecom.clock import SystemClock
from maven_channel_wecom.config import read_config
from maven_channel_wecom.contract.channel import ChannelStartError
from maven_channel_wecom.contract.messages import OutboundMessage
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.inbox import AdmittedCallback
from maven_channel_wecom.media import MediaUse
from maven_channel_wecom.protocol.callback import Callback, Event
from maven_channel_wecom.simulator.messages import Text
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from maven_channel_wecom.telemetry import events
from tests.fakes.recorder import Recorder
from tests.plugin_host import ENTRY, PluginHost

if TYPE_CHECKING:
    from pathlib import Path

    from maven_channel_wecom.contract.channel import HostServices
    from maven_channel_wecom.contract.messages import InboundMessage
    from maven_channel_wecom.egress.egress import Egress
    from maven_channel_wecom.inbox import Inbox

WAIT_SECONDS = 5


async def test_a_channel_is_healthy_until_it_stops_and_then_leaves_no_metrics() -> None:
    host = PluginHost()
    channel = await host.start()
    assert channel.name == "wecom"
    assert channel.port
    assert (await channel.health()).ready
    await host.hook.maven_channel_stop(channel=channel)
    health = await channel.health()
    assert not health.ready
    assert health.reasons == ("it is not listening", "it is being stopped")
    assert generate_latest(host.metrics) == b""


async def test_a_port_in_use_is_a_start_error_that_names_the_address_and_the_keys() -> None:
    host, other_host = PluginHost(), PluginHost()
    first = await host.start()
    with pytest.raises(ChannelStartError) as raised:
        await other_host.start(port=first.port)
    assert generate_latest(other_host.metrics) == b""
    assert str(raised.value) == (
        f"channels.wecom cannot listen on 127.0.0.1:{first.port}: Address already in use; "
        "change channels.wecom.host or .port, or stop the program that uses it"
    )
    await host.hook.maven_channel_stop(channel=first)


async def test_an_address_of_another_machine_is_a_start_error() -> None:
    """Since Python 3.13 the OSError has no errno, so the sentence names no cause of its own."""
    with pytest.raises(ChannelStartError, match=r"cannot listen on 192\.0\.2\.1:0: (Cannot assign|no such address)"):
        await PluginHost().start(host="192.0.2.1")


@pytest.mark.parametrize("address", ["a..b", "x" * 70], ids=["empty-label", "long-label"])
async def test_an_invalid_host_name_is_a_start_error(address: str) -> None:
    host = PluginHost()
    with pytest.raises(ChannelStartError, match="no such address"):
        await host.start(host=address)
    assert generate_latest(host.metrics) == b""


async def test_a_start_that_is_cancelled_during_recovery_leaves_nothing_open(tmp_path: Path) -> None:
    host = PluginHost()
    address = f"sqlite:{tmp_path}/state.db"
    config = read_config("wecom", {**ENTRY, "state": address})
    hanging = asyncio.Event()

    class UnusedEgress:
        async def close(self) -> None: ...

    channel = await plugin.build_channel(
        "wecom",
        config,
        cast("HostServices", host),
        clock=SystemClock(),
        egress=cast("Egress", UnusedEgress()),
        jitter=lambda: 0.0,
    )

    async def hang() -> None:
        hanging.set()
        await asyncio.Event().wait()

    channel._recover = hang  # type: ignore[method-assign]  # as with a state that does not answer
    starting = asyncio.create_task(channel.start())
    await hanging.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert generate_latest(host.metrics) == b""
    again = await host.start(state=address)
    await host.hook.maven_channel_stop(channel=again)


@pytest.mark.parametrize("state", ["memory:", "sqlite:{}/state.db"])
async def test_a_reply_after_the_stop_is_undeliverable_without_a_delay(state: str, tmp_path: Path) -> None:
    """A closed state will not become available again, so it is not retried."""
    host = PluginHost()
    channel = await host.start(state=state.format(tmp_path))
    await host.hook.maven_channel_stop(channel=channel)
    message = OutboundMessage(channel="wecom", chat_id="alice", content="canary", reply_to="m1")
    async with asyncio.timeout(WAIT_SECONDS):
        receipt = await host.hook.maven_outbound_send(channel=channel, message=message)
    assert receipt.outcome == "undeliverable"


async def test_the_loss_and_the_return_of_the_state_are_each_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    host = PluginHost()
    channel = await host.start(state=f"sqlite:{tmp_path}/state.db")
    (tmp_path / "state.db").rename(tmp_path / "moved.db")
    await channel._report_state()
    await channel._report_state()
    (tmp_path / "moved.db").rename(tmp_path / "state.db")
    await channel._report_state()
    await host.hook.maven_channel_stop(channel=channel)
    logged = [record for record in caplog.records if record.message.startswith("wecom state")]
    assert [record.message for record in logged] == ["wecom state away", "wecom state back"]
    assert "removed or replaced" in logged[0].__dict__["fields"]["detail"]


async def test_the_loss_of_the_state_is_reported_while_recovery_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that hangs, or a file system that is gone."""
    monkeypatch.setattr("maven_channel_wecom.channel.RECOVER_SECONDS", 0.0)
    host = PluginHost()
    channel = await host.start(state=f"sqlite:{tmp_path}/state.db")
    recovering, reported = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        recovering.set()
        await asyncio.Event().wait()

    def emit(event: events.TelemetryEvent) -> None:
        if isinstance(event, events.StateChanged) and event.problem:
            reported.set()

    monkeypatch.setattr(channel._inbox, "recover", hang)
    monkeypatch.setattr(channel, "_emit", emit)
    async with asyncio.timeout(10):
        await recovering.wait()
        (tmp_path / "state.db").rename(tmp_path / "moved.db")
        await reported.wait()
    await host.hook.maven_channel_stop(channel=channel)


async def test_an_error_during_recovery_is_reported_by_its_class_and_not_raised() -> None:
    """An exception would end the periodic checks."""

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
        languages=unused,
        streams=unused,
        send=unused,
        state=unused,
        emit=recorder,
        close=unused,
    )
    await channel._recover()
    await channel._recover()
    assert FailingInbox.errors == []
    assert recorder.events == [events.RecoveryFailed(error="RuntimeError")]


async def test_an_obsolete_key_is_logged_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    host = PluginHost()
    channel = await host.start(shortPath=False)
    await host.hook.maven_channel_stop(channel=channel)
    logged = [record for record in caplog.records if record.message == "wecom setting obsolete"]
    assert [record.__dict__["fields"] for record in logged] == [{"channel": "wecom", "key": "shortPath"}]


async def test_repeated_starts_and_stops_leave_no_task_and_no_metric() -> None:
    host = PluginHost()
    before = len(asyncio.all_tasks())
    for _ in range(20):
        await host.hook.maven_channel_stop(channel=await host.start())
    assert len(asyncio.all_tasks()) == before
    assert generate_latest(host.metrics) == b""


class RegisteringHost(PluginHost):
    """A host that knows a channel only after its start, and deals with a message when `gate` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.channel: WeComChannel | None = None
        self.gate = asyncio.Event()
        self.published: asyncio.Queue[bool] = asyncio.Queue()

    async def publish(self, message: InboundMessage) -> None:
        """Record whether the channel was known."""
        self.published.put_nowait(self.channel is not None)
        await self.gate.wait()


@pytest.mark.parametrize("in_a_task", [False, True])
async def test_a_recovered_message_is_published_only_after_the_start(tmp_path: Path, *, in_a_task: bool) -> None:
    settings: dict[str, Any] = {"state": f"sqlite:{tmp_path}/state.db", "drainSeconds": 0}
    first, second = RegisteringHost(), RegisteringHost()
    async with (
        asyncio.timeout(WAIT_SECONDS),
        SimulatedWeCom(token=ENTRY["token"], encoding_aes_key=ENTRY["encodingAESKey"]) as wecom,
    ):
        first.channel = await first.start(**settings)
        wecom.callback_url = f"http://127.0.0.1:{first.channel.port}/wecom/bot"
        assert (await wecom.send(Text("canary"))).acknowledged
        assert await first.published.get()
        await first.hook.maven_channel_stop(channel=first.channel)
        starting = second.start(**settings)
        second.channel = await (asyncio.create_task(starting) if in_a_task else starting)
        second.gate.set()
        assert await second.published.get()
        await second.hook.maven_channel_stop(channel=second.channel)


async def test_nothing_delays_the_end_of_a_start_once_the_channel_listens() -> None:
    """A callback in between would be acknowledged, and lost if the start is cancelled."""
    host = RegisteringHost()
    channel = await host.start()
    assert not channel.started.is_set()
    await asyncio.sleep(0)
    assert channel.started.is_set()
    await host.hook.maven_channel_stop(channel=channel)


async def test_a_host_that_knows_no_events_is_told_of_none(caplog: pytest.LogCaptureFixture) -> None:
    """Hosts of the first version of the contract have six hooks."""
    host = PluginHost()
    channel = await host.start()
    event = Callback(message_id="e1", type="event", sender_id="alice", event=Event("enter_chat", {}))
    channel.report_event(AdmittedCallback(event, 1.0, MediaUse("single:alice")), pluggy.PluginManager("maven").hook)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    await host.hook.maven_channel_stop(channel=channel)


async def test_a_stall_is_measured() -> None:
    emitted: asyncio.Queue[events.TelemetryEvent] = asyncio.Queue()

    async def lag_seconds() -> float:
        event = await emitted.get()
        assert isinstance(event, events.LoopLagged)
        return event.seconds

    measuring = asyncio.create_task(measure_loop_lag(emitted.put_nowait, interval_seconds=0.01))
    assert await lag_seconds() >= 0
    # This blocks the event loop on purpose.
    time.sleep(0.2)  # noqa: ASYNC251
    assert max(await lag_seconds(), await lag_seconds()) >= 0.15
    measuring.cancel()
