"""A fake agent on 127.0.0.1, of either API, which records requests and sends scripted answers."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable, Mapping


def sse(*events: Mapping[str, Any]) -> bytes:
    """Return events in wire format."""
    return b"".join(
        f"event: {event['type'] or 'message'}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
        for event in events
    )


def delta(text: str, output_index: int = 0) -> dict[str, Any]:
    """Return an event that appends text to the answer."""
    return {"type": "response.output_text.delta", "output_index": output_index, "delta": text}


COMPLETED: dict[str, Any] = {"type": "response.completed", "response": {"status": "completed", "output": []}}


def sse_data(*values: Mapping[str, Any]) -> bytes:
    """Return events without a name in wire format, as the Chat Completions API has them."""
    return b"".join(f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode() for value in values)


def chunk(delta: object) -> dict[str, Any]:
    """Return a chunk of the Chat Completions API."""
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def finish(reason: str, **fields: object) -> dict[str, Any]:
    """Return the chunk that ends a choice."""
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason, **fields}]}


class FakeResponses:
    """Answers every POST with `status`, `content_type` and `chunks`.

    The answer does not end before `hold` is set. With `resets`, its connection is aborted at the end. After the first
    request, `then` answers if it is set.
    """

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.content_type = "text/event-stream"
        self.headers: dict[str, str] = {}
        self.chunks: Iterable[bytes] = ()
        self.hold: asyncio.Event | None = None
        self.resets = False
        self.then: FakeResponses | None = None
        self.requests: list[tuple[Mapping[str, str], Any]] = []
        self.asked = asyncio.Event()

    def json(self, value: object, status: int = 200) -> None:
        """Set the answer to one JSON value."""
        self.status, self.content_type, self.chunks = status, "application/json", (json.dumps(value).encode(),)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.headers.copy(), await request.json()))
        self.asked.set()
        answering = self.then if self.then is not None and len(self.requests) > 1 else self
        return await answering._answer(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=self.status, headers={"Content-Type": self.content_type, **self.headers})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for chunk in self.chunks:
            await response.write(chunk)
        if self.hold is not None:
            await self.hold.wait()
        if self.resets and request.transport is not None:
            request.transport.abort()
        return response


@asynccontextmanager
async def serving(path: str = "/v1/responses", *, tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeResponses]:
    """Serve until the block ends, then release every answer that is held."""
    fake = FakeResponses()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post(path, fake.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    fake.url = f"http{'s' * bool(tls)}://127.0.0.1:{runner.addresses[0][1]}{path}"
    try:
        yield fake
    finally:
        if fake.hold is not None:
            fake.hold.set()
        await runner.cleanup()
