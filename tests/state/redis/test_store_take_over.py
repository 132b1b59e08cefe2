"""A replica dies, stops or sleeps: which other replica takes its work over, and when none does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.redis.scripts import TAKE_OVER
from maven_channel_wecom.state.store import Admission, StoredCallback
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.redis_replicas import Replicas, crash_redis_store, let_replicas_be_silent
from tests.state.messages import CHAT, NOW, admission, admit, claim, stored, take_over_all, window

if TYPE_CHECKING:
    from maven_channel_wecom.state.redis.store import RedisStateStore
    from tests.fakes.redis_server import RedisServer

SILENCE = 60.0


async def test_a_silent_replica_loses_its_work_and_one_that_works_for_long_does_not(server: RedisServer) -> None:
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


async def test_a_replica_that_stops_gives_its_work_up_at_once(replicas: list[RedisStateStore]) -> None:
    first, second, third = replicas
    await admit(first, "m1")
    await first.close()
    assert await second.take_over(NOW) == [stored("m1")]
    assert await third.take_over(NOW) == []


async def test_work_is_taken_over_by_one(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """All replicas look for it at the same time; much of it takes several steps."""
    first, *others = replicas
    await first.admit([admission(f"m{number}") for number in range(450)], NOW)
    await crash_redis_store(first)
    await let_replicas_be_silent(server, seconds=SILENCE)
    taken = await asyncio.gather(*(take_over_all(store) for store in others))
    assert sorted(callback.message_id for callbacks in taken for callback in callbacks) == sorted(
        f"m{number}" for number in range(450)
    )


async def test_much_work_in_hand_is_stored(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """A beat names all of it, in several steps."""
    first, second, _ = replicas
    await first.admit([admission(f"m{number}") for number in range(450)], NOW)
    await let_replicas_be_silent(server, seconds=SILENCE)
    await first.heartbeat()
    assert await second.take_over(NOW) == []


async def test_after_redis_was_away_nobody_counts_as_silent(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """For that long nobody could be heard, so everybody gets as long again to be."""
    first, second, _ = replicas
    await admit(first, "m1")
    await let_replicas_be_silent(server, seconds=SILENCE, steady=False)
    assert await second.take_over(NOW) == []


async def test_a_replica_that_lost_a_message_neither_answers_nor_finishes_it(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """A process that slept for a minute wakes up in the middle of its work."""
    sleeper, second, third = replicas
    for message_id in ("m1", "m2"):
        await admit(sleeper, message_id)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert len(await second.take_over(NOW)) == 2
    assert await sleeper.claim_window([CHAT], "m1", NOW) is None
    await sleeper.finish("m1", NOW)
    await sleeper.release("m2", NOW)
    assert not await admit(third, "m2")
    assert await second.claim_window([CHAT], "m1", NOW) is not None
    await second.release("m2", NOW)
    assert await admit(third, "m2")


async def test_a_replica_that_slept_while_answering_cannot_open_the_window_again(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """The one that took the message over is answering through it now."""
    sleeper, second, third = replicas
    await admit(sleeper, "m1")
    claimed = await sleeper.claim_window([CHAT], "m1", NOW)
    assert claimed is not None
    await let_replicas_be_silent(server, seconds=SILENCE)
    await second.take_over(NOW)
    again = await second.claim_window([CHAT], "m1", NOW)
    assert again is not None
    assert again.repeated
    await sleeper.restore_window(claimed, NOW)
    assert await third.claim_window([CHAT], "m1", NOW) is None


async def test_an_answer_of_a_replica_that_slept_counts(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """It was sent, whichever replica works on the message now."""
    sleeper, second, third = replicas
    await admit(sleeper, "m1")
    claimed = await sleeper.claim_window([CHAT], "m1", NOW)
    assert claimed is not None
    await let_replicas_be_silent(server, seconds=SILENCE)
    await second.take_over(NOW)
    await sleeper.spend_window(claimed, NOW)
    assert await second.claim_window([CHAT], "m1", NOW) is None
    await crash_redis_store(second)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await third.take_over(NOW) == []


async def test_a_window_another_replica_is_answering_through_is_not_reopened(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """It was the newest of the chat; that the message's own replica died says nothing about that reply."""
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
    """Redis should evict nothing, but an acknowledgement must not depend on that."""
    first, second, third = replicas
    await admit(first, "m1")
    await server.command("DEL", "maven-wecom:{wecom}:message:m1")
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await second.take_over(NOW) == [stored("m1")]
    assert not await admit(third, "m1")
    await second.finish("m1", NOW)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await third.take_over(NOW) == []


async def test_replicas_that_died_are_forgotten(server: RedisServer) -> None:
    """Otherwise a name would stay for each restart."""
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


async def test_large_callbacks_are_taken_over_too(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """A hundred of them would not come through in the time of one step."""
    first, second, _ = replicas
    for number in range(20):
        callback = StoredCallback(f"m{number}", NOW + number, bytes(700_000))
        await first.admit([Admission(callback, window(f"m{number}"))], NOW)
    await crash_redis_store(first)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert len(await take_over_all(second)) == 20


async def test_a_take_over_whose_answer_was_lost_is_found_by_the_next(server: RedisServer) -> None:
    """At once, and not after another silence; by another replica it is not taken twice."""
    async with FaultProxy(server.port) as proxy, Replicas() as opened:
        dead, far = [await opened.open(address) for address in (server.address(), proxy.address())]
        near = await opened.open(server.address())
        await dead.admit([admission(f"m{number}", NOW + number) for number in range(5)], NOW)
        assert await dead.claim_window([CHAT], "m0", NOW) is not None
        await crash_redis_store(dead)
        await let_replicas_be_silent(server, seconds=SILENCE)
        proxy.lose(2, to=TAKE_OVER.sha.encode())
        with pytest.raises(StateUnavailable):
            await far.take_over(NOW)
        assert proxy.lost == 2
        assert await near.take_over(NOW) == []
        assert await far.take_over(NOW) == [stored(f"m{number}", NOW + number) for number in range(5)]
        assert await far.take_over(NOW) == []
        assert (await claim(far, "m0")).repeated
        await far.close()


async def test_a_take_over_whose_answer_was_lost_once_is_asked_for_again(server: RedisServer) -> None:
    async with FaultProxy(server.port) as proxy, Replicas() as opened:
        dead, far = [await opened.open(address) for address in (server.address(), proxy.address())]
        await admit(dead, "m1")
        await dead.close()
        proxy.lose(1, to=TAKE_OVER.sha.encode())
        assert await far.take_over(NOW) == [stored("m1")]
        assert proxy.lost == 1
        await far.close()
