"""The server of the agents that come with the demo and the playground."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from maven_channel_wecom.simulator.streaming_agent import StreamingAgent


async def test_it_streams_one_event_for_each_piece_and_one_for_the_end() -> None:
    async with (
        StreamingAgent(lambda request: request["input"], piece_seconds=0.0) as agent,
        aiohttp.ClientSession() as session,
        session.post(agent.url, json={"input": ["one", ", two"]}) as response,
    ):
        assert response.content_type == "text/event-stream"
        lines = (await response.text()).splitlines()
    assert [line for line in lines if line.startswith("event:")] == [
        "event: response.output_text.delta",
        "event: response.output_text.delta",
        "event: response.completed",
    ]
    assert '"delta": ", two"' in lines[4]


@pytest.mark.parametrize(("piece", "piece_seconds"), [("one", 0.3), ("one" * 10_000, 0.0)], ids=["paused", "writing"])
async def test_a_gateway_that_goes_away_in_the_middle_of_an_answer_is_no_error(
    caplog: pytest.LogCaptureFixture, piece: str, piece_seconds: float
) -> None:
    async with (
        StreamingAgent(lambda _: [piece] * 100, piece_seconds=piece_seconds) as agent,
        aiohttp.ClientSession() as session,
        session.post(agent.url, json={}) as response,
    ):
        await response.content.readline()
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - the tasks of the server end by themselves
            await asyncio.sleep(0.01)
    assert not caplog.records
