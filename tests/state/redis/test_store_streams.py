"""Streams on several replicas: one opens a stream, and any other may be asked for its newest frame."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.reply_window import chat_key
from maven_channel_wecom.state.redis.scripts import (
    ADMIT,
    APPLY_UPDATES,
    CLOSE_STREAM,
    IS_FETCHED,
    READ_FRAME,
    WRITE_FRAME,
)
from maven_channel_wecom.state.store import (
    CLAIM_SECONDS,
    FETCH_RESERVATION_SECONDS,
    FRAME_REPEAT_SECONDS,
    STREAM_SECONDS,
    Admission,
    StreamFrame,
)
from tests.fakes.redis_replicas import Replicas, crash_redis_store, healed, let_replicas_be_silent
from tests.state.messages import (
    CHAT,
    NOW,
    admission,
    admission_with_stream,
    admit,
    claim,
    stored,
    stream_id,
    take_over_all,
    window,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from maven_channel_wecom.state.redis.store import RedisStateStore
    from tests.fakes.fault_proxy import FaultProxy
    from tests.fakes.redis_server import RedisServer

SILENCE = 60.0
FAR_FUTURE_MS = 10**14
M1 = stream_id("m1")
KEY = f"maven-wecom:{{wecom}}:stream:{M1}"
MESSAGE_KEY = "maven-wecom:{wecom}:message:m1"
UNFINISHED = "maven-wecom:{wecom}:unfinished"

TEXT = StreamFrame("first words 文字")
ANSWER = StreamFrame("first words, and the others \0 文字", is_last=True)
SENTENCE = StreamFrame("first words, and a sentence", is_last=True, is_answer=False)


async def open_stream(store: RedisStateStore, *frames: StreamFrame) -> None:
    assert await store.admit([admission_with_stream("m1")], NOW) == [True]
    for frame in frames:
        await store.write_frame("m1", frame, NOW)


async def read(store: RedisStateStore, now: float = NOW) -> StreamFrame | None:
    return await store.read_frame(M1, CHAT, now)


async def end_reservation(server: RedisServer) -> None:
    """Let the reservation of the last frame end, as if its time had passed."""
    assert await server.command("HSET", KEY, "reserved", 1) == 0


async def let_die(server: RedisServer, store: RedisStateStore) -> None:
    await crash_redis_store(store)
    await let_replicas_be_silent(server, seconds=SILENCE)


def test_the_state_is_shared(replicas: list[RedisStateStore]) -> None:
    assert replicas[0].shared


async def test_another_replica_reads_the_newest_frame(replicas: list[RedisStateStore]) -> None:
    owner, other, _ = replicas
    await open_stream(owner)
    assert await read(other) == StreamFrame("")
    for frame in (TEXT, StreamFrame("x" * 20_480), TEXT):
        await owner.write_frame("m1", frame, NOW)
        assert await read(other) == frame


async def test_another_replica_reads_the_first_text_even_if_the_owner_dies_at_once(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """Otherwise the text that the acknowledgement showed would disappear until the message is recovered."""
    owner, other, _ = replicas
    batch = [
        msgspec.structs.replace(admission_with_stream("m1"), stream_text="one moment, 请稍候"),
        msgspec.structs.replace(admission_with_stream("m2"), stream_text="another"),
        admission("m3"),
    ]
    assert await owner.admit(batch, NOW) == [True] * 3
    await crash_redis_store(owner)
    assert await read(other) == StreamFrame("one moment, 请稍候")
    assert await other.read_frame(stream_id("m2"), CHAT, NOW) == StreamFrame("another")


async def test_the_newest_frames_of_many_streams_are_written_together(replicas: list[RedisStateStore]) -> None:
    owner, other, _ = replicas
    ids = [f"m{number}" for number in range(100)]
    await owner.admit([admission_with_stream(message_id) for message_id in ids], NOW)
    for part in range(3):
        texts = [f"{message_id}, part {part}" for message_id in ids]
        writes = (
            owner.write_frame(message_id, StreamFrame(text), NOW) for message_id, text in zip(ids, texts, strict=True)
        )
        await asyncio.gather(*writes)
        frames = await asyncio.gather(*(other.read_frame(stream_id(message_id), CHAT, NOW) for message_id in ids))
        assert [frame.content for frame in frames if frame] == texts


async def test_a_stream_whose_record_is_damaged_spoils_no_other(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    owner, other, _ = replicas
    await owner.admit([admission_with_stream("m1"), admission_with_stream("m2")], NOW)
    await server.command("DEL", KEY)
    await server.command("SET", KEY, "damaged by hand")
    await asyncio.gather(*(owner.write_frame(message_id, ANSWER, NOW) for message_id in ("m1", "m2")))
    assert await other.read_frame(stream_id("m2"), CHAT, NOW) == ANSWER
    await other.confirm_fetch(stream_id("m2"), NOW)
    assert await asyncio.gather(*(owner.is_fetched(message_id, NOW) for message_id in ("m1", "m2"))) == [False, True]


@pytest.mark.parametrize("last", [ANSWER, SENTENCE])
async def test_another_replica_reads_the_last_frame_and_whether_it_is_the_answer(
    replicas: list[RedisStateStore], last: StreamFrame
) -> None:
    owner, other, _ = replicas
    await open_stream(owner, TEXT, last)
    assert await read(other) == last


async def test_a_stream_is_unknown_in_another_chat_and_under_another_id(replicas: list[RedisStateStore]) -> None:
    """A group may have the id of a person. A refresh from a foreign chat reserves nothing."""
    owner, other, _ = replicas
    await open_stream(owner, ANSWER)
    for chat in (chat_key("chat", is_group=False), chat_key("other", is_group=True), "chat", ""):
        assert await other.read_frame(M1, chat, NOW) is None
    assert await other.read_frame(stream_id("m2"), CHAT, NOW) is None
    assert await owner.close_stream("m1", NOW)


async def test_only_the_replica_that_opened_a_stream_writes_and_closes_it(replicas: list[RedisStateStore]) -> None:
    owner, other, _ = replicas
    await open_stream(owner, TEXT)
    assert await other.admit([admission_with_stream("m1")], NOW) == [False]
    await other.write_frame("m1", ANSWER, NOW)
    assert await other.close_stream("m1", NOW)
    assert await read(other) == TEXT


async def test_an_owner_that_finished_its_message_still_feeds_and_ends_the_stream(
    replicas: list[RedisStateStore],
) -> None:
    """A host may finish a message first and answer it later."""
    owner, other, _ = replicas
    await open_stream(owner)
    await owner.finish("m1", NOW)
    await owner.write_frame("m1", TEXT, NOW)
    assert await read(other) == TEXT
    await owner.write_frame("m1", ANSWER, NOW)
    assert await read(other) == ANSWER
    await other.confirm_fetch(M1, NOW)
    assert await owner.is_fetched("m1", NOW)


async def test_an_older_frame_that_arrives_late_does_not_replace_a_newer_one(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """After a freeze Redis may run old commands in any order."""
    owner, other, _ = replicas
    await open_stream(owner, TEXT, ANSWER)
    token = await server.command("HGET", KEY, "owner")
    await server.command("EVAL", WRITE_FRAME.text, 1, UNFINISHED, M1, token.decode(), 1, "late", "")
    assert await read(other) == ANSWER


async def test_an_owner_may_replace_its_last_frame_until_it_is_read(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """The host may cancel a reply whose last frame no refresh has got yet."""
    owner, other, _ = replicas
    await open_stream(owner, ANSWER, TEXT)
    assert await read(other) == TEXT
    await owner.write_frame("m1", ANSWER, NOW)
    assert await read(other) == ANSWER
    await owner.write_frame("m1", TEXT, NOW)
    assert await read(other) == ANSWER
    await end_reservation(server)
    await owner.write_frame("m1", TEXT, NOW)
    assert await read(other) == TEXT


async def test_a_stream_is_closed_unless_its_last_frame_was_read_and_not_before_its_reservation_ends(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    owner, other, third = replicas
    await open_stream(owner, TEXT)
    await read(other)
    await owner.write_frame("m1", ANSWER, NOW)
    assert await read(other) == ANSWER
    now_ms = int((await server.command("TIME"))[0]) * 1000
    reserved = int(await server.command("HGET", KEY, "reserved"))
    assert reserved <= now_ms + 1000 + FETCH_RESERVATION_SECONDS * 1000
    assert not await owner.close_stream("m1", NOW + 100)
    assert not await owner.is_fetched("m1", NOW)
    await end_reservation(server)
    assert await owner.close_stream("m1", NOW)
    assert await read(third) is None
    assert await server.command("EXISTS", KEY) == 0


async def test_either_a_refresh_gets_the_last_frame_or_the_owner_closes_the_stream(
    replicas: list[RedisStateStore],
) -> None:
    """Both at once would show two answers."""
    owner, *others = replicas
    for number in range(50):
        message_id = f"m{number}"
        await owner.admit([admission_with_stream(message_id)], NOW)
        await owner.write_frame(message_id, ANSWER, NOW)
        calls = [store.read_frame(stream_id(message_id), CHAT, NOW) for store in others]
        closed, *frames = await asyncio.gather(owner.close_stream(message_id, NOW), *calls)
        assert closed == (frames == [None, None])


async def test_a_confirmed_last_frame_is_fetched_and_its_stream_cannot_be_closed(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    owner, other, _ = replicas
    await open_stream(owner, ANSWER)
    await read(other)
    await other.confirm_fetch(M1, NOW)
    await end_reservation(server)
    assert await owner.is_fetched("m1", NOW)
    assert not await owner.close_stream("m1", NOW)
    await owner.write_frame("m1", TEXT, NOW)
    assert await read(other) == ANSWER


async def test_a_fetched_last_frame_is_given_again_for_a_while_after_the_first_time(
    replicas: list[RedisStateStore],
) -> None:
    """Also after the message was finished, and not longer because of a repeat."""
    owner, other, third = replicas
    await open_stream(owner, ANSWER)
    assert await read(other) == ANSWER
    await other.confirm_fetch(M1, NOW)
    await owner.spend_window(await claim(owner, "m1"), NOW)
    await owner.finish("m1", NOW)
    await third.confirm_fetch(M1, NOW + 1)
    assert await read(third, NOW + FRAME_REPEAT_SECONDS - 0.001) == ANSWER
    assert await read(third, NOW + FRAME_REPEAT_SECONDS) is None


async def test_an_owner_may_confirm_a_last_frame_before_it_has_written_it(replicas: list[RedisStateStore]) -> None:
    """It answers a refresh from its memory, and writes in the background. A repeat may reach another replica."""
    owner, other, _ = replicas
    await open_stream(owner, TEXT)
    await owner.confirm_fetch(M1, NOW)
    await owner.write_frame("m1", ANSWER, NOW)
    assert await read(other) == ANSWER
    assert not await owner.close_stream("m1", NOW)


@pytest.mark.parametrize("end", ["died", "closed", "released"])
async def test_a_message_whose_answer_was_fetched_is_finished_and_not_taken_over(
    server: RedisServer, replicas: list[RedisStateStore], end: str
) -> None:
    """Its window is not used for another reply."""
    owner, other, _ = replicas
    await open_stream(owner, ANSWER)
    await read(other)
    await other.confirm_fetch(M1, NOW)
    if end == "released":
        assert await owner.release("m1", NOW)
    elif end == "closed":
        await owner.close()
    else:
        await let_die(server, owner)
    assert await take_over_all(other) == []
    assert await server.command("XLEN", UNFINISHED) == 0
    assert not await admit(other, "m1")
    assert await other.claim_window([CHAT], "m1", NOW) is None
    assert await other.claim_window([CHAT], None, NOW) is None
    assert other.open_windows == 0
    assert await server.command("HKEYS", MESSAGE_KEY) == [b"until"]
    assert await read(other) == ANSWER


async def test_a_message_whose_answer_was_fetched_counts_as_answered_after_its_stream_has_expired(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """A host may take long to finish a message."""
    owner, other, _ = replicas
    await open_stream(owner, ANSWER)
    await owner.confirm_fetch(M1, NOW)
    await server.command("DEL", KEY)
    await let_die(server, owner)
    assert await take_over_all(other) == []


async def test_a_finished_message_that_a_stream_answered_has_no_spare_window(replicas: list[RedisStateStore]) -> None:
    owner, other, _ = replicas
    await open_stream(owner, ANSWER)
    await read(other)
    await other.confirm_fetch(M1, NOW)
    await owner.finish("m1", NOW)
    assert owner.open_windows == 0
    assert await other.claim_window([CHAT], None, NOW, spare_of="alice") is None


@pytest.mark.parametrize("frame", [None, TEXT, ANSWER, SENTENCE])
async def test_a_message_whose_answer_was_not_fetched_is_taken_over_without_its_stream(
    server: RedisServer, replicas: list[RedisStateStore], frame: StreamFrame | None
) -> None:
    owner, other, third = replicas
    await open_stream(owner, *([frame] if frame else []))
    await let_die(server, owner)
    assert await other.take_over(NOW) == [stored("m1")]
    assert await read(third) is None
    assert await server.command("EXISTS", KEY) == 0
    await third.confirm_fetch(M1, NOW)
    assert await claim(other, "m1") == window("m1")


async def test_a_fetched_sentence_does_not_answer_a_message(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """The stream ended before the answer, which goes out through the window."""
    owner, other, _ = replicas
    await open_stream(owner, SENTENCE)
    assert await read(other) == SENTENCE
    await other.confirm_fetch(M1, NOW)
    assert await owner.is_fetched("m1", NOW)
    await end_reservation(server)
    await let_die(server, owner)
    assert await other.take_over(NOW) == [stored("m1")]
    assert await claim(other, "m1") == window("m1")


@pytest.mark.parametrize("released", [False, True])
async def test_a_message_whose_last_frame_is_reserved_is_taken_over_once_it_is_clear_that_nobody_got_it(
    server: RedisServer, replicas: list[RedisStateStore], *, released: bool
) -> None:
    owner, other, third = replicas
    await open_stream(owner, ANSWER)
    assert await read(third) == ANSWER
    if released:
        assert not await owner.release("m1", NOW)
    else:
        await let_die(server, owner)
    assert await other.take_over(NOW) == []
    await end_reservation(server)
    if released:
        assert await owner.release("m1", NOW)
    assert await other.take_over(NOW) == [stored("m1")]


async def test_many_reserved_messages_do_not_keep_a_take_over_busy(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """It examines a hundred entries in one call, and calls again if all of them could be removed."""
    owner, other, _ = replicas
    await owner.admit([admission_with_stream(f"m{number}") for number in range(100)], NOW)
    for number in range(100):
        await owner.write_frame(f"m{number}", ANSWER, NOW)
        await other.read_frame(stream_id(f"m{number}"), CHAT, NOW)
        # On a busy machine the first reservation would end before the last one begins.
        await server.command("HSET", KEY.replace(M1, stream_id(f"m{number}")), "reserved", FAR_FUTURE_MS)
    await let_die(server, owner)
    async with asyncio.timeout(10):
        assert await other.take_over(NOW) == []


async def test_a_frozen_owner_neither_writes_nor_closes_after_a_take_over(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """What it closes has ended, so it goes on to the window, which is not its own any more."""
    owner, other, third = replicas
    await open_stream(owner, TEXT)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await other.take_over(NOW) == [stored("m1")]
    await owner.write_frame("m1", ANSWER, NOW)
    assert await read(third) is None
    assert not await owner.is_fetched("m1", NOW)
    assert await owner.close_stream("m1", NOW)
    assert await owner.claim_window([CHAT], "m1", NOW) is None


async def test_a_replica_that_takes_over_its_own_message_has_no_stream_of_it_any_more(
    replicas: list[RedisStateStore],
) -> None:
    owner, other, _ = replicas
    await open_stream(owner, TEXT)
    assert await owner.release("m1", NOW)
    assert await owner.take_over(NOW) == [stored("m1")]
    await owner.write_frame("m1", ANSWER, NOW)
    assert await read(other) is None
    assert await owner.close_stream("m1", NOW)


async def test_a_message_admitted_again_after_its_claim_expired_has_a_new_stream(
    replicas: list[RedisStateStore],
) -> None:
    """The id of the stream is the same. The earlier owner can do nothing to it."""
    first, second, third = replicas
    await open_stream(first, ANSWER)
    await first.confirm_fetch(M1, NOW)
    await first.finish("m1", NOW)
    later = NOW + CLAIM_SECONDS
    assert await second.admit([admission_with_stream("m1", later)], later) == [True]
    assert await read(third, later) == StreamFrame("")
    await first.write_frame("m1", TEXT, later)
    assert await first.close_stream("m1", later)
    assert await read(third, later) == StreamFrame("")
    await second.write_frame("m1", TEXT, later)
    assert await read(third, later) == TEXT


async def test_a_stream_expires_by_itself_however_it_is_used(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """It holds what people wrote."""
    owner, other, _ = replicas
    await open_stream(owner)
    await server.command("PEXPIRE", KEY, 1000)
    await owner.write_frame("m1", TEXT, NOW)
    await owner.write_frame("m1", ANSWER, NOW)
    await read(other)
    await other.confirm_fetch(M1, NOW)
    await owner.close_stream("m1", NOW)
    await owner.finish("m1", NOW)
    await read(other)
    assert 0 < await server.command("PTTL", KEY) <= 1000


async def test_a_stream_is_stored_for_its_life_and_a_margin(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    await open_stream(replicas[0])
    assert STREAM_SECONDS + 30 < await server.command("TTL", KEY) <= STREAM_SECONDS + 60


async def test_nothing_is_written_for_a_stream_that_has_expired(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    owner, other, _ = replicas
    await open_stream(owner, TEXT)
    await server.command("DEL", KEY)
    await owner.write_frame("m1", ANSWER, NOW)
    await other.confirm_fetch(M1, NOW)
    assert await read(other) is None
    assert await server.command("EXISTS", KEY) == 0
    assert await owner.release("m1", NOW)
    assert await other.take_over(NOW) == [stored("m1")]


async def test_a_replica_keeps_its_streams_no_longer_than_redis(replicas: list[RedisStateStore]) -> None:
    """Nothing tells it that a stream was fetched and needs no more frames."""
    owner, other, _ = replicas
    await open_stream(owner)
    await admit(owner, "m2", NOW + STREAM_SECONDS)
    await owner.write_frame("m1", TEXT, NOW + STREAM_SECONDS)
    assert await read(other) == StreamFrame("")


async def test_an_admission_without_a_stream_stores_what_earlier_versions_store(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    await admit(replicas[0], "m1")
    fields = ["owner", "entry", "until", "window", "chat", "sender", "url", "opened", "expires", "repeated"]
    assert await server.command("HKEYS", MESSAGE_KEY) == [field.encode() for field in fields]
    keys = {key.partition("}:")[2] for key in await server.keys()}
    assert keys == {"message:m1", "unfinished", f"chat:{CHAT}", "windows", "pulse"}


async def test_a_stream_needs_a_window(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """Its chat is that of the window, to which its answer goes if no refresh fetches it."""
    owner, *_ = replicas
    assert await owner.admit([Admission(stored("m1"), None, M1)], NOW) == [True]
    assert await server.command("EXISTS", KEY) == 0
    assert await owner.close_stream("m1", NOW)


async def test_an_admission_that_fails_for_a_missing_permission_leaves_no_stream(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    owner, *_ = replicas
    await admit(owner, "m0")
    await owner.finish("m0", NOW)
    before = await server.keys()
    # The window's chat has its time to live already, so only the stream needs the command.
    await server.command("ACL", "SETUSER", "default", "-pexpire")
    try:
        with pytest.raises(StateUnavailable):
            await owner.admit([admission_with_stream("m1")], NOW)
    finally:
        await server.command("ACL", "SETUSER", "default", "+@all")
    assert await server.keys() == before
    assert await owner.admit([admission_with_stream("m1")], NOW) == [True]


async def take_over_as_an_earlier_version(server: RedisServer) -> None:
    """Do to the record of `m1` what the script of earlier versions does."""
    await server.command("HSET", MESSAGE_KEY, "owner", "earlier:1")


async def test_a_stream_whose_message_an_earlier_version_took_over_is_unknown(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """That version answers through the window."""
    owner, other, _ = replicas
    await open_stream(owner, ANSWER)
    await take_over_as_an_earlier_version(server)
    assert await read(other) is None
    assert await server.command("EXISTS", KEY) == 0


async def test_a_message_with_a_stream_that_an_earlier_version_took_over_can_be_taken_back(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    owner, other, _ = replicas
    await open_stream(owner, TEXT)
    await let_die(server, owner)
    await take_over_as_an_earlier_version(server)
    assert await other.take_over(NOW) == [stored("m1")]
    assert await claim(other, "m1") == window("m1")
    await other.finish("m1", NOW)


@pytest.fixture
async def far(proxy: FaultProxy) -> AsyncIterator[RedisStateStore]:
    """Return a replica behind the proxy, whose scripts are already loaded in Redis."""
    async with Replicas() as opened:
        yield await opened.open(proxy.address(), answer_seconds=1.0)


async def test_each_operation_whose_answer_was_lost_is_repeated_with_the_same_result(
    server: RedisServer, far: RedisStateStore, proxy: FaultProxy
) -> None:
    proxy.drop(1, to=ADMIT.sha.encode())
    await open_stream(far)
    proxy.drop(1, to=WRITE_FRAME.sha.encode())
    await far.write_frame("m1", ANSWER, NOW)
    proxy.drop(1, to=READ_FRAME.sha.encode())
    assert await read(far) == ANSWER
    proxy.drop(1, to=CLOSE_STREAM.sha.encode())
    assert not await far.close_stream("m1", NOW)
    proxy.drop(1, to=APPLY_UPDATES.sha.encode())
    await far.confirm_fetch(M1, NOW)
    proxy.drop(1, to=IS_FETCHED.sha.encode())
    assert await far.is_fetched("m1", NOW)
    assert await far.admit([Admission(stored("m2"), window("m2"), stream_id("m2"))], NOW) == [True]
    proxy.drop(1, to=CLOSE_STREAM.sha.encode())
    assert await far.close_stream("m2", NOW)
    assert await server.command("EXISTS", KEY.replace("m1", "m2")) == 0
    assert proxy.lost == 7


async def test_a_close_whose_answers_were_lost_succeeds_when_it_is_repeated(
    far: RedisStateStore, proxy: FaultProxy
) -> None:
    await open_stream(far, ANSWER)
    proxy.drop(2, to=CLOSE_STREAM.sha.encode())
    with pytest.raises(StateUnavailable):
        await far.close_stream("m1", NOW)
    assert await read(far) is None
    assert await far.close_stream("m1", NOW)


async def test_a_message_whose_admission_failed_has_no_stream_when_it_is_taken_over(
    far: RedisStateStore, proxy: FaultProxy
) -> None:
    proxy.drop(2, to=ADMIT.sha.encode())
    with pytest.raises(StateUnavailable):
        await far.admit([admission_with_stream("m1"), admission("m2")], NOW)
    assert len(await take_over_all(far)) == 2
    assert await read(far) is None


async def test_while_redis_is_away_a_fetch_is_confirmed_later_and_other_operations_fail(
    far: RedisStateStore, replicas: list[RedisStateStore], proxy: FaultProxy
) -> None:
    near, *_ = replicas
    await open_stream(near, ANSWER)
    await far.admit([admission_with_stream("m2")], NOW)
    assert await read(far) == ANSWER
    await proxy.refuse()
    await far.confirm_fetch(M1, NOW)
    for operation in (
        far.write_frame("m2", TEXT, NOW),
        far.read_frame(M1, CHAT, NOW),
        far.is_fetched("m2", NOW),
        far.close_stream("m2", NOW),
    ):
        with pytest.raises(StateUnavailable):
            await operation
    assert not await near.is_fetched("m1", NOW)
    await proxy.accept()
    await healed(far)
    assert await near.is_fetched("m1", NOW)
    assert not await near.close_stream("m1", NOW)


async def test_a_stream_is_not_closed_before_a_deferred_confirmation_is_recorded(
    server: RedisServer, far: RedisStateStore, proxy: FaultProxy
) -> None:
    await open_stream(far, ANSWER)
    await proxy.refuse()
    await far.confirm_fetch(M1, NOW)
    await proxy.accept()
    async with asyncio.timeout(10):
        while True:
            try:
                assert not await far.close_stream("m1", NOW)
                break
            except StateUnavailable:
                # The circuit breaker is open for half a second.
                await asyncio.sleep(0.01)
    assert await server.command("HGET", MESSAGE_KEY, "answered") == b"1"


async def test_a_stream_that_could_not_be_closed_is_closed_once_redis_is_back(
    far: RedisStateStore, replicas: list[RedisStateStore], proxy: FaultProxy
) -> None:
    """Its owner may die before the next refresh asks it, and no other replica would ever finish the bubble."""
    near, *_ = replicas
    await open_stream(far, TEXT)
    await proxy.refuse()
    with pytest.raises(StateUnavailable):
        await far.close_stream("m1", NOW)
    assert await read(near) == TEXT
    await proxy.accept()
    await healed(far)
    assert await read(near) is None


async def test_a_last_frame_that_was_fetched_meanwhile_is_not_closed_later(
    far: RedisStateStore, replicas: list[RedisStateStore], proxy: FaultProxy
) -> None:
    near, *_ = replicas
    await open_stream(far, ANSWER)
    await proxy.refuse()
    with pytest.raises(StateUnavailable):
        await far.close_stream("m1", NOW)
    assert await read(near) == ANSWER
    await near.confirm_fetch(M1, NOW)
    await proxy.accept()
    await healed(far)
    assert await read(near) == ANSWER


async def test_a_full_redis_refuses_frames_and_lets_streams_end(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    owner, other, _ = replicas
    await open_stream(owner, TEXT)
    await server.command("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(StateUnavailable) as raised:
            await owner.write_frame("m1", ANSWER, NOW)
        assert raised.value.reason == "state_full"
        assert await read(other) == TEXT
        assert not await owner.is_fetched("m1", NOW)
        assert await owner.close_stream("m1", NOW)
        await owner.finish("m1", NOW)
    finally:
        await server.command("CONFIG", "SET", "maxmemory", 0)
    await healed(owner)


async def test_streams_that_a_restarted_redis_has_lost_are_unknown_and_can_be_closed(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    owner, other, _ = replicas
    await open_stream(owner, TEXT)
    await server.command("FLUSHALL")
    await owner.write_frame("m1", ANSWER, NOW)
    assert await read(other) is None
    assert not await owner.is_fetched("m1", NOW)
    assert await owner.close_stream("m1", NOW)
    await owner.finish("m1", NOW)
