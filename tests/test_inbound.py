"""From requests to acknowledgements: batches, the state's failures, what is refused early."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from maven_channel_wecom.config import read_config
from maven_channel_wecom.contract.messages import InboundMessage
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.inbound import BATCH_BYTES, BATCH_CALLBACKS, Inbound
from maven_channel_wecom.inbox import AdmittedCallback, Inbox
from maven_channel_wecom.media import MediaBudget
from maven_channel_wecom.policy.media_blocks import BLOCK_BYTES
from maven_channel_wecom.protocol import envelope
from maven_channel_wecom.server.messages import Request
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.telemetry import events
from tests.fakes.clock import FakeClock
from tests.fakes.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maven_channel_wecom.protocol.envelope import SealedEnvelope
    from maven_channel_wecom.server.messages import Answer
    from maven_channel_wecom.state.store import Admission

CONFIG = read_config("wecom", {"token": "t", "encodingAESKey": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"})
WAIT_SECONDS = 5


def message(message_id: str, type_: str = "text") -> bytes:
    payload = {"eventtype": "enter_chat"} if type_ == "event" else {"content": "canary"}
    return json.dumps(
        {"msgid": message_id, "chattype": "single", "from": {"userid": "alice"}, "msgtype": type_, type_: payload}
    ).encode()


def sealed(plaintext: bytes) -> SealedEnvelope:
    return envelope.seal(
        CONFIG.credentials[0], plaintext, receive_id="", timestamp=1_700_000_000, nonce="n", random=bytes(16)
    )


def query(signature: str, **more: str) -> bytes:
    return urlencode({"msg_signature": signature, "timestamp": "1700000000", "nonce": "n", **more}).encode()


class SentRequest(Request):
    """A request that came in full, and its answer."""

    def __init__(self, method: str, query: bytes, body: bytes = b"") -> None:
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        super().__init__(method, query, body, self._answer.set_result)

    async def answered(self) -> Answer:
        async with asyncio.timeout(WAIT_SECONDS):
            return await self._answer


def callback(plaintext: bytes) -> SentRequest:
    found = sealed(plaintext)
    return SentRequest("POST", query(found.msgsignature), json.dumps({"encrypt": found.encrypt}).encode())


class Entrance:
    """An inbound with an inbox whose host notes what reaches it."""

    def __init__(
        self, state: MemoryStateStore | None = None, *, limit: int = 10, random: Callable[[int], bytes] = bytes
    ) -> None:
        self.clock = FakeClock()
        self.recorder = Recorder()
        self.published: list[str] = []
        state = state or MemoryStateStore()
        self.inbox = Inbox(
            limit=limit,
            normalize=self._normalize,
            publish=self._publish,
            media_budget=MediaBudget(BLOCK_BYTES),
            state=state,
            emit=self.recorder,
            clock=self.clock,
        )
        self.inbound = Inbound(
            CONFIG,
            state=state,
            inbox=self.inbox,
            emit=self.recorder,
            clock=self.clock,
            random=random,
        )

    async def post(self, *plaintexts: bytes) -> list[Answer]:
        """Have callbacks received in one iteration of the loop, and return their answers."""
        requests = [callback(plaintext) for plaintext in plaintexts]
        for request in requests:
            self.inbound.receive(request)
        return [await request.answered() for request in requests]

    async def get(self, query: bytes) -> Answer:
        request = SentRequest("GET", query)
        self.inbound.receive(request)
        return await request.answered()

    def outcomes(self) -> list[tuple[str, str]]:
        return [(event.kind, event.outcome) for event in self.recorder.of(events.CallbackAnswered)]

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


class NotingState(MemoryStateStore):
    """Notes the batches it is given, and takes as long for each as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.busy = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.error: Exception | None = None

    async def admit(self, batch: Sequence[Admission], now: float) -> list[bool]:
        self.batches.append([admission.callback.message_id for admission in batch])
        self.busy.set()
        await self.go_on.wait()
        if self.error:
            raise self.error
        return await super().admit(batch, now)


async def test_callbacks_of_one_loop_iteration_are_admitted_in_one_step() -> None:
    state = NotingState()
    entrance = Entrance(state)
    answers = await entrance.post(*(message(f"m{number}") for number in range(5)))
    assert [answer.status for answer in answers] == [200] * 5
    assert state.batches == [["m0", "m1", "m2", "m3", "m4"]]


async def test_callbacks_that_come_while_the_state_is_busy_are_the_next_batch() -> None:
    state = NotingState()
    state.go_on.clear()
    entrance = Entrance(state)
    first = callback(message("m1"))
    entrance.inbound.receive(first)
    await state.busy.wait()
    later = [callback(message(f"m{number}")) for number in (2, 3)]
    for request in later:
        entrance.inbound.receive(request)
        await asyncio.sleep(0)
    state.go_on.set()
    assert [(await request.answered()).status for request in (first, *later)] == [200] * 3
    assert state.batches == [["m1"], ["m2", "m3"]]


async def test_a_batch_is_bounded() -> None:
    state = NotingState()
    entrance = Entrance(state, limit=1_000)
    await entrance.post(*(message(f"m{number}") for number in range(BATCH_CALLBACKS + 1)))
    assert [len(batch) for batch in state.batches] == [BATCH_CALLBACKS, 1]


async def test_a_repeat_is_acknowledged_and_not_worked_on() -> None:
    entrance = Entrance()
    answers = await entrance.post(message("m1"), message("m1"))
    answers += await entrance.post(message("m1"))
    await entrance.inbox.drain(1)
    assert [answer.status for answer in answers] == [200] * 3
    assert entrance.published == ["m1"]
    assert entrance.outcomes() == [("message", "accepted"), ("message", "duplicate"), ("message", "duplicate")]


async def test_a_bad_callback_does_not_cost_the_others_of_its_batch() -> None:
    entrance = Entrance()
    forged = SentRequest("POST", query("0" * 40), b'{"encrypt": "bm90IG91cnM="}')
    genuine = callback(message("m1"))
    for request in (forged, genuine):
        entrance.inbound.receive(request)
    assert [(await request.answered()).status for request in (forged, genuine)] == [401, 200]


@pytest.mark.parametrize("reason", ["state", "state_full"])
async def test_what_the_state_cannot_store_is_not_acknowledged(reason: str) -> None:
    """WeCom is asked to try again, and the place in the inbox is free for when it does."""
    state = NotingState()
    state.error = StateUnavailable(reason=reason)
    entrance = Entrance(state)
    for _ in range(20):
        (answer,) = await entrance.post(message("m1"))
        assert (answer.status, answer.headers["Retry-After"], answer.verifies) == (503, "5", True)
    assert entrance.outcomes() == [("message", reason)] * 20
    state.error = None
    (answer,) = await entrance.post(message("m1"))
    assert answer.status == 200
    await entrance.inbox.drain(1)
    assert entrance.published == ["m1"]


async def test_an_event_the_state_cannot_store_is_counted_as_an_event() -> None:
    state = NotingState()
    state.error = StateUnavailable()
    entrance = Entrance(state)
    (answer,) = await entrance.post(message("e1", "event"))
    assert (answer.status, answer.verifies) == (503, True)
    assert entrance.outcomes() == [("event", "state")]


async def test_an_event_is_finished_without_the_host() -> None:
    entrance = Entrance()
    (answer,) = await entrance.post(message("e1", "event"))
    assert answer.status == 200
    assert await entrance.inbox.drain(1) == 0
    assert entrance.published == []
    (answered,) = entrance.recorder.of(events.CallbackAnswered)
    assert (answered.kind, answered.event) == ("event", "enter_chat")


async def test_a_bug_of_ours_is_a_503_and_shows_no_text() -> None:
    state = NotingState()
    state.error = RuntimeError("canary")
    entrance = Entrance(state)
    (answer,) = await entrance.post(message("m1"))
    assert answer.status == 503
    assert entrance.recorder.of(events.CallbackFailed) == [events.CallbackFailed(kind="message", error="RuntimeError")]
    assert not entrance.inbox.is_full
    assert await entrance.inbox.drain(0) == 0


async def test_a_state_that_hangs_costs_503_before_wecom_gives_up() -> None:
    """A disk may not answer for minutes; whether it stored the message is found out later."""
    state = NotingState()
    state.go_on.clear()
    entrance = Entrance(state)
    (answer,) = await entrance.post(message("m1"))
    assert answer.status == 503
    assert entrance.outcomes() == [("message", "state")]
    assert await entrance.inbox.drain(1) == 0


async def test_a_full_inbox_refuses_before_the_body_and_before_anything_is_opened() -> None:
    state = NotingState()
    state.go_on.clear()
    entrance = Entrance(state, limit=1)
    first = callback(message("m1"))
    entrance.inbound.receive(first)
    await state.busy.wait()
    refused = entrance.inbound.check_head("POST", b"")
    assert refused is not None
    assert (refused.status, refused.verifies) == (503, False)
    second = callback(message("m2"))
    entrance.inbound.receive(second)
    state.go_on.set()
    assert (await first.answered()).status == 200
    assert (await second.answered()).status in {200, 503}
    assert entrance.inbound.check_head("GET", b"") is None
    assert entrance.recorder.of(events.CallbackUnavailable)[0] == events.CallbackUnavailable(reason="inbox_full")


async def test_of_a_batch_no_more_are_admitted_than_the_inbox_has_places_for() -> None:
    entrance = Entrance(limit=2)
    answers = await entrance.post(message("m1"), message("m2"), message("m3"))
    assert [answer.status for answer in answers] == [200, 200, 503]


async def test_a_channel_that_drains_refuses_new_callbacks() -> None:
    entrance = Entrance()
    entrance.inbound.drain()
    refused = entrance.inbound.check_head("POST", b"")
    assert refused is not None
    assert refused.status == 503
    # One whose body came while the drain began.
    (answer,) = await entrance.post(message("m1"))
    assert answer.status == 503
    await entrance.inbox.drain(1)
    assert entrance.published == []
    assert entrance.recorder.of(events.CallbackUnavailable) == [events.CallbackUnavailable(reason="draining")] * 2


async def test_the_url_check_returns_the_echo_and_verifies_nobody() -> None:
    """Its query can be replayed by whoever reads an access log."""
    entrance = Entrance()
    found = sealed(b"4711")
    answer = await entrance.get(query(found.msgsignature, echostr=found.encrypt))
    assert (answer.status, answer.body, answer.verifies) == (200, b"4711", False)
    assert len(entrance.recorder.of(events.UrlChecked)) == 1


async def test_the_url_check_opens_no_callback() -> None:
    """Whoever saw a callback pass could have its ciphertext opened by asking for an echo of it."""
    entrance = Entrance()
    found = sealed(message("m1"))
    answer = await entrance.get(query(found.msgsignature, echostr=found.encrypt))
    assert (answer.status, answer.body) == (400, b"bad request")


async def test_the_url_check_is_answered_while_the_state_hangs() -> None:
    state = NotingState()
    state.go_on.clear()
    entrance = Entrance(state)
    entrance.inbound.receive(callback(message("m1")))
    await state.busy.wait()
    found = sealed(b"4711")
    assert (await entrance.get(query(found.msgsignature, echostr=found.encrypt))).status == 200


async def test_the_time_of_the_last_callback_whose_signature_held_is_noted() -> None:
    entrance = Entrance()
    entrance.clock.time = 1_700_000_003.0
    forged = SentRequest("POST", query("0" * 40), b'{"encrypt": "bm90IG91cnM="}')
    entrance.inbound.receive(forged)
    assert (await forged.answered()).status == 401
    assert entrance.inbound.last_signed_at == 0
    await entrance.post(message("m1"))
    assert entrance.inbound.last_signed_at == 1_700_000_003.0
    (answered,) = entrance.recorder.of(events.CallbackAnswered)
    assert answered.skew_seconds == 3


async def test_the_capitalized_key_of_the_original_is_taken() -> None:
    entrance = Entrance()
    found = sealed(message("m1"))
    request = SentRequest("POST", query(found.msgsignature), json.dumps({"Encrypt": found.encrypt}).encode())
    entrance.inbound.receive(request)
    assert (await request.answered()).status == 200


async def test_what_needs_no_state_is_answered_while_the_state_hangs() -> None:
    """Else bad requests would hold their connections, and crowd genuine callers out."""
    state = NotingState()
    state.go_on.clear()
    entrance = Entrance(state)
    entrance.inbound.receive(callback(message("m1")))
    await state.busy.wait()
    forged = SentRequest("POST", query("0" * 40), b'{"encrypt": "bm90IG91cnM="}')
    entrance.inbound.receive(forged)
    assert (await forged.answered()).status == 401
    state.go_on.set()


async def test_a_url_check_does_not_count_as_a_callback_that_came() -> None:
    """Whoever reads an access log can repeat one, and would keep a broken bot looking well."""
    entrance = Entrance()
    found = sealed(b"4711")
    await entrance.get(query(found.msgsignature, echostr=found.encrypt))
    assert entrance.inbound.last_signed_at == 0


async def test_an_answer_that_cannot_be_sealed_costs_neither_its_message_nor_the_others() -> None:
    failures = [RuntimeError("canary")]

    def random(size: int) -> bytes:
        if failures:
            raise failures.pop()
        return bytes(size)

    entrance = Entrance(random=random)
    answers = await entrance.post(message("m1"), message("m2"))
    await entrance.inbox.drain(1)
    assert [answer.status for answer in answers] == [503, 200]
    assert entrance.published == ["m1", "m2"]
    assert not entrance.inbox.is_full


async def test_large_bodies_are_opened_a_few_in_each_loop_iteration() -> None:
    """A stranger can have thirty of a mebibyte end at one moment, and each takes ten milliseconds."""
    entrance = Entrance(limit=1_000)
    large = [SentRequest("POST", query("0" * 40), b"x" * BATCH_BYTES) for _ in range(5)]
    for request in large:
        entrance.inbound.receive(request)
    answered = []
    for _ in range(len(large)):
        await asyncio.sleep(0)
        answered.append(len(entrance.recorder.of(events.CallbackInvalid)))
    assert answered == [1, 2, 3, 4, 5]
