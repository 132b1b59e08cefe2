"""The agent of the demo."""

from __future__ import annotations

import aiohttp

from maven_channel_wecom.simulator.demo_agent import CountingAgent, counted


def test_it_counts_to_the_number_that_it_is_asked_for() -> None:
    assert counted("three") == ("one", ", two", ", three")
    assert counted("a million") == counted("twelve")


async def test_it_streams_one_event_for_each_word_and_one_for_the_end() -> None:
    async with CountingAgent() as agent, aiohttp.ClientSession() as session:
        asked = {"model": "demo", "input": "count to twelve, no: count to two", "stream": True}
        async with session.post(agent.url, json=asked) as response:
            lines = (await response.text()).splitlines()
    assert [line for line in lines if line.startswith("event:")] == [
        "event: response.output_text.delta",
        "event: response.output_text.delta",
        "event: response.completed",
    ]
    assert '"delta": ", two"' in lines[4]
