"""Tests for the outcomes of a delivery; it is retried only if the reply cannot have arrived."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.simulator.faults import (
    CutBody,
    Errcode,
    HtmlPage,
    ResetAfterReading,
    ResetBeforeReading,
    Stall,
    Status,
)
from maven_channel_wecom.simulator.messages import Text
from maven_channel_wecom.telemetry.trail import trail_id
from tests.e2e.deployment import Deployment
from tests.e2e.manual_clock import ManualClock
from tests.e2e.recording_agent import RecordingAgent

if TYPE_CHECKING:
    from maven_channel_wecom.contract.messages import InboundMessage
    from maven_channel_wecom.simulator.faults import Fault
    from tests.e2e.watch import Watch

TRANSIENT: dict[str, tuple[Fault, str]] = {
    "-1": (Errcode(-1), "busy"),
    "6000": (Errcode(6000), "conflict"),
    "45033": (Errcode(45033), "concurrency"),
    "500": (Status(500), "http_5xx"),
    "502": (Status(502), "http_5xx"),
    "503": (Status(503), "http_5xx"),
}
REFUSED: dict[str, tuple[Fault, str]] = {
    "44004": (Errcode(44004), "empty"),
    "45002": (Errcode(45002), "too_long"),
    "40008": (Errcode(40008), "invalid_type"),
    "40033": (Errcode(40033), "invalid_characters"),
    "60140": (Errcode(60140), "window_spent"),
    "45009": (Errcode(45009), "rate_limit"),
    "an unknown errcode": (Errcode(99999), "errcode"),
    "302": (Status(302), "http_3xx"),
    "400": (Status(400), "http_4xx"),
    "404": (Status(404), "http_4xx"),
    "429": (Status(429), "http_4xx"),
}
UNKNOWN: dict[str, tuple[Fault, str]] = {
    "reset before reading": (ResetBeforeReading(), "reset"),
    "reset after reading": (ResetAfterReading(), "reset"),
    "a response cut short": (CutBody(), "reset"),
    "an HTML page": (HtmlPage(), "unreadable_answer"),
}


@pytest.mark.parametrize(("fault", "reason"), TRANSIENT.values(), ids=list(TRANSIENT))
async def test_a_transient_failure_is_retried_until_the_third_attempt(watch: Watch, fault: Fault, reason: str) -> None:
    """The retry delays grow, and only one reply becomes visible."""
    clock = ManualClock()
    async with Deployment(watch, clock=clock) as deployment:
        deployment.wecom.reply_faults.add(fault, fault)
        sent = await deployment.send(Text("are you there?"))
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        assert (receipt.outcome, receipt.reason, receipt.attempts) == ("delivered", "", 3)
        assert deployment.wecom.recorded.posts == {sent.message_id: 3}
        assert len(deployment.wecom.recorded.replies) == 1
        assert await deployment.metric("reply_attempts_total") == 3
        assert await deployment.metric("reply_retries_total", reason=reason) == 2
        assert await deployment.metric("replies_total", outcome="delivered", reason="ok") == 1
    assert clock.slept == [0.5, 2.0]


@pytest.mark.parametrize(("fault", "reason"), TRANSIENT.values(), ids=list(TRANSIENT))
async def test_after_three_transient_failures_the_reply_is_undeliverable_and_its_window_open(
    watch: Watch, fault: Fault, reason: str
) -> None:
    """The reply cannot have arrived, so a later reply may use the window."""
    async with Deployment(watch, clock=ManualClock()) as deployment:
        deployment.wecom.reply_faults.add(fault, fault, fault)
        sent = await deployment.send(Text("are you there?"))
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        assert (receipt.outcome, receipt.reason, receipt.attempts) == ("undeliverable", reason, 3)
        assert deployment.wecom.recorded.posts == {sent.message_id: 3}
        assert (await deployment.deliver("now it works", reply_to=sent.message_id)).outcome == "delivered"


@pytest.mark.parametrize(("fault", "reason"), REFUSED.values(), ids=list(REFUSED))
async def test_a_refused_reply_is_not_retried_and_spends_its_window(watch: Watch, fault: Fault, reason: str) -> None:
    clock = ManualClock()
    async with Deployment(watch, clock=clock) as deployment:
        deployment.wecom.reply_faults.add(fault)
        sent = await deployment.send(Text("are you there?"))
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        assert (receipt.outcome, receipt.reason, receipt.attempts) == ("refused", reason, 1)
        assert (await deployment.deliver("once more", reply_to=sent.message_id)).reason == "no_reply_window"
        assert deployment.wecom.recorded.posts == {sent.message_id: 1}
        assert await deployment.metric("replies_total", outcome="refused", reason=reason) == 1
    assert clock.slept == []


@pytest.mark.parametrize(("fault", "reason"), UNKNOWN.values(), ids=list(UNKNOWN))
async def test_a_reply_without_a_readable_response_is_unknown_and_not_retried(
    watch: Watch, fault: Fault, reason: str
) -> None:
    """A retry could deliver the reply twice."""
    async with Deployment(watch, clock=ManualClock()) as deployment:
        deployment.wecom.reply_faults.add(fault)
        sent = await deployment.send(Text("are you there?"))
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        assert (receipt.outcome, receipt.reason, receipt.attempts) == ("unknown", reason, 1)
        assert (await deployment.deliver("once more", reply_to=sent.message_id)).reason == "no_reply_window"
        assert deployment.wecom.recorded.posts == {sent.message_id: 1}
        assert await deployment.metric("replies_total", outcome="unknown", reason=reason) == 1


async def test_a_reply_without_a_response_in_time_is_unknown(watch: Watch) -> None:
    """The timeout of the POST is shortened to the end of the reply window."""
    clock = ManualClock()

    def reply(message: InboundMessage) -> str:
        clock.pass_seconds(3589.7)
        return message.content

    async with Deployment(watch, agent=RecordingAgent(reply), clock=clock) as deployment:
        deployment.wecom.reply_faults.add(Stall())
        sent = await deployment.send(Text("take your time"))
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        assert (receipt.outcome, receipt.reason, receipt.attempts) == ("unknown", "timeout", 1)
        assert deployment.wecom.recorded.posts == {sent.message_id: 1}


async def test_no_attempt_begins_after_the_end_of_the_reply_window(watch: Watch) -> None:
    """With one second left there is no retry after a delay of two seconds."""
    clock = ManualClock()

    def reply(message: InboundMessage) -> str:
        clock.pass_seconds(3588.5)
        return message.content

    async with Deployment(watch, agent=RecordingAgent(reply), clock=clock) as deployment:
        deployment.wecom.reply_faults.add(Errcode(-1), Errcode(-1), Errcode(-1))
        sent = await deployment.send(Text("take your time"))
        receipt = await deployment.auditor.receipt_for(sent.message_id)
    assert (receipt.outcome, receipt.reason, receipt.attempts) == ("undeliverable", "busy", 2)


async def test_a_failed_connection_is_retried_until_the_third_attempt(watch: Watch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        callback = {
            "msgid": "m-1",
            "msgtype": "text",
            "chattype": "single",
            "from": {"userid": "alice"},
            "response_url": f"http://127.0.0.1:{port}/cgi-bin/aibot/response?response_code=canary-code",
            "text": {"content": "no server listens there"},
        }
        watch.register("a response code", "canary-code", "no server listens there")
        clock = ManualClock()
        async with Deployment(watch, clock=clock) as deployment:
            await deployment.wecom.send_plaintext(json.dumps(callback).encode(), message_id="m-1")
            receipt = await deployment.auditor.receipt_for("m-1")
            assert await deployment.metric("reply_retries_total", reason="connect") == 2
    assert (receipt.outcome, receipt.reason, receipt.attempts) == ("undeliverable", "connect", 3)
    assert clock.slept == [0.5, 2.0]


async def test_the_installed_channel_retries_by_the_system_clock(watch: Watch) -> None:
    """The first retry delay is at most half a second."""
    async with Deployment(watch) as deployment:
        deployment.wecom.reply_faults.add(Errcode(-1))
        assert await deployment.ask("are you there?") == "are you there?"
        assert await deployment.metric("reply_retries_total", reason="busy") == 1


async def test_an_errcode_is_logged_with_its_meaning(watch: Watch) -> None:
    """WeCom's own error text is not logged."""
    async with Deployment(watch) as deployment:
        deployment.wecom.reply_faults.add(Errcode(45002))
        sent = await deployment.send(Text("are you there?"))
        await deployment.auditor.receipt_for(sent.message_id)
    assert watch.logged("wecom reply not accepted") == [
        {
            "channel": "wecom",
            "trail": trail_id("wecom", sent.message_id),
            "errcode": 45002,
            "meaning": "content too long",
        }
    ]
    (fields,) = watch.logged("wecom reply not delivered")
    assert (fields["outcome"], fields["reason"]) == ("refused", "too_long")


async def test_a_failed_delivery_does_not_affect_the_next_reply(watch: Watch) -> None:
    async with Deployment(watch, clock=ManualClock()) as deployment:
        deployment.wecom.reply_faults.add(Status(404), ResetAfterReading(), HtmlPage())
        for words in ("lost the first", "lost the second", "lost the third"):
            sent = await deployment.send(Text(words))
            await deployment.auditor.receipt_for(sent.message_id)
        assert await deployment.ask("and now again") == "and now again"
