"""The agent of the demo."""

from __future__ import annotations

from typing import Any

import aiohttp

from maven_channel_wecom.simulator.demo_agent import CountingAgent, answer_to, counted


def test_it_counts_to_the_number_that_it_is_asked_for() -> None:
    assert counted("three") == ("one", ", two", ", three")
    assert counted("a million") == counted("twelve")


def request(*texts: str) -> dict[str, Any]:
    """Return a request with a question, an answer, a question and so on."""
    return {
        "input": [{"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(texts)]
    }


def test_it_goes_on_where_the_request_says_that_it_stopped() -> None:
    assert answer_to(request("count to three", "one, two, three", "go on")) == ("four", ", five")
    assert answer_to(request("go on")) == ("Go on", " from where?")


async def test_it_streams_one_event_for_each_word_and_one_for_the_end() -> None:
    async with CountingAgent() as agent, aiohttp.ClientSession() as session:
        asked = request("count to twelve, no: count to two")
        async with session.post(agent.url, json=asked) as response:
            lines = (await response.text()).splitlines()
    assert [line for line in lines if line.startswith("event:")] == [
        "event: response.output_text.delta",
        "event: response.output_text.delta",
        "event: response.completed",
    ]
    assert '"delta": ", two"' in lines[4]
