"""An agent for the demo, which counts slowly: a server with the Responses API that streams one word after the other.

It has no memory: asked to go on, it reads in the request how far it has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, Final, Self

from aiohttp import web

from maven_channel_wecom.simulator.listening import listen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

# Lower: the demo ends earlier. Higher: the bubble grows in more frames.
WORD_SECONDS: Final = 0.35
_PATH = "/v1/responses"
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


class CountingAgent:
    """A running agent: a context manager that listens on a free port of 127.0.0.1.

    Attributes:
        url: the URL of its Responses API.
    """

    def __init__(self) -> None:
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post(_PATH, self._answer)
        self._runner, base_url = await listen(app, "127.0.0.1", 0, cancels_handlers=True)
        self.url = base_url + _PATH
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        words = answer_to(await request.json())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        # A gateway that is stopped no longer reads.
        with contextlib.suppress(ConnectionError):
            for word in words:
                await asyncio.sleep(WORD_SECONDS)
                await response.write(_event({"type": "response.output_text.delta", "output_index": 0, "delta": word}))
            ended = {"status": "completed", "output": []}
            await response.write(_event({"type": "response.completed", "response": ended}))
        return response


def _event(fields: dict[str, object]) -> bytes:
    return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()
