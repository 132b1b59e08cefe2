"""The server of the agents that come with the demo and the playground."""

from __future__ import annotations

import aiohttp

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
