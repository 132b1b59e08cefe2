"""Redis ran a step and its answer was lost: no message that may have been acknowledged is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.redis.scripts import APPLY_UPDATES, CLAIM_WINDOW
from maven_channel_wecom.state.store import STATE_RETRY_SECONDS
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.redis_replicas import Replicas, crash_redis_store, healed, let_replicas_be_silent
from tests.state.messages import CHAT, NOW, admission, admit, claim

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from maven_channel_wecom.state.redis.store import RedisStateStore
    from tests.fakes.redis_server import RedisServer

SILENCE = 60.0

# A lost answer is noticed after this; long enough for a busy machine, short enough to wait for.
ANSWER_SECONDS = 1.0


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def opened(proxy: FaultProxy) -> AsyncIterator[Replicas]:
    """Replicas opened in it are closed before the proxy is."""
    async with Replicas() as opened:
        yield opened


@pytest.fixture
async def far(opened: Replicas, proxy: FaultProxy) -> RedisStateStore:
    """A replica behind the proxy, whose scripts Redis knows already."""
    store = await opened.open(proxy.address(), answer_seconds=ANSWER_SECONDS)
    assert await admit(store, "warm")
    await store.release("warm", NOW)
    return store


@pytest.fixture
async def near(opened: Replicas, server: RedisServer) -> RedisStateStore:
    """A replica with nothing in between."""
    return await opened.open(server.address())


async def test_an_admission_whose_answer_was_lost_once_is_an_admission(far: RedisStateStore, proxy: FaultProxy) -> None:
    """It is asked again at once, and recognizes its own claim: it is no duplicate of itself."""
    for number, silently in enumerate([False, True]):
        proxy.lose(1, to=f"m{number}".encode(), silently=silently)
        assert await admit(far, f"m{number}")
        assert not await admit(far, f"m{number}")
    assert proxy.lost == 2


async def test_an_admission_nobody_knows_of_is_taken_over(
    far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy
) -> None:
    """The caller answered 503; repeats, to whichever replica, are duplicates, for Redis has it."""
    proxy.lose(2, to=b"m1")
    with pytest.raises(StateUnavailable):
        await admit(far, "m1")
    assert not await admit(far, "m1")
    assert not await admit(near, "m1")
    taken = [await store.take_over(NOW) for store in (far, near)]
    assert [callback.message_id for callbacks in taken for callback in callbacks] == ["m1"]
    assert await near.take_over(NOW) == []


async def test_an_admission_whose_answer_was_lost_in_a_crash_is_taken_over(
    server: RedisServer, far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy
) -> None:
    proxy.lose(2, to=b"m1")
    with pytest.raises(StateUnavailable):
        await admit(far, "m1")
    await crash_redis_store(far)
    assert not await admit(near, "m1")
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert [callback.message_id for callback in await near.take_over(NOW)] == ["m1"]


@pytest.mark.parametrize("reply_to", ["m1", None])
@pytest.mark.parametrize("next_reply_to", ["m1", None])
async def test_a_claim_whose_caller_was_canceled_is_undone_before_the_next(
    far: RedisStateStore, proxy: FaultProxy, reply_to: str | None, next_reply_to: str | None
) -> None:
    """A host may cancel an answer and send another at once, with a word about the message or without."""
    assert await admit(far, "m1")
    proxy.lose(1, to=CLAIM_WINDOW.sha.encode(), silently=True)
    claiming = asyncio.create_task(far.claim_window([CHAT], reply_to, NOW))
    while not proxy.lost:  # noqa: ASYNC110 - the proxy announces nothing
        await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.wait([claiming])
    assert claiming.cancelled()
    claimed = await far.claim_window([CHAT], next_reply_to, NOW)
    assert claimed is not None
    assert claimed.message_id == "m1"


async def test_a_claim_whose_caller_was_canceled_is_undone_for_others(
    far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy
) -> None:
    assert await admit(far, "m1")
    proxy.lose(1, to=CLAIM_WINDOW.sha.encode(), silently=True)
    claiming = asyncio.create_task(far.claim_window([CHAT], "m1", NOW))
    while not proxy.lost:  # noqa: ASYNC110 - the proxy announces nothing
        await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.wait([claiming])
    await healed(far)
    await far.finish("m1", NOW)
    assert await near.claim_window([CHAT], None, NOW) is not None


async def test_a_claim_that_arrives_after_it_was_undone_is_not_given(server: RedisServer, far: RedisStateStore) -> None:
    """A frozen Redis runs old commands when it thaws, in any order."""
    assert await admit(far, "m1")
    stream = "maven-wecom:{wecom}:unfinished"
    for reply_to in ("m1", ""):
        await server.command("EVAL", APPLY_UPDATES.text, 1, stream, "abandon", f"late:{reply_to}", reply_to, NOW)
        claimed = await server.command(
            "EVAL", CLAIM_WINDOW.text, 1, stream, f"late:{reply_to}", "", reply_to, "", NOW, CHAT
        )
        # Counts only: one open window, none expired.
        assert claimed == [1, 0]
    await claim(far, "m1")


async def test_a_repeated_claim_is_not_given_the_window_of_another_chat(
    server: RedisServer, far: RedisStateStore
) -> None:
    """The message id it claimed came again in another chat before the claim was repeated."""
    assert await admit(far, "m1")
    stream = "maven-wecom:{wecom}:unfinished"
    claim_of_chat = ("EVAL", CLAIM_WINDOW.text, 1, stream, "holder", "", "", "", NOW)
    first = await server.command(*claim_of_chat, CHAT)
    assert first[2:4] == [b"m1", CHAT.encode()]
    assert await server.command(*claim_of_chat, CHAT) == first
    assert await server.command(*claim_of_chat, "group:other") == [0, 0]


async def test_an_admission_that_never_arrived_is_new_again(far: RedisStateStore, proxy: FaultProxy) -> None:
    """Nothing of it stays in this process, or a repeat would be acknowledged and lost."""
    await proxy.refuse()
    with pytest.raises(StateUnavailable):
        await admit(far, "m1")
    await proxy.accept()
    await healed(far)
    assert await admit(far, "m1")


async def test_of_many_lost_answers_none_loses_a_message(
    server: RedisServer, far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy
) -> None:
    """Each message is repeated until it is acknowledged, here or there, and ends in exactly one hand."""
    worked_on: list[str] = []
    for number in range(60):
        message_id = f"m{number}"
        # A beat between: the breaker is not what this is about.
        await far.heartbeat()
        # Once: asked again, it is admitted. Twice: 503, and repeated to the same replica or to the other.
        proxy.lose(1 + number % 2, to=message_id.encode())
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


async def test_a_window_claimed_in_a_lost_answer_is_claimed(far: RedisStateStore, proxy: FaultProxy) -> None:
    """By name, and as the newest: asked again, the same window is found, and only that one."""
    for number in range(3):
        await admit(far, f"m{number}")
    proxy.lose(1, to=CLAIM_WINDOW.sha.encode())
    await claim(far, "m0")
    proxy.lose(1, to=CLAIM_WINDOW.sha.encode())
    newest = await far.claim_window([CHAT], None, NOW)
    assert newest is not None
    assert proxy.lost == 2
    assert far.open_windows == 1


async def test_a_window_nobody_knows_is_claimed_is_found_by_asking_again(
    far: RedisStateStore, proxy: FaultProxy
) -> None:
    """Once, however many ask."""
    await admit(far, "m1")
    proxy.lose(2, to=CLAIM_WINDOW.sha.encode())
    with pytest.raises(StateUnavailable):
        await far.claim_window([CHAT], "m1", NOW)
    claimed = await asyncio.gather(*(far.claim_window([CHAT], "m1", NOW) for _ in range(5)))
    assert [found.message_id for found in claimed if found] == ["m1"]


@pytest.mark.parametrize("reply_to", ["m1", None])
async def test_an_answer_that_comes_when_its_message_is_finished_finds_its_window_again_too(
    server: RedisServer, far: RedisStateStore, proxy: FaultProxy, reply_to: str | None
) -> None:
    """Many hosts take a message and answer it later. Redis may stay away for as long as such an answer waits."""
    await admit(far, "m1")
    await far.finish("m1", NOW)
    proxy.lose(2, to=CLAIM_WINDOW.sha.encode())
    with pytest.raises(StateUnavailable):
        await far.claim_window([CHAT], reply_to, NOW)
    assert proxy.lost == 2
    for key in await server.keys():
        assert not 0 <= await server.command("PTTL", key) < STATE_RETRY_SECONDS * 1000
    claimed = await asyncio.gather(*(far.claim_window([CHAT], reply_to, NOW) for _ in range(5)))
    assert [found.message_id for found in claimed if found] == ["m1"]


async def test_ends_whose_answers_were_lost_are_ends(
    far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy
) -> None:
    """Spent is spent, restored is open, finished is not taken over, released is new again: each asked twice."""
    for message_id in ("spent", "restored", "released"):
        await admit(far, message_id)
    for message_id in ("spent", "restored"):
        claimed = await far.claim_window([CHAT], message_id, NOW)
        assert claimed is not None
        proxy.lose(1, to=APPLY_UPDATES.sha.encode())
        await (far.spend_window if message_id == "spent" else far.restore_window)(claimed, NOW)
        proxy.lose(1, to=APPLY_UPDATES.sha.encode())
        await far.finish(message_id, NOW)
    proxy.lose(1, to=APPLY_UPDATES.sha.encode())
    await far.release("released", NOW)
    assert proxy.lost == 5
    assert await near.claim_window([CHAT], "spent", NOW) is None
    assert await near.claim_window([CHAT], "restored", NOW) is not None
    assert await admit(near, "released")


async def test_ends_while_redis_is_away_are_made_good(
    server: RedisServer, far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy
) -> None:
    """Work goes on to its end; nothing of it is done again when Redis is back."""
    for message_id in ("answered", "released"):
        await admit(far, message_id)
    claimed = await far.claim_window([CHAT], "answered", NOW)
    assert claimed is not None
    await proxy.refuse()
    await far.spend_window(claimed, NOW)
    await far.finish("answered", NOW)
    await far.release("released", NOW)
    assert await far.health() is not None
    await proxy.accept()
    await healed(far)
    await let_replicas_be_silent(server, seconds=SILENCE)
    assert await near.take_over(NOW) == []
    assert not await admit(near, "answered")
    assert await admit(near, "released")


async def test_a_caller_that_gives_up_leaves_nobody_waiting(far: RedisStateStore, proxy: FaultProxy) -> None:
    """Its admission may be kept all the same; others go on."""
    proxy.hole = True
    given_up = asyncio.create_task(admit(far, "m1"))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    proxy.hole = False
    proxy.reset()
    assert await admit(far, "m2")


async def test_a_batch_whose_answer_was_lost_once_is_admitted_as_it_was(
    far: RedisStateStore, near: RedisStateStore, proxy: FaultProxy
) -> None:
    await admit(near, "m1")
    proxy.lose(1, to=b"m2")
    batch = [admission(message_id) for message_id in ("m0", "m1", "m2", "m0")]
    assert await far.admit(batch, NOW) == [True, False, True, False]
    assert proxy.lost == 1


async def test_a_batch_nobody_knows_of_is_taken_over_as_a_whole(far: RedisStateStore, proxy: FaultProxy) -> None:
    proxy.lose(2, to=b"m2")
    with pytest.raises(StateUnavailable):
        await far.admit([admission(f"m{number}") for number in range(5)], NOW)
    assert {callback.message_id for callback in await far.take_over(NOW)} == {f"m{number}" for number in range(5)}
