"""The agent of the demo."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp

from maven_channel_wecom.simulator.demo_agent import CountingAgent, answer_to, counted

if TYPE_CHECKING:
    import pytest


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


async def test_a_gateway_that_goes_away_in_the_middle_of_an_answer_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        CountingAgent() as agent,
        aiohttp.ClientSession() as session,
        session.post(agent.url, json=request("count to twelve")) as response,
    ):
        await response.content.readline()
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - the tasks of the server end by themselves
            await asyncio.sleep(0.01)
    assert not caplog.records
