"""An agent behind the Responses API that takes its time and counts its turns."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class CountingAgent:
    """Answers what it was asked after up to `slowest_seconds`; `turns` counts by the text of the question."""

    def __init__(self, slowest_seconds: float) -> None:
        self.url = ""
        self.turns: Counter[str] = Counter()
        self._slowest_seconds = slowest_seconds

    async def handle(self, request: web.Request) -> web.Response:
        question: dict[str, Any] = await request.json()
        text: str = question["input"][0]["content"][0].get("text", "")
        self.turns[text] += 1
        if self._slowest_seconds:
            await asyncio.sleep(random.uniform(0, self._slowest_seconds))  # noqa: S311 - a pace, not a secret
        return web.json_response({"output_text": f"answer to {text}"})


@asynccontextmanager
async def counting_agent(slowest_seconds: float = 0.0) -> AsyncIterator[CountingAgent]:
    agent = CountingAgent(slowest_seconds)
    app = web.Application()
    app.router.add_post("/v1/responses", agent.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    agent.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/responses"
    try:
        yield agent
    finally:
        await runner.cleanup()
