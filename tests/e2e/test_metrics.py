"""Tests that `/metrics` exposes every documented series from the start, updates it, and gains no other series."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from maven_channel_wecom import __version__
from maven_channel_wecom.simulator.faults import Errcode
from maven_channel_wecom.simulator.media_faults import Expired
from maven_channel_wecom.simulator.messages import EnterChat, Image, Text, Unknown, Voice
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.deployment import Deployment
from tests.e2e.recording_agent import RecordingAgent

if TYPE_CHECKING:
    from tests.e2e.watch import Watch

DOCUMENTED = tomllib.loads((Path(__file__).parents[2] / "plugin.toml").read_text(encoding="utf-8"))["metric"]


async def test_every_documented_metric_is_exposed_before_the_first_callback(watch: Watch) -> None:
    """Counters and histograms are zero, except those of the state's `unfinished` operation, which runs at start."""
    async with Deployment(watch) as deployment:
        samples = await deployment.metrics()
        for metric in DOCUMENTED:
            series = {
                labels: value
                for (name, labels), value in samples.items()
                if name in {metric["name"], f"{metric['name']}_count"} and ("channel", "wecom") in labels
            }
            assert series, metric["name"]
            if metric["type"] != "gauge":
                changed = {dict(labels).get("operation") for labels, value in series.items() if value}
                assert changed <= {"unfinished"}, metric["name"]
        assert await deployment.metric("build_info", version=__version__) == 1


async def test_messages_add_no_series(watch: Watch) -> None:
    """No value that a caller sends becomes a label."""
    async with Deployment(watch) as deployment:
        await deployment.metrics()
        before = set(await deployment.metrics())
        for number in range(12):
            await deployment.ask(f"good morning from {number}", user=f"user-{number}", group=f"group-{number}")
            await deployment.send(Unknown(f"type-{number}"))
            await deployment.send(EnterChat(), user=f"user-{number}")
        deployment.wecom.media_faults.add(Expired())
        await deployment.ask(Image(draw_png(4, 4)))
        deployment.wecom.reply_faults.add(Errcode(31_337))
        sent = await deployment.send(Text("refuse this one"))
        await deployment.auditor.receipt_for(sent.message_id)
        assert set(await deployment.metrics()) == before


async def test_one_answered_message_changes_exactly_these_series(watch: Watch) -> None:
    async with Deployment(watch) as deployment:
        before = await deployment.metrics()
        await deployment.ask(Voice("count me exactly once"))
        await deployment.wait_until_idle()
        after = await deployment.metrics()
    changed = {
        (name.removeprefix("maven_wecom_"), *sorted(value for label, value in labels if label not in {"channel", "le"}))
        for (name, labels), value in after.items()
        if value != before[name, labels]
        and name.startswith(("maven_wecom", "maven_agent"))
        and not name.endswith("_created")
        # The channel updates these periodically, without a message.
        and "loop_lag" not in name
        and ("operation", "unfinished") not in labels
    }
    operations = {"admit", "claim_window", "spend_window", "finish"}
    assert changed == {
        ("callbacks_total", "accepted", "message"),
        ("callback_seconds_bucket",),
        ("callback_seconds_count",),
        ("callback_seconds_sum",),
        ("inbound_messages_total", "published", "voice"),
        ("replies_total", "delivered", "ok"),
        ("reply_attempts_total",),
        ("last_callback_timestamp_seconds",),
        ("clock_skew_seconds",),
        ("connections",),
        *((f"state_seconds_{part}", operation) for part in ("bucket", "count", "sum") for operation in operations),
        ("answer_seconds_bucket",),
        ("answer_seconds_count",),
        ("answer_seconds_sum",),
        ("first_sign_seconds_bucket",),
        ("first_sign_seconds_count",),
        ("first_sign_seconds_sum",),
        ("maven_agent_turns_total", "answered"),
    }


async def test_only_acknowledgements_are_timed(watch: Watch) -> None:
    """Rejected requests, however slow, do not appear in the histogram."""
    async with Deployment(watch) as deployment:
        await deployment.wecom.request("POST", query="msg_signature=0&timestamp=1700000000&nonce=n", body=b"{}")
        assert await deployment.metric("callback_seconds_count") == 0
        await deployment.ask("time this one")
        assert await deployment.metric("callback_seconds_count") == 1


async def test_the_gauges_count_messages_in_progress_and_open_windows(watch: Watch) -> None:
    agent = RecordingAgent()
    gates = [agent.hold("a slow one here"), agent.hold("a slow one there")]
    async with Deployment(watch, agent=agent) as deployment:
        words_by_user = {"alice": "a slow one here", "bob": "a slow one there"}
        sent = [await deployment.send(Text(words), user=user) for user, words in words_by_user.items()]
        await agent.received("a slow one there")
        assert await deployment.metric("inbox_messages") == 2
        assert await deployment.metric("reply_windows") == 2
        assert await deployment.metric("inbox_oldest_seconds") > 0
        for gate in gates:
            gate.set()
        await asyncio.gather(*(each.reply() for each in sent))
        await deployment.wait_until_idle()
        assert await deployment.metric("reply_windows") == 0
        assert await deployment.metric("inbox_oldest_seconds") == 0
