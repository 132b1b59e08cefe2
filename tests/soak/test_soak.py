"""The short forms of the soak programs: the same scenarios with few repetitions."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import aiohttp
import pytest
from yarl import URL

from tests.fakes.streams import WORKING
from tests.soak.agent import counting_agent
from tests.soak.drain import stop_repeatedly
from tests.soak.hostile import MAX_LINES_PER_BATCH
from tests.soak.hostile import run as run_hostile
from tests.soak.kill import kill_repeatedly
from tests.soak.overload import run as run_overload
from tests.soak.replicas import (
    deliver_each_three_times,
    durable_redis,
    interrupt_redis,
    rolling_restart,
    running_replicas,
)
from tests.soak.series import MAX_SERIES
from tests.soak.series import run as run_series
from tests.soak.streamed_replicas import stream_through_kills
from tests.soak.streamed_turns import DOTS, stream_turns

if TYPE_CHECKING:
    from pathlib import Path

    from maven_channel_wecom.sentences import Sentence


async def test_a_killed_gateway_loses_no_message_and_answers_none_twice(tmp_path: Path) -> None:
    result = await kill_repeatedly(tmp_path, kills=4)
    assert result.acknowledged > 0
    assert result.lost == []
    assert result.answered_twice == []


async def test_the_agent_logs_nothing_when_a_gateway_is_killed_within_a_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The output of a soak program is about its gateways, not about the agent."""
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


async def test_a_stopped_gateway_exits_with_0_and_loses_no_message(tmp_path: Path) -> None:
    result = await stop_repeatedly(tmp_path, stops=4)
    assert result.exit_codes == [0] * 4
    assert result.messages.acknowledged > 0
    assert result.messages.lost == []
    assert result.messages.answered_twice == []


async def test_replicas_give_each_message_one_turn(tmp_path: Path) -> None:
    """Each message is delivered three times to random replicas, and then all replicas are restarted under traffic."""
    with durable_redis() as redis:
        async with running_replicas(tmp_path, redis.address(), slowest_seconds=0.1) as replicas:
            delivered = await deliver_each_three_times(replicas, messages=90)
            rolled = await rolling_restart(replicas)
            turns = replicas.agent.turns
    assert delivered.acknowledged == delivered.answered == 90
    assert rolled.acknowledged > 90
    assert rolled.lost == []
    assert rolled.answered_twice == []
    assert sum(turns.values()) == rolled.acknowledged


async def test_an_unavailable_redis_loses_no_acknowledged_message(tmp_path: Path) -> None:
    """Callbacks get 503 until Redis is available again."""
    with durable_redis() as redis:
        async with running_replicas(tmp_path, redis.address(), count=2) as replicas:
            outage = await interrupt_redis(replicas, redis.stop, redis.restart, seconds=1.5)
    assert set(outage.statuses) <= {200, 503}
    assert 503 in outage.statuses
    assert outage.messages.lost == []
    assert outage.messages.answered_twice == []


async def test_mutated_requests_cause_no_server_error_and_no_lost_message(tmp_path: Path) -> None:
    result = await run_hostile(tmp_path, seed=5, requests=4_000)
    assert result.requests == 4_000
    assert result.failures == []
    assert {status for status in result.statuses if status >= 500} <= {503}
    assert result.tracebacks == 0
    assert result.most_lines <= MAX_LINES_PER_BATCH
    assert result.messages
    assert result.messages.acknowledged > 0
    assert result.messages.lost == []
    assert result.messages.answered_twice == []


async def test_users_and_groups_add_no_series(tmp_path: Path) -> None:
    result = await run_series(tmp_path, users=300)
    assert result.answered == 300
    assert result.new == set()
    assert result.series <= MAX_SERIES


async def test_ten_times_the_load_is_refused_without_losing_a_message(tmp_path: Path) -> None:
    """Each refusal has a Retry-After header, and soon afterwards callbacks are admitted again."""
    result = await run_overload(tmp_path, seconds=1, settings={"inboxLimit": 100})
    assert result.unanswered == 0
    assert set(result.statuses) == {200, 503}
    assert result.without_retry_after == 0
    assert result.lost == []
    assert result.after
    assert result.after.failed == 0


@pytest.mark.parametrize("progress_text", [WORKING, DOTS], ids=["text", "dots"])
async def test_each_streamed_message_gets_one_final_answer_whatever_becomes_of_its_refreshes(
    progress_text: Sentence,
) -> None:
    result = await stream_turns(100, seed=2, progress_text=progress_text)
    assert result.turns == result.fetched + result.posted == 100
    assert result.passed, str(result)
    assert {"fetched", "handed_over", "ended", "abandoned"} <= result.outcomes.keys()


async def test_each_streamed_message_is_answered_although_replicas_are_killed(tmp_path: Path) -> None:
    """Two answers are allowed only if a process was killed at the moment of a last frame."""
    result = await stream_through_kills(tmp_path, turns=15, kills=3, seed=1, pause_seconds=0.7, longest_turn=2.5)
    assert (result.acknowledged, result.kills) == (15, 3)
    assert result.passed, str(result)
