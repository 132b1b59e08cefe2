"""Slow agents behind the Responses API: one counts its turns, one streams its answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping


_WORDS = 20


class CountingAgent:
    """HTTP handlers of an agent that answers after a random delay of up to `slowest_seconds`.

    `turns` counts the requests by the text of the question. `reply_url` accepts the replies of a bot, for programs that
    run without a simulated WeCom.
    """

    def __init__(self, slowest_seconds: float) -> None:
        self.url = ""
        self.reply_url = ""
        self.turns: Counter[str] = Counter()
        self._slowest_seconds = slowest_seconds

    async def handle(self, request: web.Request) -> web.Response:
        try:
            question: dict[str, Any] = await request.json()
        except ConnectionError:
            # The gateway was killed while it sent the request. Without this, aiohttp would log a traceback.
            return web.Response()
        text: str = question["input"][-1]["content"][0].get("text", "")
        self.turns[text] += 1
        if self._slowest_seconds:
            await asyncio.sleep(random.uniform(0, self._slowest_seconds))  # noqa: S311 - a delay, not a secret
        return web.json_response({"output_text": f"answer to {text}"})

    async def accept_reply(self, _request: web.Request) -> web.Response:
        return web.json_response({"errcode": 0, "errmsg": "ok"})


class WritingAgent:
    """HTTP handler of an agent that streams its answers in pieces, each over as many seconds as `turn_seconds` returns.

    `turns` counts the requests by the text of the question.
    """

    def __init__(self, turn_seconds: Callable[[], float]) -> None:
        self.url = ""
        self.turns: Counter[str] = Counter()
        self._turn_seconds = turn_seconds

    @staticmethod
    def answer_to(text: str) -> str:
        """Return the answer to a question, the same in each turn."""
        return f"answer to {text}: " + " ".join(f"word{number}" for number in range(_WORDS))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        # The gateway may be killed at any time. Without this, aiohttp would log a traceback.
        with contextlib.suppress(ConnectionError):
            question: dict[str, Any] = await request.json()
            text: str = question["input"][-1]["content"][0].get("text", "")
            self.turns[text] += 1
            words = self.answer_to(text).split(" ")
            pause = self._turn_seconds() / len(words)
            await answer.prepare(request)
            for number, word in enumerate(words):
                await asyncio.sleep(pause)
                await answer.write(_event("response.output_text.delta", delta=f" {word}" if number else word))
            await answer.write(_event("response.completed", response={"status": "completed"}))
        return answer


def _event(kind: str, **fields: object) -> bytes:
    return b"data: " + json.dumps({"type": kind, **fields}).encode() + b"\n\n"


@asynccontextmanager
async def writing_agent(turn_seconds: Callable[[], float]) -> AsyncIterator[WritingAgent]:
    """Run an agent that streams its answers on a free port."""
    agent = WritingAgent(turn_seconds)
    async with _listening({"/v1/responses": agent.handle}) as base:
        agent.url = f"{base}/v1/responses"
        yield agent


@asynccontextmanager
async def counting_agent(slowest_seconds: float = 0.0) -> AsyncIterator[CountingAgent]:
    """Run an agent that counts its turns on a free port."""
    agent = CountingAgent(slowest_seconds)
    handlers = {"/v1/responses": agent.handle, "/reply": agent.accept_reply}
    async with _listening(handlers, shutdown_seconds=0.1 + slowest_seconds) as base:
        agent.url, agent.reply_url = f"{base}/v1/responses", f"{base}/reply"
        yield agent


@asynccontextmanager
async def _listening(
    handlers: Mapping[str, Callable[[web.Request], Awaitable[web.StreamResponse]]], *, shutdown_seconds: float = 0.1
) -> AsyncIterator[str]:
    """Serve POST requests to some paths, and return the base URL."""
    app = web.Application()
    for path, handle in handlers.items():
        app.router.add_post(path, handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_seconds)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
