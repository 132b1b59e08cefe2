"""What becomes of an answer: four outcomes, and a repeat only where it surely did not arrive."""

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
from tests.e2e.agents import Listener
from tests.e2e.deployment import Deployment
from tests.e2e.hand_clock import HandClock

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
    "an errcode of tomorrow": (Errcode(99999), "errcode"),
    "302": (Status(302), "http_3xx"),
    "400": (Status(400), "http_4xx"),
    "404": (Status(404), "http_4xx"),
    "429": (Status(429), "http_4xx"),
}
UNKNOWN: dict[str, tuple[Fault, str]] = {
    "reset before reading": (ResetBeforeReading(), "reset"),
    "reset after reading": (ResetAfterReading(), "reset"),
    "an answer cut short": (CutBody(), "reset"),
    "a page of some proxy": (HtmlPage(), "unreadable_answer"),
}


@pytest.mark.parametrize(("fault", "reason"), TRANSIENT.values(), ids=list(TRANSIENT))
async def test_a_passing_trouble_is_tried_three_times(watch: Watch, fault: Fault, reason: str) -> None:
    """The third attempt succeeds: one visible answer, two counted repeats, growing pauses between."""
    clock = HandClock()
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
async def test_after_three_attempts_the_answer_is_undeliverable_and_its_window_open(
    watch: Watch, fault: Fault, reason: str
) -> None:
    """It surely did not arrive, so somebody may try again later."""
    async with Deployment(watch, clock=HandClock()) as deployment:
        deployment.wecom.reply_faults.add(fault, fault, fault)
        sent = await deployment.send(Text("are you there?"))
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        assert (receipt.outcome, receipt.reason, receipt.attempts) == ("undeliverable", reason, 3)
        assert deployment.wecom.recorded.posts == {sent.message_id: 3}
        assert (await deployment.deliver("now it works", reply_to=sent.message_id)).outcome == "delivered"


@pytest.mark.parametrize(("fault", "reason"), REFUSED.values(), ids=list(REFUSED))
async def test_a_refusal_is_final(watch: Watch, fault: Fault, reason: str) -> None:
    """One attempt, no repeat, and the window counts as spent."""
    clock = HandClock()
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
async def test_an_answer_that_was_lost_is_unknown_and_not_repeated(watch: Watch, fault: Fault, reason: str) -> None:
    """It may have arrived, and twice the same text is worse than none."""
    async with Deployment(watch, clock=HandClock()) as deployment:
        deployment.wecom.reply_faults.add(fault)
        sent = await deployment.send(Text("are you there?"))
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        assert (receipt.outcome, receipt.reason, receipt.attempts) == ("unknown", reason, 1)
        assert (await deployment.deliver("once more", reply_to=sent.message_id)).reason == "no_reply_window"
        assert deployment.wecom.recorded.posts == {sent.message_id: 1}
        assert await deployment.metric("replies_total", outcome="unknown", reason=reason) == 1


async def test_a_reply_that_gets_no_answer_in_time_is_unknown(watch: Watch) -> None:
    """Here the end of its window cuts the wait short; the text was carried out and is not sent again."""
    clock = HandClock()

    def think(message: InboundMessage) -> str:
        clock.pass_seconds(3589.7)
        return message.content

    async with Deployment(watch, agent=Listener(think), clock=clock) as deployment:
        deployment.wecom.reply_faults.add(Stall())
        sent = await deployment.send(Text("take your time"))
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        assert (receipt.outcome, receipt.reason, receipt.attempts) == ("unknown", "timeout", 1)
        assert deployment.wecom.recorded.posts == {sent.message_id: 1}


async def test_no_attempt_begins_after_the_end_of_the_window(watch: Watch) -> None:
    """With a second left there is no pause of two seconds."""
    clock = HandClock()

    def think(message: InboundMessage) -> str:
        clock.pass_seconds(3588.5)
        return message.content

    async with Deployment(watch, agent=Listener(think), clock=clock) as deployment:
        deployment.wecom.reply_faults.add(Errcode(-1), Errcode(-1), Errcode(-1))
        sent = await deployment.send(Text("take your time"))
        receipt = await deployment.auditor.receipt_for(sent.message_id)
    assert (receipt.outcome, receipt.reason, receipt.attempts) == ("undeliverable", "busy", 2)


async def test_a_connection_that_is_never_made_is_tried_three_times(watch: Watch) -> None:
    """Nothing left this machine, so nothing can arrive twice."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        callback = {
            "msgid": "m-1",
            "msgtype": "text",
            "chattype": "single",
            "from": {"userid": "alice"},
            "response_url": f"http://127.0.0.1:{port}/cgi-bin/aibot/response?response_code=canary-code",
            "text": {"content": "nobody listens there"},
        }
        watch.keep("a response code", "canary-code", "nobody listens there")
        clock = HandClock()
        async with Deployment(watch, clock=clock) as deployment:
            await deployment.wecom.send_plaintext(json.dumps(callback).encode(), message_id="m-1")
            receipt = await deployment.auditor.receipt_for("m-1")
            assert await deployment.metric("reply_retries_total", reason="connect") == 2
    assert (receipt.outcome, receipt.reason, receipt.attempts) == ("undeliverable", "connect", 3)
    assert clock.slept == [0.5, 2.0]


async def test_the_channel_as_installed_repeats_by_a_real_clock(watch: Watch) -> None:
    """One real pause of at most half a second, none of it put together by hand."""
    async with Deployment(watch) as deployment:
        deployment.wecom.reply_faults.add(Errcode(-1))
        assert await deployment.ask("are you there?") == "are you there?"
        assert await deployment.metric("reply_retries_total", reason="busy") == 1


async def test_an_errcode_is_logged_with_its_meaning(watch: Watch) -> None:
    """In words, beside the message it is about, and without WeCom's own text."""
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


async def test_an_answer_that_could_not_be_delivered_does_not_stop_the_next_one(watch: Watch) -> None:
    """Whatever happened to the last, the next message is answered."""
    async with Deployment(watch, clock=HandClock()) as deployment:
        deployment.wecom.reply_faults.add(Status(404), ResetAfterReading(), HtmlPage())
        for words in ("lost the first", "lost the second", "lost the third"):
            sent = await deployment.send(Text(words))
            await deployment.auditor.receipt_for(sent.message_id)
        assert await deployment.ask("and now again") == "and now again"
