"""An agent behind an HTTP service with the Responses API, such as OpenAI or a Maven agent server.

An answer that breaks off raises an error with the text received so far: half an answer and the reason are worth more to
the user than the reason alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp

from maven_channel_wecom.host.agents import agent_failures
from maven_channel_wecom.host.agents.agent import AgentError
from maven_channel_wecom.host.agents.responses_answer import AnswerStream, error_code, plain_answer
from maven_channel_wecom.host.agents.responses_request import RequestBody, session_id
from maven_channel_wecom.host.agents.server_sent_events import EventParser, EventTooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from maven_channel_wecom.contract.messages import InboundMessage
    from maven_channel_wecom.host.configuration import Responses

AGENT_CONNECT_SECONDS: Final = 10
AGENT_IDLE_SECONDS: Final = 300
"""Timeout between two pieces of an answer. Lower: an agent that silently uses a tool for minutes is cut off."""

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Maximum size of all events of one answer, which repeat a long answer a few times."""

MAX_ERROR_BYTES: Final = 64 * 1024


class ResponsesAgent:
    """Sends messages to one address. Create it inside a running event loop, and close it."""

    def __init__(self, settings: Responses, *, idle_seconds: float = AGENT_IDLE_SECONDS) -> None:
        self._settings = settings
        headers = {"Accept": "text/event-stream, application/json", "Content-Type": "application/json"}
        if settings.api_key:
            headers["Authorization"] = f"Bearer {settings.api_key}"
        self._session = aiohttp.ClientSession(
            # An agent may close an idle connection just as it is reused, and a POST is never retried.
            connector=aiohttp.TCPConnector(force_close=True),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(
                total=settings.timeout_seconds, sock_connect=AGENT_CONNECT_SECONDS, sock_read=idle_seconds
            ),
        )

    async def answer(self, message: InboundMessage) -> str:
        """Return the answer to one message. Raises AgentError."""
        stream = AnswerStream()
        try:
            return await self._ask(message, stream)
        except AgentError as error:
            error.partial = error.partial or stream.text
            raise
        except aiohttp.ClientConnectorError:
            raise AgentError(agent_failures.CONNECT) from None
        except aiohttp.ConnectionTimeoutError:
            raise AgentError(agent_failures.CONNECT_TIMEOUT) from None
        except aiohttp.SocketTimeoutError:
            raise AgentError(agent_failures.IDLE, partial=stream.text) from None
        except TimeoutError:
            raise AgentError(agent_failures.TIMEOUT, partial=stream.text) from None
        except aiohttp.ClientError:
            # aiohttp's errors contain the URL, so none becomes the cause of an AgentError.
            raise AgentError(agent_failures.CONNECTION_LOST, partial=stream.text) from None
        except EventTooLarge:
            raise AgentError(agent_failures.TOO_LARGE, partial=stream.text) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _ask(self, message: InboundMessage, stream: AnswerStream) -> str:
        body = RequestBody(message, self._settings.model)
        headers = {
            "Maven-Session-Id": session_id(
                message.channel, message.chat_id, is_group=message.transport_meta.get("chat_type") == "group"
            ),
            "Content-Length": str(body.size_bytes),
        }
        # A redirect would carry the key and the message to an address that is not configured.
        async with self._session.post(
            self._settings.url, data=_cooperative(body.pieces()), headers=headers, allow_redirects=False
        ) as response:
            if not 200 <= response.status < 300:  # noqa: PLR2004 -- the range of success in HTTP
                code = error_code(await _error_body(response))
                raise AgentError(agent_failures.for_status(response.status), code=code)
            if response.content_type != "text/event-stream":
                return plain_answer(b"".join([chunk async for chunk in _chunks(response)]))
            await _read_events(response, stream)
        if not stream.done:
            raise AgentError(agent_failures.BROKEN_OFF)
        return stream.text


async def _cooperative(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces, and let other tasks run after each, even if the network accepts all pieces at once."""
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


async def _read_events(response: aiohttp.ClientResponse, stream: AnswerStream) -> None:
    parser = EventParser()
    async for chunk in _chunks(response):
        for event in parser.feed(chunk):
            stream.feed(event)
            if stream.done:
                return


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    received = 0
    async for chunk in response.content.iter_any():
        received += len(chunk)
        if received > MAX_BODY_BYTES:
            raise AgentError(agent_failures.TOO_LARGE)
        yield chunk


async def _error_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the beginning of an error's body, or nothing if it is lost, as it only adds a code to the log."""
    try:
        return await response.content.read(MAX_ERROR_BYTES)
    except (aiohttp.ClientError, TimeoutError):
        return b""
