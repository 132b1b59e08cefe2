"""The agent of the demo."""

from __future__ import annotations

from typing import Any

from maven_channel_wecom.simulator.demo_agent import answer_to, counted


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
