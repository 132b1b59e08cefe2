"""Connectors whose kept connections are used again only while nothing came on them unasked.

A server that gives up on an idle connection may say so (RFC 9110 15.5.9) before it closes it. aiohttp looks for such
words when a connection is put back, not when it is taken out, and would read them as the answer to the next request.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp

from maven_channel_wecom.transport.response_handler import ImpatientResponseHandler

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace


class Unasked(aiohttp.BaseConnector):
    """Closes a kept connection that has something to read, and gives another one."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> Connection:
        """See BaseConnector."""
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()


class DirectConnector(Unasked, aiohttp.TCPConnector):
    """Connects without a proxy, or to an http proxy."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - they are aiohttp's
        super().__init__(**options)
        # A partial is of one class exactly, says its annotation.
        self._factory = partial(ImpatientResponseHandler, loop=self._loop)  # type: ignore[assignment]
