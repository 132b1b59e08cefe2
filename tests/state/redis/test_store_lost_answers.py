"""Lost answers: Redis ran a script, but the replica received no answer. No acknowledged message may be lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.redis.scripts import APPLY_UPDATES, CLAIM_WINDOW, RELEASE
from maven_channel_wecom.state.store import CLAIM_SECONDS
from tests.fakes.redis_replicas import Replicas, crash_redis_store, healed, let_replicas_be_silent
from tests.state.messages import CHAT, NOW, admission, admission_of_event, admit, claim

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from maven_channel_wecom.state.redis.store import RedisStateStore
    from tests.fakes.fault_proxy import FaultProxy
    from tests.fakes.redis_server import RedisServer

SILENCE = 60.0

# Time after which a lost answer is noticed: long enough for a busy machine, and short enough to wait for.
ANSWER_SECONDS = 1.0


@pytest.fixture
async def opened(proxy: FaultProxy) -> AsyncIterator[Replicas]:
    """Yield a stack of replicas, which are closed before the proxy."""
    async with Replicas() as opened:
        yield opened


@pytest.fixture
async def far(opened: Replicas, proxy: FaultProxy) -> RedisStateStore:
    """Return a replica behind the proxy, whose scripts are already loaded in Redis."""
    store = await opened.open(proxy.address(), answer_seconds=ANSWER_SECONDS)
    assert await store.admit([admission_of_event("warm")], NOW) == [True]
    await store.finish("warm", NOW)
    return store


@pytest.fixture
async def near(opened: Replicas, server: RedisServer) -> RedisStateStore:
    """Return a replica that is connected directly."""
    return await opened.open(server.address())


async def test_an_admission_whose_answer_was_lost_once_succeeds(far: RedisStateStore, proxy: FaultProxy) -> None:
    """The script is sent again and recognizes its own claim, so the message is not taken for a duplicate."""
    for number, silently in enumerate([False, True]):
        proxy.drop(1, to=f"m{number}".encode(), silently=silently)
        assert await admit(far, f"m{number}")
        assert not await admit(far, f"m{number}")
    assert proxy.lost == 2


async def test_a_message_whose_admission_failed_because_answers_were_lost_is_taken_over(
    far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy
) -> None:
    """The callback was answered 503, but Redis has stored it, so repeats are duplicates for all replicas."""
    proxy.drop(2, to=b"m1")
    with pytest.raises(StateUnavailable):
        await admit(far, "m1")
    assert not await admit(far, "m1")
    assert not await admit(near, "m1")
    taken = [await store.take_over(NOW) for store in (far, near)]
    assert [callback.message_id for callbacks in taken for callback in callbacks] == ["m1"]
    assert await near.take_over(NOW) == []


async def test_a_message_whose_admission_failed_before_a_crash_is_taken_over(
    server: RedisServer, far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy
) -> None:
    proxy.drop(2, to=b"m1")
    with pytest.raises(StateUnavailable):
        await admit(far, "m1")
    await crash_redis_store(far)
    assert not await admit(near, "m1")
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert [callback.message_id for callback in await near.take_over(NOW)] == ["m1"]


@pytest.mark.parametrize("reply_to", ["m1", None])
@pytest.mark.parametrize("next_reply_to", ["m1", None])
async def test_a_claim_of_a_cancelled_caller_is_undone_before_the_next_claim(
    far: RedisStateStore, proxy: FaultProxy, reply_to: str | None, next_reply_to: str | None
) -> None:
    """A host may cancel a reply and send another one immediately, with or without a message id."""
    assert await admit(far, "m1")
    proxy.drop(1, to=CLAIM_WINDOW.sha.encode(), silently=True)
    claiming = asyncio.create_task(far.claim_window([CHAT], reply_to, NOW))
    while not proxy.lost:  # noqa: ASYNC110 - there is no notification
        await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.wait([claiming])
    assert claiming.cancelled()
    claimed = await far.claim_window([CHAT], next_reply_to, NOW)
    assert claimed is not None
    assert claimed.message_id == "m1"


async def test_a_claim_of_a_cancelled_caller_is_undone_for_other_replicas(
    far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy
) -> None:
    assert await admit(far, "m1")
    proxy.drop(1, to=CLAIM_WINDOW.sha.encode(), silently=True)
    claiming = asyncio.create_task(far.claim_window([CHAT], "m1", NOW))
    while not proxy.lost:  # noqa: ASYNC110 - there is no notification
        await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.wait([claiming])
    await healed(far)
    await far.finish("m1", NOW)
    assert await near.claim_window([CHAT], None, NOW) is not None


async def test_a_claim_that_arrives_after_it_was_undone_gets_no_window(
    server: RedisServer, far: RedisStateStore
) -> None:
    """After a freeze Redis may run old commands in any order."""
    assert await admit(far, "m1")
    stream = "maven-wecom:{wecom}:unfinished"
    for reply_to in ("m1", ""):
        await server.command("EVAL", APPLY_UPDATES.text, 1, stream, "abandon", f"late:{reply_to}", reply_to, NOW)
        claimed = await server.command(
            "EVAL", CLAIM_WINDOW.text, 1, stream, f"late:{reply_to}", "", reply_to, "", NOW, CHAT
        )
        # One open window, no expired one, and no result.
        assert claimed == [1, 0]
    await claim(far, "m1")


async def test_a_repeated_claim_does_not_get_a_window_of_another_chat(
    server: RedisServer, far: RedisStateStore
) -> None:
    """The message id may be admitted again in another chat before the claim is repeated."""
    assert await admit(far, "m1")
    stream = "maven-wecom:{wecom}:unfinished"
    claim_of_chat = ("EVAL", CLAIM_WINDOW.text, 1, stream, "holder", "", "", "", NOW)
    first = await server.command(*claim_of_chat, CHAT)
    assert first[2:4] == [b"m1", CHAT.encode()]
    assert await server.command(*claim_of_chat, CHAT) == first
    assert await server.command(*claim_of_chat, "group:other") == [0, 0]


async def test_a_message_whose_admission_never_reached_redis_is_new_again(
    far: RedisStateStore, proxy: FaultProxy
) -> None:
    """If this process still had it in progress, a repeat would be acknowledged and lost."""
    await proxy.refuse()
    with pytest.raises(StateUnavailable):
        await admit(far, "m1")
    await proxy.accept()
    await healed(far)
    assert await admit(far, "m1")


async def test_each_message_has_exactly_one_owner_despite_many_lost_answers(
    server: RedisServer, far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy
) -> None:
    """Each message is repeated to one of two replicas until it is acknowledged."""
    worked_on: list[str] = []
    for number in range(60):
        message_id = f"m{number}"
        # A heartbeat in between keeps the circuit breaker closed.
        await far.heartbeat()
        # After one lost answer the retry admits it. After two it is answered 503 and repeated to either replica.
        proxy.drop(1 + number % 2, to=message_id.encode())
        for store in (far, far if number % 4 == 1 else near):
            try:
                if await admit(store, message_id):
                    worked_on.append(message_id)
            except StateUnavailable:
                continue
            break
        else:
            pytest.fail("a message was never acknowledged")
    assert proxy.lost == 90
    await far.heartbeat()
    await near.heartbeat()
    await let_replicas_be_silent(server, seconds=SILENCE)
    worked_on += [callback.message_id for store in (far, near) for callback in await store.take_over(NOW)]
    assert sorted(worked_on) == sorted(f"m{number}" for number in range(60))


async def test_a_claim_whose_answer_was_lost_once_gets_the_same_window(far: RedisStateStore, proxy: FaultProxy) -> None:
    for number in range(3):
        await admit(far, f"m{number}")
    proxy.drop(1, to=CLAIM_WINDOW.sha.encode())
    await claim(far, "m0")
    proxy.drop(1, to=CLAIM_WINDOW.sha.encode())
    newest = await far.claim_window([CHAT], None, NOW)
    assert newest is not None
    assert proxy.lost == 2
    assert far.open_windows == 1


async def test_a_window_whose_claim_failed_because_answers_were_lost_is_claimed_once_by_the_next_claims(
    far: RedisStateStore, proxy: FaultProxy
) -> None:
    await admit(far, "m1")
    proxy.drop(2, to=CLAIM_WINDOW.sha.encode())
    with pytest.raises(StateUnavailable):
        await far.claim_window([CHAT], "m1", NOW)
    claimed = await asyncio.gather(*(far.claim_window([CHAT], "m1", NOW) for _ in range(5)))
    assert [found.message_id for found in claimed if found] == ["m1"]


@pytest.mark.parametrize("reply_to", ["m1", None])
async def test_after_a_failed_claim_the_window_of_a_finished_message_is_claimed_once_by_the_next_claims(
    server: RedisServer, far: RedisStateStore, proxy: FaultProxy, reply_to: str | None
) -> None:
    """Hosts may finish a message and answer it later. No key may expire while such an answer waits for Redis."""
    await admit(far, "m1")
    await far.finish("m1", NOW)
    proxy.drop(2, to=CLAIM_WINDOW.sha.encode())
    with pytest.raises(StateUnavailable):
        await far.claim_window([CHAT], reply_to, NOW)
    assert proxy.lost == 2
    for key in await server.keys():
        assert not 0 <= await server.command("PTTL", key) < CLAIM_SECONDS * 1000
    claimed = await asyncio.gather(*(far.claim_window([CHAT], reply_to, NOW) for _ in range(5)))
    assert [found.message_id for found in claimed if found] == ["m1"]


async def test_updates_whose_answers_were_lost_are_applied_once(
    far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy
) -> None:
    """Each of the updates spend, restore and finish is sent twice."""
    for message_id in ("spent", "restored"):
        await admit(far, message_id)
        claimed = await far.claim_window([CHAT], message_id, NOW)
        assert claimed is not None
        proxy.drop(1, to=APPLY_UPDATES.sha.encode())
        await (far.spend_window if message_id == "spent" else far.restore_window)(claimed, NOW)
        proxy.drop(1, to=APPLY_UPDATES.sha.encode())
        await far.finish(message_id, NOW)
    assert proxy.lost == 4
    assert await near.claim_window([CHAT], "spent", NOW) is None
    assert await near.claim_window([CHAT], "restored", NOW) is not None


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_release_whose_answer_was_lost_is_repeated_or_reported(
    far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy, lost: int
) -> None:
    await admit(far, "m1")
    proxy.drop(lost, to=RELEASE.sha.encode())
    if lost == 1:
        assert await far.release("m1", NOW)
    else:
        with pytest.raises(StateUnavailable):
            await far.release("m1", NOW)
    assert [callback.message_id for callback in await near.take_over(NOW)] == ["m1"]
    # The message is the other replica's now.
    assert await far.release("m1", NOW)
    assert await near.take_over(NOW) == []


async def test_updates_made_while_redis_is_unavailable_are_applied_later(
    server: RedisServer, far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy
) -> None:
    await admit(far, "answered")
    claimed = await claim(far, "answered")
    await proxy.refuse()
    await far.spend_window(claimed, NOW)
    await far.finish("answered", NOW)
    assert await far.health() is not None
    await proxy.accept()
    await healed(far)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await near.take_over(NOW) == []
    assert not await admit(near, "answered")


async def test_a_cancelled_admission_does_not_block_others(far: RedisStateStore, proxy: FaultProxy) -> None:
    proxy.hole = True
    cancelled = asyncio.create_task(admit(far, "m1"))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    proxy.hole = False
    proxy.reset()
    assert await admit(far, "m2")


async def test_a_batch_whose_answer_was_lost_once_has_the_same_results(
    far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy
) -> None:
    await admit(near, "m1")
    proxy.drop(1, to=b"m2")
    batch = [admission(message_id) for message_id in ("m0", "m1", "m2", "m0")]
    assert await far.admit(batch, NOW) == [True, False, True, False]
    assert proxy.lost == 1


async def test_a_batch_whose_admission_failed_because_answers_were_lost_is_taken_over_as_a_whole(
    far: RedisStateStore, proxy: FaultProxy
) -> None:
    proxy.drop(2, to=b"m2")
    with pytest.raises(StateUnavailable):
        await far.admit([admission(f"m{number}") for number in range(5)], NOW)
    assert {callback.message_id for callback in await far.take_over(NOW)} == {f"m{number}" for number in range(5)}
