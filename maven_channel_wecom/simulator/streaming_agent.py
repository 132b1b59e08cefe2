"""Runs an agent for the demo and the playground: a server with the Responses API that streams its answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Final, Self

from aiohttp import web

from maven_channel_wecom.simulator.listening import listen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

MAX_REQUEST_BYTES: Final = 64 * 1024 * 1024
"""Maximum size of a request, which holds pictures and files in base64."""

_PATH: Final = "/v1/responses"


class StreamingAgent:
    """A running agent: a context manager that listens on a free port of 127.0.0.1.

    Args:
        answer: returns the pieces of the answer to a request.
        piece_seconds: the time before each piece.

    Attributes:
        url: the URL of its Responses API.
    """

    def __init__(self, answer: Callable[[Mapping[str, Any]], Iterable[str]], *, piece_seconds: float) -> None:
        self.url = ""
        self._pieces = answer
        self._piece_seconds = piece_seconds

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_post(_PATH, self._answer)
        self._runner, base_url = await listen(app, "127.0.0.1", 0, cancels_handlers=True)
        self.url = base_url + _PATH
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        pieces = self._pieces(await request.json())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        # A gateway that stops no longer reads.
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                await asyncio.sleep(self._piece_seconds)
                await response.write(_event({"type": "response.output_text.delta", "output_index": 0, "delta": piece}))
            ended = {"status": "completed", "output": []}
            await response.write(_event({"type": "response.completed", "response": ended}))
        return response


def _event(fields: dict[str, object]) -> bytes:
    return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()
