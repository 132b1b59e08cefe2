"""How far one request came on its way through aiohttp, and that it goes there once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from aiohttp.connector import Connection


class Broken(Exception):
    """Carries a failure past aiohttp, which would repeat a GET of its own accord."""


class Passage:
    """One request's way. `left` is True from the moment it may have left this machine."""

    def __init__(self) -> None:
        self.left = False

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Be the middleware that no second attempt comes through. Raises Broken from what went wrong."""
        if isinstance(request, PassingRequest):
            request.passage = self
        try:
            return await handler(request)
        except Exception as error:
            raise Broken from error


class PassingRequest(aiohttp.ClientRequest):
    """Notes its leaving: aiohttp calls `send` once there is a connection."""

    passage: Passage | None = None

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """See aiohttp.ClientRequest."""
        if self.passage:
            self.passage.left = True
        return await super().send(conn)
