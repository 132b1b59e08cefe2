"""A callback's way in where the state or our own code fails, and what an earlier process left."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from maven_channel_wecom.callback_log import CallbackLog
from maven_channel_wecom.config import read_config
from maven_channel_wecom.contract.messages import InboundMessage
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.inbound import Inbound
from maven_channel_wecom.inbox import AdmittedCallback, Inbox
from maven_channel_wecom.intake import Intake
from maven_channel_wecom.later import Later
from maven_channel_wecom.log_limit import LogLimit
from maven_channel_wecom.media_room import MediaRoom
from maven_channel_wecom.policy.media_blocks import BLOCK_BYTES
from maven_channel_wecom.protocol import envelope
from maven_channel_wecom.recovery import recover
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.port import KeptCallback
from tests.fakes.clock import FakeClock
from tests.fakes.host import channel_metrics

if TYPE_CHECKING:
    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.transport.callback_answer import CallbackAnswer

CONFIG = read_config("wecom", {"token": "t", "encodingAESKey": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"})


def message(message_id: str, type_: str = "text") -> bytes:
    payload = {"eventtype": "enter_chat"} if type_ == "event" else {"content": "canary"}
    return json.dumps(
        {"msgid": message_id, "chattype": "single", "from": {"userid": "alice"}, "msgtype": type_, type_: payload}
    ).encode()


class Gate:
    """An inbound with an inbox that notes what reaches the host."""

    def __init__(self, state: MemoryStateStore | None = None) -> None:
        self.clock = FakeClock()
        self.registry = CollectorRegistry()
        self.published: list[str] = []
        self.state = state = state or MemoryStateStore()
        self.metrics = metrics = channel_metrics(self.registry)
        self.inbox = Inbox(
            "wecom",
            limit=10,
            normalize=self._normalize,
            publish=self._publish,
            media_room=MediaRoom(BLOCK_BYTES),
            state=state,
            metrics=metrics,
            clock=self.clock,
        )
        log = CallbackLog("wecom", LogLimit(self.clock, lambda: None))
        intake = Intake(
            CONFIG.rules,
            inbox=self.inbox,
            state=state,
            metrics=metrics,
            clock=self.clock,
            log=log,
        )
        self.inbound = Inbound(
            CONFIG, intake=intake, take=intake.take, metrics=metrics, clock=self.clock, log=log, random=bytes
        )

    async def post(self, plaintext: bytes) -> CallbackAnswer:
        sealed = envelope.seal(
            CONFIG.credentials[0], plaintext, receive_id="", timestamp=1_700_000_000, nonce="n", random=bytes(16)
        )

        async def read_body() -> bytes:
            return json.dumps({"encrypt": sealed.encrypt}).encode()

        query = {"msg_signature": sealed.msgsignature, "timestamp": "1700000000", "nonce": "n"}
        return await self.inbound.receive("POST", query, read_body)

    async def recover(self) -> None:
        await recover("wecom", state=self.state, inbox=self.inbox, put=self.inbox.put, clock=self.clock)

    async def worked_off(self) -> None:
        while len(self.inbox):  # noqa: ASYNC110 - nothing tells that the last one left
            await asyncio.sleep(0)

    def count(self, outcome: str, kind: str = "message") -> float | None:
        labels = {"channel": "wecom", "kind": kind, "outcome": outcome}
        return self.registry.get_sample_value("maven_wecom_callbacks_total", labels)

    async def _normalize(self, admitted: AdmittedCallback) -> InboundMessage:
        return InboundMessage(
            channel="wecom",
            sender_id="alice",
            chat_id="alice",
            content="",
            timestamp=int(admitted.received_at),
            message_id=admitted.callback.message_id,
        )

    async def _publish(self, published: InboundMessage) -> None:
        self.published.append(published.message_id)


class Elsewhere(MemoryStateStore):
    """A state that has to be waited for."""

    def admit(  # type: ignore[override]  # unlike the one in memory
        self, callback: KeptCallback, window: ReplyWindow | None, now: float
    ) -> Later[bool]:
        return Later(asyncio.ensure_future(self.admitted(callback, window, now)))

    async def admitted(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> bool:
        return super().admit(callback, window, now)


class Failing(Elsewhere):
    """A state that raises what it is told to."""

    error: Exception | None = None
    left: tuple[KeptCallback, ...] = ()
    finished: tuple[str, ...] = ()

    async def admitted(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> bool:
        if self.error:
            raise self.error
        return await super().admitted(callback, window, now)

    async def unfinished(self, now: float, *, most: int = 1_000) -> list[KeptCallback]:
        left, self.left = self.left[:most], self.left[most:]
        return list(left)

    async def finish(self, message_id: str, now: float) -> None:
        self.finished += (message_id,)
        await super().finish(message_id, now)


@pytest.mark.parametrize("reason", ["state", "state_full"])
async def test_what_the_state_cannot_keep_is_not_acknowledged(reason: str) -> None:
    """WeCom is asked to try again, and the place in the inbox is free for when it does."""
    state = Failing()
    state.error = StateUnavailable(reason=reason)
    gate = Gate(state)
    for _ in range(20):
        answer = await gate.post(message("m1"))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert gate.count(reason) == 20
    state.error = None
    assert (await gate.post(message("m1"))).status == 200
    await gate.inbox.drain(1)
    assert gate.published == ["m1"]


async def test_an_event_the_state_cannot_keep_is_counted_as_an_event() -> None:
    """Its kind is known by then."""
    state = Failing()
    state.error = StateUnavailable()
    gate = Gate(state)
    answer = await gate.post(message("e1", "event"))
    assert answer.status == 503
    assert answer.trusts
    assert gate.count("state", "event") == 1


async def test_a_bug_of_ours_costs_no_message_and_says_nothing_it_should_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """503, so that WeCom tries again; the log names the kind of error and not its text."""
    state = Failing()
    state.error = RuntimeError("canary")
    gate = Gate(state)
    assert (await gate.post(message("m1"))).status == 503
    assert gate.count("error") == 1
    assert caplog.records[-1].__dict__["fields"]["error"] == "RuntimeError"
    assert "canary" not in caplog.text


async def test_a_state_that_hangs_costs_503_before_wecom_gives_up() -> None:
    """A disk may not answer for minutes; whether it kept the message is found out later."""

    class Hanging(Elsewhere):
        async def admitted(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> bool:
            await asyncio.Event().wait()
            return True

    gate = Gate(Hanging())
    async with asyncio.timeout(5):
        assert (await gate.post(message("m1"))).status == 503
    assert gate.count("state") == 1
    assert await gate.inbox.drain(1) == 0


async def test_a_channel_that_stops_refuses_new_callbacks() -> None:
    """Whoever is behind the balancer as well can take them."""
    gate = Gate()
    gate.inbound.refuse_new()
    assert (await gate.post(message("m1"))).status == 503
    assert gate.count("draining") == 1
    assert gate.published == []


async def test_a_callback_whose_body_comes_during_a_stop_is_refused() -> None:
    """It is looked at again after the body: what is acknowledged then would be cut off at once."""
    gate = Gate()

    async def read_body() -> bytes:
        gate.inbound.refuse_new()
        return b"{}"

    query = {"msg_signature": "s", "timestamp": "1700000000", "nonce": "n"}
    assert (await gate.inbound.receive("POST", query, read_body)).status == 503


async def test_no_body_is_read_before_the_query_is_right() -> None:
    """A stranger's megabyte costs nothing."""
    gate = Gate()

    async def read_body() -> bytes:
        raise AssertionError

    assert (await gate.inbound.receive("POST", {}, read_body)).status == 400


async def test_the_url_check_opens_no_callback() -> None:
    """Whoever saw a callback pass could have its ciphertext opened by asking for an echo of it."""
    gate = Gate()
    sealed = envelope.seal(
        CONFIG.credentials[0], message("m1"), receive_id="", timestamp=1_700_000_000, nonce="n", random=bytes(16)
    )
    query = {
        "msg_signature": sealed.msgsignature,
        "timestamp": "1700000000",
        "nonce": "n",
        "echostr": sealed.encrypt,
    }

    async def read_body() -> bytes:
        return b""

    answer = await gate.inbound.receive("GET", query, read_body)
    assert (answer.status, answer.body) == (400, b"bad request")


async def test_what_an_earlier_process_left_is_taken_up() -> None:
    """Messages go to the host; events, what cannot be read and what cannot be answered any more are over."""
    state = Failing()
    state.left = (
        KeptCallback("m1", "alice", 1_699_999_000.0, message("m1")),
        KeptCallback("e1", "alice", 1_699_999_001.0, message("e1", "event")),
        KeptCallback("x1", "alice", 1_699_999_002.0, b"from another version"),
        KeptCallback("o1", "alice", 1_699_990_000.0, message("o1")),
    )
    gate = Gate(state)
    await gate.recover()
    await gate.inbox.drain(1)
    assert gate.published == ["m1"]
    assert sorted(state.finished) == ["e1", "m1", "o1", "x1"]


async def test_old_messages_leave_half_of_the_places_to_new_ones() -> None:
    """A backlog is worked off bit by bit, and nobody new is turned away for it."""
    state = Failing()
    state.left = tuple(KeptCallback(f"m{n}", "alice", 1_699_999_000.0, message(f"m{n}")) for n in range(12))
    gate = Gate(state)
    await gate.recover()
    assert len(gate.inbox) == 5
    assert (await gate.post(message("new"))).status == 200
    await gate.worked_off()
    while state.left:
        await gate.recover()
        await gate.worked_off()
    assert len(gate.published) == 13


async def test_one_that_cannot_be_finished_does_not_hold_up_the_others() -> None:
    """They were taken over together, so nobody else would come for them."""

    class Forgetful(Failing):
        async def finish(self, message_id: str, now: float) -> None:
            if message_id == "x1":
                raise StateUnavailable
            await super().finish(message_id, now)

    state = Forgetful()
    state.left = (
        KeptCallback("x1", "alice", 1_699_999_000.0, b"from another version"),
        KeptCallback("m1", "alice", 1_699_999_001.0, message("m1")),
    )
    gate = Gate(state)
    with pytest.raises(StateUnavailable):
        await gate.recover()
    await gate.inbox.drain(1)
    assert gate.published == ["m1"]


async def test_the_last_signed_callback_and_the_clocks_difference_are_seen() -> None:
    """Whoever signs it wrongly moves neither; a repeat, signed earlier, does not move the difference."""
    gate = Gate()
    gate.clock.time = 1_700_000_003.0

    def value(name: str) -> float | None:
        return gate.registry.get_sample_value(f"maven_wecom_{name}", {"channel": "wecom"})

    async def read_body() -> bytes:
        return b'{"encrypt": "bm90IG91cnM="}'

    query = {"msg_signature": "0" * 40, "timestamp": "1700000000", "nonce": "n"}
    assert (await gate.inbound.receive("POST", query, read_body)).status == 401
    assert value("last_callback_timestamp_seconds") == 0
    await gate.post(message("m1"))
    gate.clock.time += 60
    await gate.post(message("m1"))
    assert value("last_callback_timestamp_seconds") == 1_700_000_063
    assert value("clock_skew_seconds") == 3
