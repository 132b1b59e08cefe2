"""Behavior that only the Redis backend has: several replicas on one state."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, cast

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.redis.store import RedisStateStore
from maven_channel_wecom.state.store import CLAIM_SECONDS, Admission, StoredCallback
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.redis_replicas import Replicas, healed, let_replicas_be_silent
from tests.state.messages import CHAT, HOUR, NOW, admission, admit, claim, take_over_all, window

if TYPE_CHECKING:
    from maven_channel_wecom.state.redis.connection import RedisConnection
    from tests.fakes.redis_server import RedisServer

OTHER = "group:other"


async def test_exactly_one_of_several_replicas_admits_a_message(replicas: list[RedisStateStore]) -> None:
    """A load balancer may send repeats to any replica."""
    deliveries = [(number, store) for number in range(100) for store in replicas]
    admitted = await asyncio.gather(*(admit(store, f"m{number}") for number, store in deliveries))
    assert sum(admitted) == 100
    assert [sum(admitted[first : first + 3]) for first in range(0, 300, 3)] == [1] * 100


async def test_a_window_is_claimed_only_once_by_all_replicas_together(
    replicas: list[RedisStateStore],
) -> None:
    first, second, third = replicas
    for number in range(10):
        await admit(first, f"m{number}", NOW + number)
    claimed = await asyncio.gather(
        *(store.claim_window([CHAT], None, NOW + 10) for store in replicas for _ in range(3)),
        *(second.claim_window([CHAT], f"m{number}", NOW + 10) for number in range(10)),
        *(third.claim_window([CHAT], f"m{number}", NOW + 10) for number in range(10)),
    )
    assert sorted(found.message_id for found in claimed if found) == [f"m{number}" for number in range(10)]
    # The count is that of the answer read last, and concurrent answers may be read in any order.
    await third.heartbeat()
    assert third.open_windows == 0


async def test_a_window_is_restored_only_by_the_replica_that_claimed_it(replicas: list[RedisStateStore]) -> None:
    first, second, _ = replicas
    await admit(first, "m1")
    claimed = await claim(first, "m1")
    await second.restore_window(claimed, NOW)
    assert await second.claim_window([CHAT], None, NOW) is None
    await first.restore_window(claimed, NOW)
    assert await second.claim_window([CHAT], None, NOW) == claimed


async def test_an_update_of_a_message_that_was_taken_over_changes_nothing(server: RedisServer) -> None:
    """A replica that was cut off from Redis applies its update late, when the message has another token."""
    async with FaultProxy(server.port) as proxy, Replicas() as opened:
        late = await opened.open(proxy.address())
        other = await opened.open(server.address())
        await admit(late, "m1")
        await proxy.refuse()
        await late.finish("m1", NOW)
        await let_replicas_be_silent(server, seconds=60)
        assert await other.take_over(NOW) != []
        await proxy.accept()
        await healed(late)
        assert not await admit(late, "m1")
        assert await other.release("m1", NOW)
        assert [callback.message_id for callback in await late.take_over(NOW)] == ["m1"]
        assert await other.take_over(NOW) == []
        await late.close()


async def test_scripts_are_loaded_again_after_they_were_flushed(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    for number in range(3):
        await server.command("SCRIPT", "FLUSH")
        admitted = await asyncio.gather(*(admit(store, f"m{number}") for store in replicas))
        assert sum(admitted) == 1


async def test_two_channels_on_one_redis_are_separate(server: RedisServer) -> None:
    """Two bots may share one Redis, and their message ids may be the same."""
    async with Replicas() as opened:
        stores = [await opened.open(server.address(), channel=channel) for channel in ("one", "two")]
        for store in stores:
            assert await admit(store, "m1")
        assert [await store.claim_window([CHAT], None, NOW) for store in stores] == [window("m1")] * 2
        await stores[0].close()
        assert await stores[1].take_over(NOW) == []


async def test_no_channel_uses_a_key_of_another(server: RedisServer) -> None:
    """The name of a channel and the ids of its messages could otherwise form a key of another channel."""
    async with Replicas() as opened:
        names = ("x", "x}:message:y", "x%7D:message:y", "}", "机器人: 1%")
        stores = [await opened.open(server.address(), channel=name) for name in names]
        for store in stores:
            assert await admit(store, "y}:unfinished")
            assert await admit(store, "y%7D:unfinished")
        for store in stores:
            await store.close()
            assert await store.health() is None
    tags = Counter(key[: key.index("}") + 2] for key in await server.keys())
    # The stream, the pulse, two messages, one chat and the set of open windows.
    assert tags == dict.fromkeys(
        [
            "maven-wecom:{x}:",
            "maven-wecom:{x%7D:message:y}:",
            "maven-wecom:{x%257D:message:y}:",
            "maven-wecom:{%7D}:",
            "maven-wecom:{机器人: 1%25}:",
        ],
        6,
    )


async def test_all_keys_of_a_message_expire_however_it_ended(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """The URL of a spent window is removed at once."""
    first, second, _ = replicas
    for number in range(8):
        await admit(first, f"m{number}")
    await first.finish("m0", NOW)
    for number in range(1, 4):
        claimed = await first.claim_window([CHAT], f"m{number}", NOW)
        assert claimed is not None
        if number == 1:
            await first.finish(f"m{number}", NOW)
        await (first.restore_window if number == 3 else first.spend_window)(claimed, NOW)
    for number in range(2, 8):
        await first.finish(f"m{number}", NOW)
    assert await server.command("XLEN", "maven-wecom:{wecom}:unfinished") == 0
    for key in await server.keys():
        if key.rpartition("}:")[2] not in {"windows", "pulse", "unfinished"}:
            assert 0 < await server.command("TTL", key) <= HOUR + 120, key
    for spent in ("m1", "m2"):
        key = f"maven-wecom:{{wecom}}:message:{spent}"
        assert await server.command("HKEYS", key) == [b"until"]
        assert await server.command("TTL", key) <= CLAIM_SECONDS + 60
    assert second.open_windows == 0
    await second.take_over(NOW)
    assert second.open_windows == 6
    await second.take_over(NOW + HOUR)
    await second.take_over(NOW + HOUR)
    assert second.open_windows == 0


async def test_a_batch_of_large_callbacks_is_admitted(replicas: list[RedisStateStore]) -> None:
    """It is split, because a single call would exceed the timeout."""
    first, second, _ = replicas
    batch = [Admission(StoredCallback(f"m{number}", NOW, bytes(300_000)), None) for number in range(8)]
    assert await first.admit(batch, NOW) == [True] * 8
    assert await second.admit(batch, NOW) == [False] * 8
    await first.close()
    assert len(await take_over_all(second)) == 8


async def test_many_messages_can_be_finished_concurrently(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    first, *_ = replicas
    ids = [f"m{number}" for number in range(300)]
    assert await first.admit([admission(message_id) for message_id in ids], NOW) == [True] * 300
    await asyncio.gather(*(first.finish(message_id, NOW) for message_id in ids))
    assert await server.command("XLEN", "maven-wecom:{wecom}:unfinished") == 0


async def test_a_message_admitted_again_in_another_chat_has_no_window_in_the_first(
    replicas: list[RedisStateStore],
) -> None:
    first, second, _ = replicas
    await admit(first, "m1")
    await first.finish("m1", NOW)
    later = NOW + CLAIM_SECONDS
    await admit(second, "m1", later, chat=OTHER)
    assert await first.claim_window([CHAT], None, later) is None
    assert second.open_windows == 1
    assert await first.claim_window([OTHER], None, later) == window("m1", later, chat=OTHER)


async def test_an_admission_that_fails_for_a_missing_permission_leaves_no_keys(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    first, *_ = replicas
    await admit(first, "m1")
    await first.finish("m1", NOW)
    before = await server.keys()
    for command in ("xclaim", "hset", "zadd", "xadd"):
        await server.command("ACL", "SETUSER", "default", f"-{command}")
        try:
            with pytest.raises(StateUnavailable):
                await admit(first, "m2")
        finally:
            await server.command("ACL", "SETUSER", "default", "+@all")
        # After a refusal the store probes Redis by itself, with keys that it removes again.
        assert {key for key in await server.keys() if ":probe:" not in key} == before
        assert await server.command("XLEN", "maven-wecom:{wecom}:unfinished") == 0
    assert await admit(first, "m2")


async def test_a_damaged_record_does_not_prevent_other_messages_from_being_finished(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    first, *_ = replicas
    for message_id in ("m1", "m2"):
        await admit(first, message_id)
    await server.command("SET", "maven-wecom:{wecom}:message:m1", "not a hash")
    await asyncio.gather(first.finish("m1", NOW), first.finish("m2", NOW))
    assert await first.health() is None
    assert await server.command("HKEYS", "maven-wecom:{wecom}:message:m2") != []
    assert await server.command("XLEN", "maven-wecom:{wecom}:unfinished") == 1


async def test_a_window_can_be_spent_by_a_replica_that_did_not_claim_it(replicas: list[RedisStateStore]) -> None:
    first, second, third = replicas
    await admit(first, "m1")
    claimed = await claim(first, "m1")
    await second.spend_window(claimed, NOW)
    await first.restore_window(claimed, NOW)
    assert await third.claim_window([CHAT], "m1", NOW) is None


@pytest.mark.parametrize("answer", [7, [], [1, None], b"OK"], ids=["number", "empty", "no-count", "text"])
async def test_an_answer_that_no_script_returns_makes_the_state_unavailable(answer: object) -> None:
    """A server that is not Redis may be in front of it."""

    class Connection:
        last_failure = None

        async def run(self, *_: object) -> object:
            return answer

    store = RedisStateStore(cast("RedisConnection", Connection()), channel="wecom")
    with pytest.raises(StateUnavailable, match="no script returns"):
        await store.take_over(NOW)
