"""Tests for the handling of callbacks: batches, failures of the state, refusals and the URL check."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec
import pytest

from maven_channel_wecom.config import read_config
from maven_channel_wecom.contract.messages import InboundMessage
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.inbound import BATCH_BYTES, BATCH_CALLBACKS, Inbound
from maven_channel_wecom.inbox import AdmittedCallback, Inbox
from maven_channel_wecom.media import MediaBudget
from maven_channel_wecom.passive_replies import PassiveReplies
from maven_channel_wecom.policy.admission import AdmissionRules
from maven_channel_wecom.policy.language import Languages
from maven_channel_wecom.policy.media_blocks import BLOCK_BYTES
from maven_channel_wecom.policy.stream import StreamTimes, stream_id
from maven_channel_wecom.protocol import envelope
from maven_channel_wecom.protocol.callback import read_callback
from maven_channel_wecom.refusals import Refusals
from maven_channel_wecom.sentences import MESSAGE_EMPTY, STREAM_CONTINUES, Sentence
from maven_channel_wecom.server.messages import Request
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.store import StreamFrame
from maven_channel_wecom.telemetry import events
from tests.fakes.clock import FakeClock, SteppedClock
from tests.fakes.recorder import Recorder
from tests.fakes.replies import ScriptedEgress
from tests.fakes.streams import make_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maven_channel_wecom.config import WeComConfig
    from maven_channel_wecom.policy.stream import ProgressMode
    from maven_channel_wecom.protocol.callback import Callback
    from maven_channel_wecom.protocol.envelope import SealedEnvelope
    from maven_channel_wecom.server.messages import Answer
    from maven_channel_wecom.state.store import Admission

CONFIG = read_config("wecom", {"token": "t", "encodingAESKey": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"})
WAIT_SECONDS = 5


def message(message_id: str, type_: str = "text", *, user: str = "alice") -> bytes:
    payload = {"eventtype": "enter_chat"} if type_ == "event" else {"content": "canary"}
    return json.dumps(
        {"msgid": message_id, "chattype": "single", "from": {"userid": user}, "msgtype": type_, type_: payload}
    ).encode()


def sealed(plaintext: bytes) -> SealedEnvelope:
    return envelope.seal(
        CONFIG.credentials[0], plaintext, receive_id="", timestamp=1_700_000_000, nonce="n", random=bytes(16)
    )


def query(signature: str, **more: str) -> bytes:
    return urlencode({"msg_signature": signature, "timestamp": "1700000000", "nonce": "n", **more}).encode()


class FakeRequest(Request):
    """A complete request whose answer can be awaited."""

    def __init__(self, method: str, query: bytes, body: bytes = b"") -> None:
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.is_there = True
        super().__init__(method, query, body, self._respond_once)

    def _respond_once(self, answer: Answer) -> bool:
        self._answer.set_result(answer)
        return self.is_there

    async def answered(self) -> Answer:
        async with asyncio.timeout(WAIT_SECONDS):
            return await self._answer


def callback(plaintext: bytes, *, body_key: str = "encrypt") -> FakeRequest:
    sealed_envelope = sealed(plaintext)
    body = json.dumps({body_key: sealed_envelope.encrypt}).encode()
    return FakeRequest("POST", query(sealed_envelope.msgsignature), body)


def forged_callback() -> FakeRequest:
    return FakeRequest("POST", query("0" * 40), b'{"encrypt": "bm90IG91cnM="}')


def url_check_query(plaintext: bytes) -> bytes:
    echo = sealed(plaintext)
    return query(echo.msgsignature, echostr=echo.encrypt)


class InboundHarness:
    """An Inbound and an Inbox, with a host that records the published messages."""

    def __init__(
        self,
        state: MemoryStateStore | None = None,
        *,
        config: WeComConfig = CONFIG,
        limit: int = 10,
        random: Callable[[int], bytes] = bytes,
        clock: FakeClock | None = None,
        refusal_text: Sentence | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.recorder = Recorder()
        self.published: list[str] = []
        self.explained: list[str] = []
        self.reported: list[str] = []
        state = state or MemoryStateStore()
        self.streams = make_streams(config.progress, state=state, emit=self.recorder, clock=self.clock)
        self.inbox = Inbox(
            limit=limit,
            normalize=self._normalize,
            publish=self._publish,
            explain=self._explain,
            apologize=self._apologize,
            streams=make_streams(),
            report_event=self._report_event,
            media_budget=MediaBudget(BLOCK_BYTES),
            state=state,
            emit=self.recorder,
            clock=self.clock,
        )
        self.poster = ScriptedEgress()
        self.languages = Languages(None, ())
        self.refusals = Refusals(
            refusal_text or Sentence("抱歉", "Sorry"),
            poster=self.poster,
            languages=self.languages,
            emit=self.recorder,
            clock=self.clock,
        )
        self.inbound = Inbound(
            config,
            state=state,
            inbox=self.inbox,
            streams=self.streams,
            replies=PassiveReplies(
                "wecom",
                progress=config.progress,
                progress_text=config.progress_text,
                welcome_text=config.welcome_text,
                languages=self.languages,
                streams=self.streams,
            ),
            refusals=self.refusals,
            emit=self.recorder,
            clock=self.clock,
            random=random,
        )

    async def post(self, *plaintexts: bytes) -> list[Answer]:
        """Receive callbacks in one loop iteration, and return their answers."""
        requests = [callback(plaintext) for plaintext in plaintexts]
        for request in requests:
            self.inbound.receive(request)
        return [await request.answered() for request in requests]

    async def get(self, query: bytes) -> Answer:
        request = FakeRequest("GET", query)
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

    async def _report_event(self, admitted: AdmittedCallback) -> None:
        self.reported.append(admitted.callback.message_id)

    async def _explain(self, callback: Callback) -> None:
        self.explained.append(callback.message_id)

    async def _apologize(self, _: Callback) -> None:
        raise AssertionError

    async def _publish(self, published: InboundMessage) -> None:
        self.published.append(published.message_id)


class ControlledState(MemoryStateStore):
    """A state that records its batches. It hangs while `resume` is cleared, and raises `error` if it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.stream_texts: list[str] = []
        self.admitting = asyncio.Event()
        self.resume = asyncio.Event()
        self.resume.set()
        self.error: Exception | None = None

    async def admit(self, batch: Sequence[Admission], now: float) -> list[bool]:
        self.batches.append([admission.callback.message_id for admission in batch])
        self.stream_texts += [admission.stream_text for admission in batch]
        self.admitting.set()
        await self.resume.wait()
        if self.error:
            raise self.error
        return await super().admit(batch, now)


async def test_callbacks_of_one_loop_iteration_are_admitted_together() -> None:
    state = ControlledState()
    harness = InboundHarness(state)
    answers = await harness.post(*(message(f"m{number}") for number in range(5)))
    assert [answer.status for answer in answers] == [200] * 5
    assert state.batches == [["m0", "m1", "m2", "m3", "m4"]]


async def test_callbacks_that_arrive_while_the_state_is_busy_form_the_next_batch() -> None:
    state = ControlledState()
    state.resume.clear()
    harness = InboundHarness(state)
    first = callback(message("m1"))
    harness.inbound.receive(first)
    await state.admitting.wait()
    later = [callback(message(f"m{number}")) for number in (2, 3)]
    for request in later:
        harness.inbound.receive(request)
        await asyncio.sleep(0)
    state.resume.set()
    assert [(await request.answered()).status for request in (first, *later)] == [200] * 3
    assert state.batches == [["m1"], ["m2", "m3"]]


async def test_the_size_of_a_batch_is_limited() -> None:
    state = ControlledState()
    harness = InboundHarness(state, limit=1_000)
    await harness.post(*(message(f"m{number}") for number in range(BATCH_CALLBACKS + 1)))
    assert [len(batch) for batch in state.batches] == [BATCH_CALLBACKS, 1]


async def test_a_repeat_is_acknowledged_and_not_published() -> None:
    harness = InboundHarness()
    answers = await harness.post(message("m1"), message("m1"))
    answers += await harness.post(message("m1"))
    await harness.inbox.drain(1)
    assert [answer.status for answer in answers] == [200] * 3
    assert harness.published == ["m1"]
    assert harness.outcomes() == [("message", "accepted"), ("message", "duplicate"), ("message", "duplicate")]


async def test_a_forged_callback_does_not_affect_the_others_of_its_batch() -> None:
    harness = InboundHarness()
    forged = forged_callback()
    genuine = callback(message("m1"))
    for request in (forged, genuine):
        harness.inbound.receive(request)
    assert [(await request.answered()).status for request in (forged, genuine)] == [401, 200]


@pytest.mark.parametrize("reason", ["state", "state_full"])
async def test_a_message_that_the_state_cannot_store_is_not_acknowledged_and_frees_its_place(reason: str) -> None:
    state = ControlledState()
    state.error = StateUnavailable(reason=reason)
    harness = InboundHarness(state)
    for _ in range(20):
        (answer,) = await harness.post(message("m1"))
        assert (answer.status, answer.headers["Retry-After"], answer.verifies) == (503, "5", True)
    assert harness.outcomes() == [("message", reason)] * 20
    state.error = None
    (answer,) = await harness.post(message("m1"))
    assert answer.status == 200
    await harness.inbox.drain(1)
    assert harness.published == ["m1"]


async def test_an_event_that_the_state_cannot_store_is_counted_as_an_event() -> None:
    state = ControlledState()
    state.error = StateUnavailable()
    harness = InboundHarness(state)
    (answer,) = await harness.post(message("e1", "event"))
    assert (answer.status, answer.verifies) == (503, True)
    assert harness.outcomes() == [("event", "state")]


async def test_an_event_is_finished_without_being_published() -> None:
    harness = InboundHarness()
    (answer,) = await harness.post(message("e1", "event"))
    assert answer.status == 200
    assert await harness.inbox.drain(1) == 0
    assert harness.published == []
    (answered,) = harness.recorder.of(events.CallbackAnswered)
    assert (answered.kind, answered.event) == ("event", "enter_chat")


async def test_an_unexpected_error_is_answered_503_and_reported_by_its_class() -> None:
    state = ControlledState()
    state.error = RuntimeError("canary")
    harness = InboundHarness(state)
    (answer,) = await harness.post(message("m1"))
    assert (answer.status, answer.verifies) == (503, True)
    assert harness.recorder.of(events.CallbackFailed) == [events.CallbackFailed(kind="message", error="RuntimeError")]
    assert not harness.inbox.is_full
    assert await harness.inbox.drain(0) == 0


async def test_a_callback_is_answered_503_if_the_state_hangs() -> None:
    state = ControlledState()
    state.resume.clear()
    harness = InboundHarness(state)
    (answer,) = await harness.post(message("m1"))
    assert answer.status == 503
    assert harness.outcomes() == [("message", "state")]
    assert await harness.inbox.drain(1) == 0


async def test_a_full_inbox_refuses_a_callback_before_its_body_is_received() -> None:
    state = ControlledState()
    state.resume.clear()
    harness = InboundHarness(state, limit=1)
    first = callback(message("m1"))
    harness.inbound.receive(first)
    await state.admitting.wait()
    refused = harness.inbound.check_head("POST", b"")
    assert refused is not None
    assert (refused.status, refused.verifies) == (503, False)
    second = callback(message("m2"))
    harness.inbound.receive(second)
    state.resume.set()
    assert (await first.answered()).status == 200
    assert (await second.answered()).status in {200, 503}
    assert harness.inbound.check_head("GET", b"") is None
    assert harness.recorder.of(events.CallbackUnavailable)[0] == events.CallbackUnavailable(reason="inbox_full")


async def test_no_more_callbacks_of_a_batch_are_admitted_than_the_inbox_has_places() -> None:
    harness = InboundHarness(limit=2)
    answers = await harness.post(message("m1"), message("m2"), message("m3"))
    assert [answer.status for answer in answers] == [200, 200, 503]


async def test_a_chat_that_uses_its_share_of_the_inbox_is_answered_503_and_another_is_not() -> None:
    state = ControlledState()
    state.resume.clear()
    harness = InboundHarness(state, limit=4)
    requests = [callback(message(f"m{number}")) for number in range(4)]
    for request in requests:
        harness.inbound.receive(request)
    refused = await requests[3].answered()
    assert (refused.status, refused.verifies) == (503, True)
    assert harness.outcomes() == [("message", "chat_full")]
    other = callback(message("other", user="bob"))
    harness.inbound.receive(other)
    state.resume.set()
    assert (await other.answered()).status == 200


async def test_a_channel_that_drains_refuses_new_callbacks() -> None:
    harness = InboundHarness()
    harness.inbound.drain()
    refused = harness.inbound.check_head("POST", b"")
    assert refused is not None
    assert refused.status == 503
    # As when the drain began while the body was being received.
    (answer,) = await harness.post(message("m1"))
    assert answer.status == 503
    await harness.inbox.drain(1)
    assert harness.published == []
    assert harness.recorder.of(events.CallbackUnavailable) == [events.CallbackUnavailable(reason="draining")] * 2


async def test_the_url_check_returns_the_echo_and_does_not_verify_the_connection() -> None:
    """Anyone who reads an access log can replay its query."""
    harness = InboundHarness()
    answer = await harness.get(url_check_query(b"4711"))
    assert (answer.status, answer.body, answer.verifies) == (200, b"4711", False)
    assert len(harness.recorder.of(events.UrlChecked)) == 1


@pytest.mark.parametrize("plaintext", [message("m1"), b'kmsgid":"m1"}', b"x" * 257], ids=["whole", "damaged", "long"])
async def test_the_url_check_does_not_return_a_callback(plaintext: bytes) -> None:
    """A client that intercepted a callback could otherwise have it decrypted."""
    harness = InboundHarness()
    answer = await harness.get(url_check_query(plaintext))
    assert (answer.status, answer.body) == (400, b"bad request")


async def test_the_url_check_is_answered_while_the_state_hangs() -> None:
    state = ControlledState()
    state.resume.clear()
    harness = InboundHarness(state)
    harness.inbound.receive(callback(message("m1")))
    await state.admitting.wait()
    assert (await harness.get(url_check_query(b"4711"))).status == 200


async def test_the_time_of_the_last_callback_with_a_valid_signature_is_recorded() -> None:
    harness = InboundHarness()
    harness.clock.time = 1_700_000_003.0
    forged = forged_callback()
    harness.inbound.receive(forged)
    assert (await forged.answered()).status == 401
    assert harness.inbound.last_signed_at == 0
    await harness.post(message("m1"))
    assert harness.inbound.last_signed_at == 1_700_000_003.0
    (answered,) = harness.recorder.of(events.CallbackAnswered)
    assert answered.skew_seconds == 3


async def test_the_capitalized_body_key_of_the_go_original_is_accepted() -> None:
    harness = InboundHarness()
    request = callback(message("m1"), body_key="Encrypt")
    harness.inbound.receive(request)
    assert (await request.answered()).status == 200


async def test_a_forged_callback_is_answered_while_the_state_hangs() -> None:
    """Otherwise forged callbacks would occupy connections that genuine ones need."""
    state = ControlledState()
    state.resume.clear()
    harness = InboundHarness(state)
    harness.inbound.receive(callback(message("m1")))
    await state.admitting.wait()
    forged = forged_callback()
    harness.inbound.receive(forged)
    assert (await forged.answered()).status == 401
    state.resume.set()


async def test_a_url_check_does_not_change_the_time_of_the_last_callback() -> None:
    """Anyone who reads an access log can replay one, which would hide that a bot receives no callbacks."""
    harness = InboundHarness()
    await harness.get(url_check_query(b"4711"))
    assert harness.inbound.last_signed_at == 0


@pytest.mark.parametrize("plaintext", [b"not JSON", b"[]", b"{}"])
async def test_a_callback_that_opened_verifies_its_connection_whatever_it_contains(plaintext: bytes) -> None:
    (answer,) = await InboundHarness().post(plaintext)
    assert (answer.status, answer.verifies) == (400, True)


@pytest.mark.parametrize(
    ("settings", "reason", "verifies"),
    [
        ({"receiveId": "another"}, "receiver", True),
        # Somebody who recorded it can send it again at any time.
        ({"maxSkewSeconds": 300}, "stale", False),
        ({"encodingAESKey": "A" * 43}, "undecipherable", False),
    ],
)
async def test_a_rejected_callback_verifies_its_connection_if_it_opened_and_is_not_stale(
    settings: dict[str, object], reason: str, *, verifies: bool
) -> None:
    keys = {"token": "t", "encodingAESKey": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"}
    harness = InboundHarness(config=read_config("wecom", keys | settings))
    harness.clock.wall_offset = 3600
    (answer,) = await harness.post(message("m1"))
    assert [invalid.reason for invalid in harness.recorder.of(events.CallbackInvalid)] == [reason]
    assert answer.verifies is verifies


async def test_a_message_is_published_even_if_its_acknowledgement_cannot_be_sealed() -> None:
    failures = [RuntimeError("canary")]

    def random(size: int) -> bytes:
        if failures:
            raise failures.pop()
        return bytes(size)

    harness = InboundHarness(random=random)
    answers = await harness.post(message("m1"), message("m2"))
    await harness.inbox.drain(1)
    assert [(answer.status, answer.verifies) for answer in answers] == [(503, True), (200, True)]
    assert harness.published == ["m1", "m2"]
    assert not harness.inbox.is_full


async def test_the_bytes_of_bodies_opened_in_one_loop_iteration_are_limited() -> None:
    """An attacker can make many large bodies complete at the same moment."""
    harness = InboundHarness(limit=1_000)
    large = [FakeRequest("POST", query("0" * 40), b"x" * BATCH_BYTES) for _ in range(5)]
    for request in large:
        harness.inbound.receive(request)
    answered = []
    for _ in range(len(large)):
        await asyncio.sleep(0)
        answered.append(len(harness.recorder.of(events.CallbackInvalid)))
    assert answered == [1, 2, 3, 4, 5]


async def test_a_message_of_an_unknown_type_is_admitted_once_if_it_can_be_answered() -> None:
    """Its sender gets a sentence, for which a claim and a reply window are needed."""
    state = ControlledState()
    harness = InboundHarness(state)
    plaintext = json.dumps(
        {"msgid": "m1", "from": {"userid": "alice"}, "msgtype": "hologram", "response_url": "https://canary/"}
    ).encode()
    answers = await harness.post(plaintext, plaintext, message("m2", "hologram"), message("m3", "stream"))
    assert [answer.status for answer in answers] == [200] * 4
    assert state.batches == [["m1", "m1"]]
    assert state.open_windows == 1
    assert harness.outcomes().count(("message", "duplicate")) == 1


async def test_a_refused_message_is_acknowledged_before_its_sender_is_told() -> None:
    rules = AdmissionRules(senders=frozenset({"bob"}))
    harness = InboundHarness(config=msgspec.structs.replace(CONFIG, rules=rules))
    plaintext = json.loads(message("m1")) | {"response_url": "https://canary/"}
    (answer,) = await harness.post(json.dumps(plaintext).encode())
    assert answer.status == 200
    assert harness.poster.posts == []
    await asyncio.gather(*harness.refusals._sending)
    assert harness.poster.posts == [("https://canary/", "Sorry")]


class BrokenSentence(Sentence):
    """A sentence whose text raises, as a bug would."""

    def text(self, language: str) -> str:
        raise RuntimeError(language)


@pytest.mark.parametrize("progress", ["off", "stream"])
async def test_a_bug_while_a_callback_is_refused_leaves_no_callback_of_its_batch_without_an_answer(
    progress: ProgressMode,
) -> None:
    rules = AdmissionRules(senders=frozenset({"bob"}))
    config = msgspec.structs.replace(CONFIG, progress=progress, rules=rules)
    harness = InboundHarness(config=config, refusal_text=BrokenSentence("canary", "canary"))
    of_bob = json.loads(message("m2")) | {"from": {"userid": "bob"}}
    answers = await harness.post(streamed("m1"), json.dumps(of_bob).encode())
    assert [answer.status for answer in answers] == [503, 200]
    await harness.inbox.drain(WAIT_SECONDS)
    assert harness.published == ["m2"]


def opened(answer: Answer) -> object:
    """Return the plaintext of a sealed answer."""
    body = json.loads(answer.body)
    signed = envelope.SignedQuery(body["msgsignature"], str(body["timestamp"]), body["nonce"])
    return json.loads(envelope.open_envelope(CONFIG.credentials, signed, body["encrypt"]).message)


WELCOMING = msgspec.structs.replace(CONFIG, welcome_text=Sentence("欢迎", "Welcome"))


async def test_a_person_who_enters_the_chat_is_greeted_in_their_language() -> None:
    """A repeated event gets the same answer, because WeCom may have lost the first, and counts once."""
    harness = InboundHarness(config=WELCOMING)
    answers = await harness.post(message("e1", "event"), message("e1", "event"))
    harness.languages.of_callback(read_callback(message("m1")))
    answers += await harness.post(message("e2", "event"))
    texts = [{"msgtype": "text", "text": {"content": content}} for content in ("欢迎", "欢迎", "Welcome")]
    assert [opened(answer) for answer in answers] == texts
    assert [event.message_id for event in harness.recorder.of(events.PersonWelcomed)] == ["e1", "e2"]


async def test_nobody_else_is_greeted() -> None:
    """Messages and other events are not answered with a text, and neither is an entry of a refused person."""
    harness = InboundHarness(config=WELCOMING)
    other = message("e1", "event").replace(b"enter_chat", b"feedback_event")
    answers = await harness.post(message("m1"), other)
    refusing = msgspec.structs.replace(WELCOMING, rules=AdmissionRules(senders=frozenset({"bob"})))
    answers += await InboundHarness(config=refusing).post(message("e2", "event"))
    answers += await InboundHarness().post(message("e3", "event"))
    assert [opened(answer) for answer in answers] == ["success"] * 4
    assert harness.recorder.of(events.PersonWelcomed) == []


STREAMING = msgspec.structs.replace(CONFIG, progress="stream")


def streamed(message_id: str) -> bytes:
    return json.dumps(json.loads(message(message_id)) | {"response_url": "https://canary/"}).encode()


def refresh(message_id: str) -> bytes:
    asked = {"msgid": "r1", "chattype": "single", "from": {"userid": "alice"}, "msgtype": "stream"}
    return json.dumps(asked | {"stream": {"id": stream_id("wecom", message_id)}}).encode()


def stream(message_id: str, content: str, *, finish: bool) -> object:
    return {"msgtype": "stream", "stream": {"id": stream_id("wecom", message_id), "finish": finish, "content": content}}


async def test_a_message_is_acknowledged_with_the_first_frame_of_its_stream_and_its_repeat_too() -> None:
    harness = InboundHarness(config=STREAMING)
    answers = await harness.post(streamed("m1"), streamed("m1"))
    assert [opened(answer) for answer in answers] == [stream("m1", "Working", finish=False)] * 2
    assert all(answer.verifies for answer in answers)
    assert harness.recorder.of(events.FirstSignShown) == [events.FirstSignShown(message_id="m1", seconds=0)]


async def test_the_first_text_of_a_stream_is_stored_with_the_admission() -> None:
    """Another process may be asked before this one could write it."""
    state = ControlledState()
    harness = InboundHarness(state, config=STREAMING)
    await harness.post(streamed("m1"), message("m2"))
    assert state.stream_texts == ["Working", ""]


async def test_a_refresh_is_answered_at_once_and_counts_as_no_message() -> None:
    state = ControlledState()
    harness = InboundHarness(state, config=STREAMING)
    await harness.post(streamed("m1"))
    state.resume.clear()
    (answer,) = await harness.post(refresh("m1"))
    assert opened(answer) == stream("m1", "Working", finish=False)
    assert answer.verifies
    assert harness.outcomes() == [("message", "accepted")]
    (answered,) = harness.recorder.of(events.RefreshAnswered)
    assert answered.outcome == "answered"


async def test_refreshes_are_answered_while_the_channel_drains_and_while_the_inbox_is_full() -> None:
    state = ControlledState()
    harness = InboundHarness(state, config=STREAMING, limit=1)
    await harness.post(streamed("m1"))
    await harness.inbox.drain(1)
    state.resume.clear()
    full = callback(streamed("m2"))
    harness.inbound.receive(full)
    await asyncio.sleep(0)
    assert harness.inbox.is_full
    assert harness.inbound.check_head("POST", b"") is None
    answers = await harness.post(refresh("m1"), streamed("m3"))
    assert [answer.status for answer in answers] == [200, 503]
    harness.inbound.drain()
    answers = await harness.post(refresh("m1"), streamed("m4"))
    assert [answer.status for answer in answers] == [200, 503]
    assert [event.reason for event in harness.recorder.of(events.CallbackUnavailable)] == ["inbox_full", "draining"]
    state.resume.set()
    await full.answered()


async def test_a_last_frame_that_could_not_be_written_is_not_fetched() -> None:
    """WeCom has closed the connection: it asks again, or the answer goes through the reply window."""
    harness = InboundHarness(config=STREAMING, clock=SteppedClock())
    await harness.post(streamed("m1"))
    fetched: list[str] = []
    finished = asyncio.ensure_future(harness.streams.offer("m1", "42", on_fetched=lambda: fetched.append("m1")))
    await asyncio.sleep(0)
    gone = callback(refresh("m1"))
    gone.is_there = False
    harness.inbound.receive(gone)
    assert opened(await gone.answered()) == stream("m1", "42", finish=True)
    assert fetched == []
    (answer,) = await harness.post(refresh("m1").replace(b'"r1"', b'"r2"'))
    assert opened(answer) == stream("m1", "42", finish=True)
    assert await finished
    assert fetched == ["m1"]


async def test_the_life_of_a_stream_begins_with_the_arrival_of_its_callback() -> None:
    """WeCom counts from an even earlier time, and the state may be slow."""
    state = ControlledState()
    state.resume.clear()
    harness = InboundHarness(state, config=STREAMING)
    request = callback(streamed("m1"))
    harness.inbound.receive(request)
    await state.admitting.wait()
    harness.clock.time += 2
    state.resume.set()
    await request.answered()
    harness.clock.time += StreamTimes().life - 2
    (answer,) = await harness.post(refresh("m1"))
    assert opened(answer) == stream("m1", STREAM_CONTINUES.en, finish=True)


@pytest.mark.parametrize("progress", ["notice", "stream"])
async def test_a_refused_person_gets_the_sentence_once_an_hour_but_a_repeated_callback_again(
    progress: ProgressMode,
) -> None:
    rules = AdmissionRules(senders=frozenset({"bob"}))
    harness = InboundHarness(config=msgspec.structs.replace(CONFIG, progress=progress, rules=rules))
    answers = await harness.post(streamed("m1"), streamed("m1"), streamed("m2"))
    assert [opened(answer) for answer in answers] == [stream("m1", "Sorry", finish=True)] * 2 + ["success"]
    assert harness.poster.posts == []


async def test_a_message_that_was_explained_at_once_is_not_explained_again() -> None:
    harness = InboundHarness(config=STREAMING)
    (answer,) = await harness.post(streamed("m1").replace(b'"canary"', b'""'))
    assert opened(answer) == stream("m1", MESSAGE_EMPTY.zh, finish=True)
    assert len(harness.recorder.of(events.PersonExplained)) == 1
    await harness.inbox.drain(WAIT_SECONDS)
    assert harness.explained == []


class SharedState(MemoryStateStore):
    """A state in which another process holds a stream with one frame. It hangs or fails if a test asks for it."""

    def __init__(self, frame: StreamFrame | None = None, *, error: Exception | None = None) -> None:
        super().__init__()
        self.frame = frame
        self.error = error

    @property
    def shared(self) -> bool:
        return True

    async def admit(self, batch: Sequence[Admission], now: float) -> list[bool]:
        return [False for _ in batch]

    async def read_frame(self, stream_id: str, chat: str, now: float) -> StreamFrame | None:
        if self.error:
            raise self.error
        return self.frame


async def test_a_refresh_and_a_repeat_are_answered_with_the_frame_of_another_process() -> None:
    harness = InboundHarness(SharedState(StreamFrame("The answer")), config=STREAMING)
    answers = await harness.post(refresh("m1"), streamed("m1"))
    assert [opened(answer) for answer in answers] == [stream("m1", "The answer", finish=False)] * 2
    assert harness.outcomes() == [("message", "duplicate")]


async def test_a_repeat_whose_stream_no_process_has_open_gets_an_empty_reply() -> None:
    harness = InboundHarness(SharedState(), config=STREAMING)
    answers = await harness.post(streamed("m1"))
    assert [opened(answer) for answer in answers] == ["success"]


@pytest.mark.parametrize("error", [StateUnavailable(), RuntimeError("canary")], ids=["away", "bug"])
async def test_a_refresh_is_answered_503_if_the_state_cannot_be_read(error: Exception) -> None:
    """A guess could end a stream that is open."""
    harness = InboundHarness(SharedState(error=error), config=STREAMING)
    answers = await harness.post(refresh("m1"), streamed("m1"))
    assert [(answer.status, answer.verifies) for answer in answers] == [(503, True)] * 2


def feedback(message_id: str, feedback_id: str) -> bytes:
    details = {"id": feedback_id, "type": 2, "content": "canary", "inaccurate_reason_list": [3]}
    event = {"eventtype": "feedback_event", "feedback_event": details}
    return json.dumps({"msgid": message_id, "from": {"userid": "alice"}, "msgtype": "event", "event": event}).encode()


async def test_a_rating_is_reported_once() -> None:
    harness = InboundHarness()
    await harness.post(feedback("e1", "f1"), feedback("e1", "f1"))
    assert harness.recorder.of(events.FeedbackReceived) == [
        events.FeedbackReceived(message_id="e1", feedback_id="f1", kind="inaccurate", reasons=("wrong",))
    ]
    assert "canary" not in repr(harness.recorder.events)
