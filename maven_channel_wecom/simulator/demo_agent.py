"""What the agent of the demo answers: it counts. It has no memory, and goes on from where a request says it stopped."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_QUESTION = re.compile(r"count to (\w+)")
_GO_ON: Final = "go on"
_NEXT_WORDS: Final = 2


def counted(last: str) -> tuple[str, ...]:
    """Return what the agent writes, word by word, to count to a number; all it can if it does not know the number."""
    number = _WORDS.index(last) + 1 if last in _WORDS else len(_WORDS)
    return (_WORDS[0], *(f", {word}" for word in _WORDS[1:number]))


def answer_to(request: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the agent writes, word by word, to a request of the Responses API."""
    *earlier, asked = request["input"]
    question = json.dumps(asked["content"])
    if _GO_ON not in question:
        numbers = _QUESTION.findall(question)
        return counted(numbers[-1] if numbers else "")
    if not earlier:
        return ("Go on", " from where?")
    reached = _WORDS.index(earlier[-1]["content"].split(", ")[-1]) + 1
    first, *others = _WORDS[reached : reached + _NEXT_WORDS]
    return (first, *(f", {word}" for word in others))
