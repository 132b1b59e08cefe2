"""Tests for callbacks that are not messages: acknowledged, counted, logged once, and never passed to the agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.sentences import MESSAGE_TYPE_UNKNOWN
from maven_channel_wecom.simulator.messages import CardClick, EnterChat, Feedback, StreamRefresh, Text, Unknown
from maven_channel_wecom.telemetry.trail import trail_id
from tests.e2e.deployment import Deployment
from tests.e2e.recording_agent import RecordingAgent

if TYPE_CHECKING:
    from maven_channel_wecom.contract.messages import InboundEvent
    from maven_channel_wecom.simulator.messages import Event
    from tests.e2e.watch import Watch

EVENTS = [
    (EnterChat(), "enter_chat", {}),
    (
        CardClick("approve", "task-7"),
        "template_card_event",
        {"card_type": "button_interaction", "event_key": "approve", "task_id": "task-7"},
    ),
    (
        Feedback("feedback-9", 2, content="the answer was wrong", inaccurate_reasons=(1, 3)),
        "feedback_event",
        {"feedback_id": "feedback-9", "feedback_type": 2, "inaccurate_reasons": [1, 3]},
    ),
]


@pytest.mark.parametrize(("event", "kind", "details"), EVENTS, ids=[kind for _, kind, _ in EVENTS])
async def test_an_event_is_acknowledged_counted_and_logged_once(
    watch: Watch, event: Event, kind: str, details: dict[str, object]
) -> None:
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent) as deployment:
        sent = await deployment.send(event)
        assert sent.acknowledgement == b'"success"'
        await deployment.ask("the first real message")
        assert await deployment.metric("callbacks_total", kind="event", outcome="accepted") == 1
        assert await deployment.metric("inbound_messages_total", type=kind, outcome="acknowledged") == 1
        assert await deployment.metric("reply_windows") == 0
    assert agent.texts == ["the first real message"]
    named = {"channel": "wecom", "trail": trail_id("wecom", sent.message_id), "message_id": sent.message_id}
    expected = named | {"event": kind} | details
    assert watch.logged("wecom event acknowledged") == [expected]


async def test_an_event_delivered_twice_counts_once(watch: Watch) -> None:
    """The second delivery is acknowledged and counted as a duplicate."""
    async with Deployment(watch) as deployment:
        sent = await deployment.send(EnterChat())
        assert (await deployment.wecom.redeliver(sent)).acknowledged
        assert await deployment.metric("inbound_messages_total", type="enter_chat", outcome="acknowledged") == 1
        assert await deployment.metric("callbacks_total", kind="event", outcome="duplicate") == 1
        assert await deployment.metric("dedup_hits_total") == 1


async def test_an_undocumented_event_counts_as_other_event(watch: Watch) -> None:
    """The name of such an event appears neither in a label nor in the log."""
    async with Deployment(watch) as deployment:
        opened = (
            b'{"msgid":"m-1","msgtype":"event","from":{"userid":"alice"},"chattype":"single",'
            b'"event":{"eventtype":"surprise_party"}}'
        )
        watch.register("an unknown event", "surprise_party")
        assert (await deployment.wecom.send_plaintext(opened, message_id="m-1")).acknowledged
        assert await deployment.metric("inbound_messages_total", type="other_event", outcome="acknowledged") == 1


async def test_a_stream_refresh_is_acknowledged_and_counted_as_unsupported(watch: Watch) -> None:
    """This channel never starts a stream, so a refresh has no answer."""
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent) as deployment:
        assert (await deployment.send(StreamRefresh("stream-1"))).acknowledgement == b'"success"'
        await deployment.ask("a message after it")
        assert await deployment.metric("inbound_messages_total", type="stream", outcome="unsupported") == 1
    assert agent.texts == ["a message after it"]


async def test_a_message_of_an_unknown_type_is_acknowledged_counted_as_unsupported_and_explained(watch: Watch) -> None:
    """A warning has the message id but not the unknown type, which could be any text. The agent is not asked."""
    agent = RecordingAgent()
    watch.register("an unknown type", "holographic_message")
    async with Deployment(watch, agent=agent) as deployment:
        sent = await deployment.send(Unknown("holographic_message", {"depth": 3}))
        assert sent.acknowledgement == b'"success"'
        assert (await sent.reply()).content == MESSAGE_TYPE_UNKNOWN.zh
        assert (await deployment.wecom.redeliver(sent)).acknowledged
        assert await deployment.metric("explanations_total", reason="unknown_type") == 1
        await deployment.ask("a message after it")
        assert await deployment.metric("inbound_messages_total", type="unknown", outcome="unsupported") == 1
        assert await deployment.metric("callbacks_total", kind="message", outcome="accepted") == 2
    assert agent.texts == ["a message after it"]
    assert [fields["message_id"] for fields in watch.logged("wecom message type unknown")] == [sent.message_id]


async def test_a_person_who_enters_is_greeted_in_the_answer_to_the_event(watch: Watch) -> None:
    """The simulator judges the answer. A refused person is not greeted."""
    settings = {"welcomeText": {"zh": "您好", "en": "Hello, ask me anything."}, "allowFrom": ["alice", "bob"]}
    async with Deployment(watch, settings) as deployment:
        assert (await deployment.send(EnterChat())).welcome == "您好"
        await deployment.ask("good morning")
        entered = await deployment.send(EnterChat())
        assert entered.welcome == "Hello, ask me anything."
        assert (await deployment.wecom.redeliver(entered)).welcome == "Hello, ask me anything."
        refused = await deployment.send(EnterChat(), user="wangwu")
        assert (refused.welcome, refused.acknowledgement) == (None, b'"success"')
        assert await deployment.metric("welcomes_total") == 2


async def test_a_rating_is_counted_and_logged_with_the_trail_of_the_answered_message(watch: Watch) -> None:
    """The id in the answer is the trail itself, so this also works after a restart. The comment is not logged."""
    async with Deployment(watch, {"feedback": True}) as deployment:
        sent = await deployment.send(Text("please rate my answer"))
        reply = await sent.reply()
        assert reply.feedback_id == trail_id("wecom", sent.message_id)
        await deployment.send(Feedback(reply.feedback_id, 2, content="far too short", inaccurate_reasons=(2, 4)))
        await deployment.send(Feedback(reply.feedback_id, 3))
        await deployment.send(Feedback("alice-made-this-up", 1))
        for kind in ("accurate", "inaccurate", "withdrawn"):
            assert await deployment.metric("feedback_total", kind=kind) == 1
        assert await deployment.metric("feedback_reasons_total", reason="incomplete") == 1
        assert await deployment.metric("feedback_reasons_total", reason="data_analysis") == 1
    logged = [(fields.get("trail"), fields["kind"]) for fields in watch.logged("wecom feedback received")]
    trail = trail_id("wecom", sent.message_id)
    assert logged == [(trail, "inaccurate"), (trail, "withdrawn"), (None, "accurate")]


async def test_without_feedback_an_answer_cannot_be_rated(watch: Watch) -> None:
    async with Deployment(watch) as deployment:
        assert (await (await deployment.send(Text("no stars for me"))).reply()).feedback_id == ""


class Listener:
    """Plugin that keeps every event, and then fails if it was told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.heard: list[InboundEvent] = []
        self._fails = fails

    @hookimpl
    def maven_inbound_event(self, event: InboundEvent) -> str:
        self.heard.append(event)
        if self._fails:
            raise ValueError(event.data)
        return "ignored"


async def test_other_plugins_learn_of_entries_and_feedback_once(watch: Watch) -> None:
    """Neither `welcomeText` nor `feedback` is needed for it."""
    listener = Listener()
    async with Deployment(watch, plugins=[listener]) as deployment:
        entered = await deployment.send(EnterChat())
        await deployment.wecom.redeliver(entered)
        await deployment.send(Feedback("0123456789ab", 2, content="far too short", inaccurate_reasons=(2,)))
        await deployment.send(CardClick("approve", "task-1"))
        await deployment.wait_until_idle()
    entry, feedback = listener.heard
    assert (entry.channel, entry.kind, entry.sender_id, entry.chat_id) == ("wecom", "enter_chat", "alice", "alice")
    assert feedback.kind == "feedback"
    assert feedback.data["comment"] == "far too short"


async def test_a_plugin_that_fails_on_an_event_affects_nothing_else(watch: Watch) -> None:
    async with Deployment(watch, plugins=[Listener(fails=True)]) as deployment:
        assert (await deployment.send(Feedback("f1", 2, content="my own words here"))).acknowledged
        assert await deployment.ask("are you there?") == "are you there?"
    assert [fields["error"] for fields in watch.logged("wecom event hook failed")] == ["ValueError"]
