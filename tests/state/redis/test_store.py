"""What only the backend in Redis does: several replicas on one state."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from maven_channel_wecom.state.port import CLAIM_SECONDS
from maven_channel_wecom.state.redis import scripts
from tests.fakes.redis_replicas import Replicas
from tests.state.admitted import HOUR, NOW, admit, window

if TYPE_CHECKING:
    from maven_channel_wecom.state.redis.store import RedisStateStore
    from tests.fakes.redis_server import RedisServer

SILENCE = 60.0


async def test_of_several_replicas_exactly_one_admits(replicas: list[RedisStateStore]) -> None:
    """A balancer sends repeats anywhere."""
    deliveries = [(number, store) for number in range(100) for store in replicas]
    admitted = await asyncio.gather(*(admit(store, f"m{number}") for number, store in deliveries))
    assert sum(admitted) == 100
    assert [sum(admitted[first : first + 3]) for first in range(0, 300, 3)] == [1] * 100


async def test_a_window_is_claimed_once_by_all_replicas_together(replicas: list[RedisStateStore]) -> None:
    """By the name of its message and as the newest of the chat alike."""
    first, second, third = replicas
    for number in range(10):
        await admit(first, f"m{number}", NOW + number)
    claimed = await asyncio.gather(
        *(store.claim_window("chat", None, NOW + 10) for store in replicas for _ in range(3)),
        *(second.claim_window("chat", f"m{number}", NOW + 10) for number in range(10)),
        *(third.claim_window("chat", f"m{number}", NOW + 10) for number in range(10)),
    )
    assert sorted(found.message_id for found in claimed if found) == [f"m{number}" for number in range(10)]
    assert third.open_windows == 0


async def test_a_window_claimed_by_one_replica_is_restored_for_all(replicas: list[RedisStateStore]) -> None:
    """Only by who claimed it: another knows nothing of its reply."""
    first, second, _ = replicas
    await admit(first, "m1")
    claimed = await first.claim_window("chat", "m1", NOW)
    assert claimed is not None
    await second.restore_window(claimed, NOW)
    assert await second.claim_window("chat", None, NOW) is None
    await first.restore_window(claimed, NOW)
    assert await second.claim_window("chat", None, NOW) == claimed


async def test_a_step_that_comes_too_late_changes_nothing(replicas: list[RedisStateStore]) -> None:
    """A frozen Redis runs old steps when it thaws; what was admitted since then has another token."""
    first, second, _ = replicas
    await admit(first, "m1")
    old = first._in_hand["m1"]
    await first.release("m1", NOW)
    assert await admit(second, "m1")
    await first._run(scripts.SETTLE, old, "m1", 1, NOW)
    assert not await admit(first, "m1")
    assert await second.claim_window("chat", "m1", NOW) is not None


async def test_forgotten_scripts_are_loaded_again(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """After a restart, a failover or by hand; nobody notices."""
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
        assert [await store.claim_window("chat", None, NOW) for store in stores] == [window("m1")] * 2
        await stores[0].close()
        assert await stores[1].unfinished(NOW) == []


async def test_no_channel_has_the_keys_of_another(server: RedisServer) -> None:
    """Neither by its name nor by the ids somebody gives its messages: both could spell the rest of another's key."""
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


async def test_what_is_over_leaves_nothing_that_stays(server: RedisServer, replicas: list[RedisStateStore]) -> None:
    """Whichever way a message ended: what is left has an end, and holds no URL once it was used."""
    first, second, _ = replicas
    for number in range(8):
        await admit(first, f"m{number}")
    await first.release("m0", NOW)
    for number in range(1, 4):
        claimed = await first.claim_window("chat", f"m{number}", NOW)
        assert claimed is not None
        if number == 1:
            await first.finish(f"m{number}", NOW)
        await (first.restore_window if number == 3 else first.spend_window)(claimed, NOW)
    for number in range(2, 8):
        await first.finish(f"m{number}", NOW)
    assert await server.command("XLEN", "maven-wecom:{wecom}:unfinished") == 0
    for key in await server.keys():
        if ":message:" in key or ":chat:" in key:
            assert 0 < await server.command("TTL", key) <= HOUR + 120, key
    for spent in ("m1", "m2"):
        key = f"maven-wecom:{{wecom}}:message:{spent}"
        assert await server.command("HKEYS", key) == [b"until"]
        assert await server.command("TTL", key) <= CLAIM_SECONDS + 60
    assert second.open_windows == 0
    await second.unfinished(NOW)
    assert second.open_windows == 5
    await second.unfinished(NOW + HOUR)
    await second.unfinished(NOW + HOUR)
    assert second.open_windows == 0
