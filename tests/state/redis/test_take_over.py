"""A replica dies, stops or sleeps: who takes its work over, and who does not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maven_channel_wecom.later import settled
from maven_channel_wecom.state.port import KeptCallback
from tests.fakes.redis_replicas import Replicas, crash_redis_store, let_replicas_be_silent
from tests.state.admitted import NOW, admit, all_unfinished, kept, window

if TYPE_CHECKING:
    from maven_channel_wecom.state.redis.store import RedisStateStore
    from tests.fakes.redis_server import RedisServer

SILENCE = 60.0


async def test_a_silent_replica_loses_its_work_and_one_that_works_for_long_does_not(server: RedisServer) -> None:
    """Whoever is heard keeps what it has in hand, however long it takes."""
    async with Replicas() as opened, asyncio.timeout(20):
        dead, busy, other = [await opened.open(server.address(), silent_seconds=0.6) for _ in range(3)]
        await admit(dead, "dead's")
        await admit(busy, "busy's")
        await crash_redis_store(dead)
        taken: list[KeptCallback] = []
        while not taken:
            taken = await other.unfinished(NOW)
        assert [callback.message_id for callback in taken] == ["dead's"]
        assert not await admit(other, "busy's")


async def test_a_replica_that_stops_gives_its_work_up_at_once(replicas: list[RedisStateStore]) -> None:
    """Nobody waits for a silence when one said goodbye."""
    first, second, third = replicas
    await admit(first, "m1")
    await first.close()
    assert await second.unfinished(NOW) == [kept("m1")]
    assert await third.unfinished(NOW) == []


async def test_work_is_taken_over_by_one(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """All replicas look for it at the same time; much of it takes several steps."""
    first, *others = replicas
    await asyncio.gather(*(admit(first, f"m{number}") for number in range(450)))
    await crash_redis_store(first)
    await let_replicas_be_silent(server, seconds=SILENCE)
    taken = await asyncio.gather(*(all_unfinished(store) for store in others))
    assert sorted(callback.message_id for callbacks in taken for callback in callbacks) == sorted(
        f"m{number}" for number in range(450)
    )


async def test_much_work_in_hand_is_kept(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """A beat names all of it, in several steps."""
    first, second, _ = replicas
    await asyncio.gather(*(admit(first, f"m{number}") for number in range(450)))
    await let_replicas_be_silent(server, seconds=SILENCE)
    await first._beat()
    assert await second.unfinished(NOW) == []


async def test_after_redis_was_away_nobody_counts_as_silent(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """For that long nobody could be heard, so everybody gets as long again to be."""
    first, second, _ = replicas
    await admit(first, "m1")
    await let_replicas_be_silent(server, seconds=SILENCE, steady=False)
    assert await second.unfinished(NOW) == []


async def test_who_lost_a_message_neither_answers_nor_finishes_it(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """A process that slept for a minute wakes up in the middle of its work."""
    sleeper, second, third = replicas
    for message_id in ("m1", "m2"):
        await admit(sleeper, message_id)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert len(await second.unfinished(NOW)) == 2
    assert await sleeper.claim_window("chat", "m1", NOW) is None
    await sleeper.finish("m1", NOW)
    await sleeper.release("m2", NOW)
    assert not await admit(third, "m2")
    assert await second.claim_window("chat", "m1", NOW) is not None
    await second.release("m2", NOW)
    assert await admit(third, "m2")


async def test_who_slept_while_answering_cannot_open_the_window_again(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """The one that took the message over is answering through it now."""
    sleeper, second, third = replicas
    await admit(sleeper, "m1")
    claimed = await sleeper.claim_window("chat", "m1", NOW)
    assert claimed is not None
    await let_replicas_be_silent(server, seconds=SILENCE)
    await second.unfinished(NOW)
    again = await second.claim_window("chat", "m1", NOW)
    assert again is not None
    assert again.repeated
    await sleeper.restore_window(claimed, NOW)
    assert await third.claim_window("chat", "m1", NOW) is None


async def test_an_answer_of_who_slept_counts(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """It was sent, whoever has the message now: nobody sends another."""
    sleeper, second, third = replicas
    await admit(sleeper, "m1")
    claimed = await sleeper.claim_window("chat", "m1", NOW)
    assert claimed is not None
    await let_replicas_be_silent(server, seconds=SILENCE)
    await second.unfinished(NOW)
    await sleeper.spend_window(claimed, NOW)
    assert await second.claim_window("chat", "m1", NOW) is None
    await crash_redis_store(second)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await third.unfinished(NOW) == []


async def test_a_window_another_replica_is_answering_through_is_not_reopened(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """It was the newest of the chat; that the message's own replica died says nothing about that reply."""
    dead, second, third = replicas
    await admit(dead, "m1")
    assert await second.claim_window("chat", None, NOW) is not None
    await crash_redis_store(dead)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await third.unfinished(NOW) == [kept("m1")]
    assert await third.claim_window("chat", "m1", NOW) is None


async def test_a_callback_whose_record_was_evicted_is_still_taken_over(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """Redis should evict nothing, but what is acknowledged must not hang on that."""
    first, second, third = replicas
    await admit(first, "m1")
    await server.command("DEL", "maven-wecom:{wecom}:message:m1")
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await second.unfinished(NOW) == [kept("m1")]
    assert not await admit(third, "m1")
    await second.finish("m1", NOW)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await third.unfinished(NOW) == []


async def test_replicas_that_are_gone_are_forgotten(server: RedisServer) -> None:
    """Else a name would stay for each restart."""
    async with Replicas() as opened, asyncio.timeout(20):
        stream = "maven-wecom:{wecom}:unfinished"
        gone, other = [await opened.open(server.address(), silent_seconds=0.05) for _ in range(2)]
        await admit(gone, "m1")
        await gone.finish("m1", NOW)
        await crash_redis_store(gone)
        while await server.command("XINFO", "CONSUMERS", stream, "replicas"):
            await other.unfinished(NOW)
        assert await admit(other, "m2")
        assert len(await server.command("XINFO", "CONSUMERS", stream, "replicas")) == 1


async def test_large_callbacks_are_taken_over_too(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """A hundred of them would not come through in the time of one step."""
    first, second, _ = replicas
    for number in range(20):
        callback = KeptCallback(f"m{number}", "chat", NOW + number, bytes(700_000))
        await settled(first.admit(callback, window(f"m{number}"), NOW))
    await crash_redis_store(first)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert len(await all_unfinished(second)) == 20
