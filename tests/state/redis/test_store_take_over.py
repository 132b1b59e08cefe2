"""Take-over of the messages of a replica that died, stopped or was frozen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.redis.scripts import TAKE_OVER
from maven_channel_wecom.state.redis.store import SILENT_SECONDS
from maven_channel_wecom.state.store import Admission, StoredCallback
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.redis_replicas import Replicas, crash_redis_store, let_replicas_be_silent
from tests.state.messages import CHAT, NOW, admission, admit, claim, stored, take_over_all, window

if TYPE_CHECKING:
    from maven_channel_wecom.state.redis.store import RedisStateStore
    from tests.fakes.redis_server import RedisServer

SILENCE = 60.0


async def test_messages_of_a_dead_replica_are_taken_over_and_those_of_a_busy_one_are_not(server: RedisServer) -> None:
    async with Replicas() as opened, asyncio.timeout(20):
        dead, busy, other = [await opened.open(server.address(), silent_seconds=0.6) for _ in range(3)]
        await admit(dead, "dead's")
        await admit(busy, "busy's")
        await crash_redis_store(dead)
        taken: list[StoredCallback] = []
        while not taken:
            taken = await other.take_over(NOW)
        assert [callback.message_id for callback in taken] == ["dead's"]
        assert not await admit(other, "busy's")


async def test_messages_of_a_closed_replica_are_taken_over_at_once(replicas: list[RedisStateStore]) -> None:
    first, second, third = replicas
    await admit(first, "m1")
    await first.close()
    assert await second.take_over(NOW) == [stored("m1")]
    assert await third.take_over(NOW) == []


async def test_each_message_is_taken_over_by_one_replica_only(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """All replicas take over at the same time, and so many messages need several calls."""
    first, *others = replicas
    await first.admit([admission(f"m{number}") for number in range(450)], NOW)
    await crash_redis_store(first)
    await let_replicas_be_silent(server, seconds=SILENCE)
    taken = await asyncio.gather(*(take_over_all(store) for store in others))
    assert sorted(callback.message_id for callbacks in taken for callback in callbacks) == sorted(
        f"m{number}" for number in range(450)
    )


@pytest.mark.parametrize("limit", [1_000, 1])
async def test_a_take_over_returns_messages_although_many_older_ones_were_answered(
    server: RedisServer, replicas: list[RedisStateStore], limit: int
) -> None:
    """An empty list would mean that none are left. Answered messages are finished on the way."""
    first, second, third = replicas
    await first.admit([admission(f"m{number}", NOW + number) for number in range(250)], NOW)
    for number in range(220):
        await first.spend_window(await claim(first, f"m{number}"), NOW)
    await crash_redis_store(first)
    await let_replicas_be_silent(server, seconds=SILENCE)
    taken = await second.take_over(NOW, limit=limit)
    assert [callback.message_id for callback in taken] == [f"m{number}" for number in range(220, 250)][:limit]
    assert len(await take_over_all(third)) == 30 - len(taken)


async def test_heartbeats_keep_many_messages_in_progress(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """A heartbeat confirms all of them, in several calls."""
    first, second, _ = replicas
    await first.admit([admission(f"m{number}") for number in range(450)], NOW)
    await let_replicas_be_silent(server, seconds=SILENCE)
    await first.heartbeat()
    assert await second.take_over(NOW) == []


async def test_no_replica_counts_as_dead_right_after_redis_was_unavailable(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """No replica could send heartbeats, so each gets the full time again."""
    first, second, _ = replicas
    await admit(first, "m1")
    await let_replicas_be_silent(server, seconds=SILENCE, steady=False)
    assert await second.take_over(NOW) == []


async def test_a_replica_cannot_answer_or_finish_a_message_that_was_taken_over(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """A frozen process may continue after another replica has taken over its messages."""
    frozen, second, third = replicas
    for message_id in ("m1", "m2"):
        await admit(frozen, message_id)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert len(await second.take_over(NOW)) == 2
    assert await frozen.claim_window([CHAT], "m1", NOW) is None
    await frozen.finish("m1", NOW)
    assert await frozen.release("m2", NOW)
    assert await third.take_over(NOW) == []
    assert not await admit(third, "m2")
    assert await second.claim_window([CHAT], "m1", NOW) is not None
    assert await second.release("m2", NOW)
    assert [callback.message_id for callback in await third.take_over(NOW)] == ["m2"]


async def test_a_frozen_replica_cannot_restore_a_window_that_was_claimed_after_the_take_over(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    frozen, second, third = replicas
    await admit(frozen, "m1")
    claimed = await claim(frozen, "m1")
    await let_replicas_be_silent(server, seconds=SILENCE)
    await second.take_over(NOW)
    again = await claim(second, "m1")
    assert again.repeated
    await frozen.restore_window(claimed, NOW)
    assert await third.claim_window([CHAT], "m1", NOW) is None


async def test_a_frozen_replica_can_still_spend_its_window(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """Its reply was sent, whichever replica owns the message now."""
    frozen, second, third = replicas
    await admit(frozen, "m1")
    claimed = await claim(frozen, "m1")
    await let_replicas_be_silent(server, seconds=SILENCE)
    await second.take_over(NOW)
    await frozen.spend_window(claimed, NOW)
    assert await second.claim_window([CHAT], "m1", NOW) is None
    await crash_redis_store(second)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await third.take_over(NOW) == []


async def test_a_window_claimed_by_a_live_replica_is_not_reopened_by_a_take_over(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """It was claimed as the newest of its chat. The death of the message's replica does not affect that reply."""
    dead, second, third = replicas
    await admit(dead, "m1")
    assert await second.claim_window([CHAT], None, NOW) is not None
    await crash_redis_store(dead)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await third.take_over(NOW) == [stored("m1")]
    assert await third.claim_window([CHAT], "m1", NOW) is None


async def test_a_callback_whose_record_was_evicted_is_still_taken_over(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """Redis should be configured not to evict keys, but an acknowledged message must not depend on that."""
    first, second, third = replicas
    await admit(first, "m1")
    await server.command("DEL", "maven-wecom:{wecom}:message:m1")
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await second.take_over(NOW) == [stored("m1")]
    assert not await admit(third, "m1")
    await second.finish("m1", NOW)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await third.take_over(NOW) == []


async def test_consumers_of_dead_replicas_are_removed(server: RedisServer) -> None:
    """Otherwise a consumer would remain after each restart."""
    async with Replicas() as opened, asyncio.timeout(20):
        stream = "maven-wecom:{wecom}:unfinished"
        gone, other = [await opened.open(server.address(), silent_seconds=0.05) for _ in range(2)]
        await admit(gone, "m1")
        await gone.finish("m1", NOW)
        await crash_redis_store(gone)
        while await server.command("XINFO", "CONSUMERS", stream, "replicas"):
            await other.take_over(NOW)
        assert await admit(other, "m2")
        assert len(await server.command("XINFO", "CONSUMERS", stream, "replicas")) == 1


async def test_large_callbacks_are_taken_over(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """An answer with a hundred of them would exceed the timeout of a command."""
    first, second, _ = replicas
    for number in range(20):
        callback = StoredCallback(f"m{number}", NOW + number, bytes(700_000))
        await first.admit([Admission(callback, window(f"m{number}"))], NOW)
    await crash_redis_store(first)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert len(await take_over_all(second)) == 20


async def test_a_take_over_that_failed_because_answers_were_lost_is_repeated_by_the_next(server: RedisServer) -> None:
    """It does not have to wait until the messages count as silent again, and no other replica takes them over."""
    async with FaultProxy(server.port) as proxy, Replicas() as opened:
        dead, far = [await opened.open(address) for address in (server.address(), proxy.address())]
        near = await opened.open(server.address())
        await dead.admit([admission(f"m{number}", NOW + number) for number in range(5)], NOW)
        assert await dead.claim_window([CHAT], "m0", NOW) is not None
        await crash_redis_store(dead)
        await let_replicas_be_silent(server, seconds=SILENCE)
        proxy.drop(2, to=TAKE_OVER.sha.encode())
        with pytest.raises(StateUnavailable):
            await far.take_over(NOW)
        assert proxy.lost == 2
        assert await near.take_over(NOW) == []
        assert await far.take_over(NOW) == [stored(f"m{number}", NOW + number) for number in range(5)]
        assert await far.take_over(NOW) == []
        assert (await claim(far, "m0")).repeated
        await far.close()


async def test_a_take_over_whose_answer_was_lost_once_succeeds(server: RedisServer) -> None:
    async with FaultProxy(server.port) as proxy, Replicas() as opened:
        dead, far = [await opened.open(address) for address in (server.address(), proxy.address())]
        await admit(dead, "m1")
        await dead.close()
        proxy.drop(1, to=TAKE_OVER.sha.encode())
        assert await far.take_over(NOW) == [stored("m1")]
        assert proxy.lost == 1
        await far.close()


@pytest.mark.parametrize("ends", ["closed", "crashed"])
async def test_messages_of_a_lost_take_over_do_not_wait_as_long_again_if_its_replica_ends(
    server: RedisServer, ends: str
) -> None:
    """A replica that is closed gives them up. After a crash they wait for half of the silence."""
    async with FaultProxy(server.port) as proxy, Replicas() as opened:
        dead, far = [await opened.open(address) for address in (server.address(), proxy.address())]
        near = await opened.open(server.address())
        await admit(dead, "m1")
        await crash_redis_store(dead)
        await let_replicas_be_silent(server, seconds=SILENCE)
        proxy.drop(2, to=TAKE_OVER.sha.encode())
        with pytest.raises(StateUnavailable):
            await far.take_over(NOW)
        if ends == "closed":
            await far.close()
            assert await near.take_over(NOW) == [stored("m1")]
        else:
            await crash_redis_store(far)
            assert await near.take_over(NOW) == []
            ((_, _, idle_ms, _),) = await server.command(
                "XPENDING", "maven-wecom:{wecom}:unfinished", "replicas", "-", "+", 9
            )
            assert SILENT_SECONDS * 500 <= idle_ms < SILENT_SECONDS * 1000


async def test_a_message_that_was_taken_over_is_confirmed_by_the_next_heartbeat(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    dead, second, _ = replicas
    await admit(dead, "m1")
    await crash_redis_store(dead)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await second.take_over(NOW) == [stored("m1")]
    await second.heartbeat()
    ((_, _, idle_ms, _),) = await server.command("XPENDING", "maven-wecom:{wecom}:unfinished", "replicas", "-", "+", 9)
    assert idle_ms < SILENT_SECONDS * 500
