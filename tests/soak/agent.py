"""A slow agent behind the Responses API that counts its turns."""

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


@asynccontextmanager
async def counting_agent(slowest_seconds: float = 0.0) -> AsyncIterator[CountingAgent]:
    """Run an agent on a free port."""
    agent = CountingAgent(slowest_seconds)
    app = web.Application()
    app.router.add_post("/v1/responses", agent.handle)
    app.router.add_post("/reply", agent.accept_reply)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1 + slowest_seconds)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    agent.url, agent.reply_url = f"{base}/v1/responses", f"{base}/reply"
    try:
        yield agent
    finally:
        await runner.cleanup()
