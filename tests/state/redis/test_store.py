"""What only the Redis backend does: several replicas on one state."""

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


async def test_of_several_replicas_exactly_one_admits(replicas: list[RedisStateStore]) -> None:
    """A balancer sends repeats anywhere."""
    deliveries = [(number, store) for number in range(100) for store in replicas]
    admitted = await asyncio.gather(*(admit(store, f"m{number}") for number, store in deliveries))
    assert sum(admitted) == 100
    assert [sum(admitted[first : first + 3]) for first in range(0, 300, 3)] == [1] * 100


async def test_a_window_is_claimed_once_by_all_replicas_together(replicas: list[RedisStateStore]) -> None:
    """Claimed by message and by chat alike."""
    first, second, third = replicas
    for number in range(10):
        await admit(first, f"m{number}", NOW + number)
    claimed = await asyncio.gather(
        *(store.claim_window([CHAT], None, NOW + 10) for store in replicas for _ in range(3)),
        *(second.claim_window([CHAT], f"m{number}", NOW + 10) for number in range(10)),
        *(third.claim_window([CHAT], f"m{number}", NOW + 10) for number in range(10)),
    )
    assert sorted(found.message_id for found in claimed if found) == [f"m{number}" for number in range(10)]
    assert third.open_windows == 0


async def test_a_window_claimed_by_one_replica_is_restored_for_all(replicas: list[RedisStateStore]) -> None:
    """Only by the replica that claimed it: the others know nothing of its reply."""
    first, second, _ = replicas
    await admit(first, "m1")
    claimed = await first.claim_window([CHAT], "m1", NOW)
    assert claimed is not None
    await second.restore_window(claimed, NOW)
    assert await second.claim_window([CHAT], None, NOW) is None
    await first.restore_window(claimed, NOW)
    assert await second.claim_window([CHAT], None, NOW) == claimed


async def test_a_step_that_comes_too_late_changes_nothing(server: RedisServer) -> None:
    """Its replica was cut off from Redis; what was admitted since then has another token."""
    async with FaultProxy(server.port) as proxy, Replicas() as opened:
        late = await opened.open(proxy.address())
        other = await opened.open(server.address())
        await admit(late, "m1")
        await proxy.refuse()
        await late.release("m1", NOW)
        await let_replicas_be_silent(server, seconds=60)
        assert await other.take_over(NOW) != []
        await other.release("m1", NOW)
        assert await admit(other, "m1")
        await proxy.accept()
        await healed(late)
        assert not await admit(late, "m1")
        assert await other.claim_window([CHAT], "m1", NOW) is not None
        await late.close()


async def test_forgotten_scripts_are_loaded_again(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """After a restart, a failover or by hand."""
    for number in range(3):
        await server.command("SCRIPT", "FLUSH")
        admitted = await asyncio.gather(*(admit(store, f"m{number}") for store in replicas))
        assert sum(admitted) == 1


async def test_channels_are_kept_apart(server: RedisServer) -> None:
    """Two bots may share one Redis, and may see the same ids."""
    async with Replicas() as opened:
        stores = [await opened.open(server.address(), channel=channel) for channel in ("one", "two")]
        for store in stores:
            assert await admit(store, "m1")
        assert [await store.claim_window([CHAT], None, NOW) for store in stores] == [window("m1")] * 2
        await stores[0].close()
        assert await stores[1].take_over(NOW) == []


async def test_no_channel_has_the_keys_of_another(server: RedisServer) -> None:
    """Its name and the ids of its messages could both spell the rest of another channel's key."""
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
    # The stream, the pulse, two messages, one chat and the list of windows.
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


async def test_what_a_message_leaves_behind_expires(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """Whichever way it ended; and a URL that was used is not stored any more."""
    first, second, _ = replicas
    for number in range(8):
        await admit(first, f"m{number}")
    await first.release("m0", NOW)
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
    assert second.open_windows == 5
    await second.take_over(NOW + HOUR)
    await second.take_over(NOW + HOUR)
    assert second.open_windows == 0


async def test_a_batch_of_large_callbacks_is_admitted_in_several_calls(replicas: list[RedisStateStore]) -> None:
    """One call would take longer than an answer may."""
    first, second, _ = replicas
    batch = [Admission(StoredCallback(f"m{number}", NOW, bytes(300_000)), None) for number in range(8)]
    assert await first.admit(batch, NOW) == [True] * 8
    assert await second.admit(batch, NOW) == [False] * 8
    await first.close()
    assert len(await take_over_all(second)) == 8


async def test_many_finished_at_once_are_finished(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    first, *_ = replicas
    ids = [f"m{number}" for number in range(300)]
    assert await first.admit([admission(message_id) for message_id in ids], NOW) == [True] * 300
    await asyncio.gather(*(first.finish(message_id, NOW) for message_id in ids))
    assert await server.command("XLEN", "maven-wecom:{wecom}:unfinished") == 0


async def test_the_window_of_a_message_that_came_again_in_another_chat_is_not_the_newest_of_the_first(
    replicas: list[RedisStateStore],
) -> None:
    """Its claim expired in between."""
    first, second, _ = replicas
    await admit(first, "m1")
    await first.finish("m1", NOW)
    later = NOW + CLAIM_SECONDS
    await admit(second, "m1", later, chat=OTHER)
    assert await first.claim_window([CHAT], None, later) is None
    assert second.open_windows == 1
    assert await first.claim_window([OTHER], None, later) == window("m1", later, chat=OTHER)


async def test_a_user_who_may_not_run_a_command_leaves_nothing_of_a_refused_admission(
    server: RedisServer, replicas: list[RedisStateStore]
) -> None:
    """Whichever it is of those an admission runs."""
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
        assert await server.keys() == before
        assert await server.command("XLEN", "maven-wecom:{wecom}:unfinished") == 0
    assert await admit(first, "m2")


async def test_a_damaged_record_does_not_keep_others_from_being_finished(
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


async def test_a_spent_window_is_the_record_of_a_reply_whoever_reports_it(replicas: list[RedisStateStore]) -> None:
    first, second, third = replicas
    await admit(first, "m1")
    claimed = await claim(first, "m1")
    await second.spend_window(claimed, NOW)
    await first.restore_window(claimed, NOW)
    assert await third.claim_window([CHAT], "m1", NOW) is None


@pytest.mark.parametrize("answer", [7, [], [1, None], b"OK"], ids=["number", "empty", "no-count", "text"])
async def test_an_answer_that_is_none_of_a_script_is_a_state_that_is_away(answer: object) -> None:
    """Something that is no Redis may stand in front of it; nobody is left waiting."""

    class Connection:
        last_failure = None

        async def run(self, *_: object) -> object:
            return answer

    store = RedisStateStore(cast("RedisConnection", Connection()), channel="wecom")
    with pytest.raises(StateUnavailable, match="no script returns"):
        await store.take_over(NOW)
