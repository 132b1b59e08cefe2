"""`/metrics` as documented: every series from the start, each moved by what it counts, and never one more."""

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
from tests.e2e.agents import Listener
from tests.e2e.deployment import Deployment

if TYPE_CHECKING:
    from tests.e2e.watch import Watch

DOCUMENTED = tomllib.loads((Path(__file__).parents[2] / "plugin.toml").read_text(encoding="utf-8"))["metric"]


async def test_every_documented_metric_is_there_from_the_start(watch: Watch) -> None:
    """With its channel, before the first callback; what counts stands at zero, but for a first look at the state."""
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
                moved = {dict(labels).get("operation") for labels, value in series.items() if value}
                assert moved <= {"unfinished"}, metric["name"]
        assert await deployment.metric("build_info", version=__version__) == 1


async def test_a_day_of_messages_adds_no_series(watch: Watch) -> None:
    """Nothing a caller sends becomes a label: not a user, not a group, not a type, not a reason."""
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


async def test_one_answered_message_moves_what_it_should(watch: Watch) -> None:
    """Every value that is not zero afterwards, by name."""
    async with Deployment(watch) as deployment:
        before = await deployment.metrics()
        await deployment.ask(Voice("count me exactly once"))
        await deployment.settled()
        after = await deployment.metrics()
    moved = {
        (name.removeprefix("maven_wecom_"), *sorted(value for label, value in labels if label not in {"channel", "le"}))
        for (name, labels), value in after.items()
        if value != before[name, labels]
        and name.startswith(("maven_wecom", "maven_agent"))
        and not name.endswith("_created")
        # What a channel looks for by itself, every now and then.
        and "loop_lag" not in name
        and ("operation", "unfinished") not in labels
    }
    steps = {"admit", "claim_window", "spend_window", "finish"}
    assert moved == {
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
        *((f"state_seconds_{part}", step) for part in ("bucket", "count", "sum") for step in steps),
        ("answer_seconds_bucket",),
        ("answer_seconds_count",),
        ("answer_seconds_sum",),
        ("maven_agent_turns_total", "answered"),
    }


async def test_only_acknowledgements_are_timed(watch: Watch) -> None:
    """A stranger's requests, however many and however slow, say nothing about how WeCom is served."""
    async with Deployment(watch) as deployment:
        await deployment.wecom.request("POST", query="msg_signature=0&timestamp=1700000000&nonce=n", body=b"{}")
        assert await deployment.metric("callback_seconds_count") == 0
        await deployment.ask("time this one")
        assert await deployment.metric("callback_seconds_count") == 1


async def test_the_gauges_show_what_is_in_hand(watch: Watch) -> None:
    """Messages that are not finished, and how many can still be answered."""
    agent = Listener()
    gates = [agent.hold("a slow one here"), agent.hold("a slow one there")]
    async with Deployment(watch, agent=agent) as deployment:
        sent = [await deployment.send(Text(words)) for words in ("a slow one here", "a slow one there")]
        await agent.hears("a slow one there")
        assert await deployment.metric("inbox_messages") == 2
        assert await deployment.metric("reply_windows") == 2
        assert await deployment.metric("inbox_oldest_seconds") > 0
        for gate in gates:
            gate.set()
        await asyncio.gather(*(each.reply() for each in sent))
        await deployment.settled()
        assert await deployment.metric("reply_windows") == 0
        assert await deployment.metric("inbox_oldest_seconds") == 0
