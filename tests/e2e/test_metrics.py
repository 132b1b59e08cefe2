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
from tests.e2e.journey import Journey

if TYPE_CHECKING:
    from tests.e2e.watching import Watch

DOCUMENTED = tomllib.loads((Path(__file__).parents[2] / "plugin.toml").read_text(encoding="utf-8"))["metric"]


async def test_every_documented_metric_is_there_from_the_start(watch: Watch) -> None:
    """With its channel, before the first callback; what counts stands at zero, but for a first look at the state."""
    async with Journey(watch) as journey:
        samples = await journey.metrics()
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
        assert await journey.metric("build_info", version=__version__) == 1


async def test_a_day_of_messages_adds_no_series(watch: Watch) -> None:
    """Nothing a caller sends becomes a label: not a user, not a group, not a type, not a reason."""
    async with Journey(watch) as journey:
        await journey.metrics()
        before = set(await journey.metrics())
        for number in range(12):
            await journey.ask(f"good morning from {number}", user=f"user-{number}", group=f"group-{number}")
            await journey.send(Unknown(f"type-{number}"))
            await journey.send(EnterChat(), user=f"user-{number}")
        journey.wecom.media_faults.add(Expired())
        await journey.ask(Image(draw_png(4, 4)))
        journey.wecom.reply_faults.add(Errcode(31_337))
        sent = await journey.send(Text("refuse this one"))
        await journey.auditor.receipt_for(sent.message_id)
        assert set(await journey.metrics()) == before


async def test_one_answered_message_moves_what_it_should(watch: Watch) -> None:
    """Every value that is not zero afterwards, by name."""
    async with Journey(watch) as journey:
        before = await journey.metrics()
        await journey.ask(Voice("count me exactly once"))
        await journey.settled()
        after = await journey.metrics()
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
    async with Journey(watch) as journey:
        await journey.wecom.request("POST", query="msg_signature=0&timestamp=1700000000&nonce=n", body=b"{}")
        assert await journey.metric("callback_seconds_count") == 0
        await journey.ask("time this one")
        assert await journey.metric("callback_seconds_count") == 1


async def test_the_gauges_show_what_is_in_hand(watch: Watch) -> None:
    """Messages that are not finished, and how many can still be answered."""
    agent = Listener()
    gates = [agent.hold("a slow one here"), agent.hold("a slow one there")]
    async with Journey(watch, agent=agent) as journey:
        sent = [await journey.send(Text(words)) for words in ("a slow one here", "a slow one there")]
        await agent.hears("a slow one there")
        assert await journey.metric("inbox_messages") == 2
        assert await journey.metric("reply_windows") == 2
        assert await journey.metric("inbox_oldest_seconds") > 0
        for gate in gates:
            gate.set()
        await asyncio.gather(*(each.reply() for each in sent))
        await journey.settled()
        assert await journey.metric("reply_windows") == 0
        assert await journey.metric("inbox_oldest_seconds") == 0
