"""The short form of the soak runs: the same scenarios, a few repetitions."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from tests.soak.agent import counting_agent
from tests.soak.drain import stop_again_and_again
from tests.soak.hostile import MAX_LINES_PER_BATCH
from tests.soak.hostile import run as run_hostile
from tests.soak.kill import kill_again_and_again
from tests.soak.overload import run as run_overload
from tests.soak.replicas import deliver_each_three_times, durable_redis, go_without, roll, stage
from tests.soak.series import MAX_SERIES
from tests.soak.series import run as run_series

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_killed_gateways_lose_nothing_and_answer_nobody_twice(tmp_path: Path) -> None:
    """Every acknowledged message is answered by whoever comes up next."""
    found = await kill_again_and_again(tmp_path, kills=4)
    assert found.acknowledged > 0
    assert found.lost == []
    assert found.answered_twice == []


async def test_a_gateway_that_is_killed_while_it_asks_leaves_the_agent_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What a soak run prints is about the gateways, not about the agent that it put behind them."""
    async with counting_agent() as agent, aiohttp.ClientSession() as session:
        url = URL(agent.url)
        _, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.transport.abort()
        question = {"input": [{"content": [{"text": "what next"}]}]}
        async with session.post(url, json=question) as answer:
            assert answer.status == 200
    assert agent.turns == {"what next": 1}
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_stopped_gateways_drain_and_lose_nothing(tmp_path: Path) -> None:
    """Each ends by itself with exit code 0."""
    found = await stop_again_and_again(tmp_path, stops=4)
    assert found.exit_codes == [0] * 4
    assert found.messages.acknowledged > 0
    assert found.messages.lost == []
    assert found.messages.answered_twice == []


async def test_replicas_give_each_message_one_turn(tmp_path: Path) -> None:
    """Delivered three times to whichever; and a rolling restart changes nothing about it."""
    with durable_redis() as redis:
        async with stage(tmp_path, redis.address(), slowest_seconds=0.1) as on:
            delivered = await deliver_each_three_times(on, messages=90)
            rolled = await roll(on)
            turns = on.agent.turns
    assert delivered.acknowledged == delivered.answered == 90
    assert rolled.acknowledged > 90
    assert rolled.lost == []
    assert rolled.answered_twice == []
    assert sum(turns.values()) == rolled.acknowledged


async def test_a_redis_that_goes_away_costs_nothing_acknowledged(tmp_path: Path) -> None:
    """Callbacks get 503 meanwhile, and 200 again when it is back."""
    with durable_redis() as redis:
        async with stage(tmp_path, redis.address(), replicas=2) as on:
            outage = await go_without(on, redis.stop, redis.restart, seconds=1.5)
    assert set(outage.statuses) <= {200, 503}
    assert 503 in outage.statuses
    assert outage.messages.lost == []
    assert outage.messages.answered_twice == []


async def test_mutated_requests_get_no_server_error_and_cost_nobody_a_message(tmp_path: Path) -> None:
    """No traceback either, and hardly a line in the log."""
    found = await run_hostile(tmp_path, seed=5, requests=10_000)
    assert found.requests == 10_000
    assert found.failures == []
    assert {status for status in found.statuses if status >= 500} <= {503}
    assert found.tracebacks == 0
    assert found.most_lines <= MAX_LINES_PER_BATCH
    assert found.messages
    assert found.messages.acknowledged > 0
    assert found.messages.lost == []
    assert found.messages.answered_twice == []


async def test_people_leave_no_series_behind(tmp_path: Path) -> None:
    """However many they are, in however many groups; there are few to begin with, those of the process among them."""
    found = await run_series(tmp_path, people=300)
    assert found.answered == 300
    assert found.new == set()
    assert found.series <= MAX_SERIES


async def test_ten_times_the_load_is_refused_and_loses_nothing(tmp_path: Path) -> None:
    """Each refusal says when to come again, and soon after it callers are taken as ever."""
    found = await run_overload(tmp_path, seconds=1, settings={"inboxLimit": 100})
    assert found.unanswered == 0
    assert set(found.statuses) == {200, 503}
    assert found.without_retry_after == 0
    assert found.lost == []
    assert found.after
    assert found.after.failed == 0
