"""An agent for the demo, which counts slowly: a server with the Responses API that streams one word after the other."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Final, Self

from aiohttp import web

from maven_channel_wecom.simulator.listening import listen

if TYPE_CHECKING:
    from types import TracebackType

# Lower: the demo ends earlier. Higher: the bubble grows in more frames.
WORD_SECONDS: Final = 0.35
_PATH = "/v1/responses"
_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_QUESTION = re.compile(r"count to (\w+)")


def counted(last: str) -> tuple[str, ...]:
    """Return what the agent writes, word by word, to count to a number; all it can if it does not know the number."""
    number = _WORDS.index(last) + 1 if last in _WORDS else len(_WORDS)
    return (_WORDS[0], *(f", {word}" for word in _WORDS[1:number]))


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
        self._runner, base_url = await listen(app, "127.0.0.1", 0)
        self.url = base_url + _PATH
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = _QUESTION.findall(await request.text())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for word in counted(asked[-1] if asked else ""):
            await asyncio.sleep(WORD_SECONDS)
            await response.write(_event({"type": "response.output_text.delta", "output_index": 0, "delta": word}))
        ended = {"status": "completed", "output": []}
        await response.write(_event({"type": "response.completed", "response": ended}))
        return response


def _event(fields: dict[str, object]) -> bytes:
    return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()
