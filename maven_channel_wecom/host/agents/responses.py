"""An agent behind an HTTP service with the Responses API, such as OpenAI or a Maven agent server.

An answer that breaks off raises an error with the text received so far: half an answer and the reason are worth more to
the user than the reason alone.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
from typing import TYPE_CHECKING, Final
from urllib.request import proxy_bypass

import aiohttp
from yarl import URL

from maven_channel_wecom.contract.messages import ImageBlock
from maven_channel_wecom.host.agents import agent_failures
from maven_channel_wecom.host.agents.agent import (
    AgentError,
    Answer,
    Failure,
    Turn,
    question,
)
from maven_channel_wecom.host.agents.attachments import has_attachments, turn_without_attachments
from maven_channel_wecom.host.agents.responses_answer import (
    PREVIOUS_RESPONSE_REFUSED,
    AnswerStream,
    error_code,
    plain_answer,
)
from maven_channel_wecom.host.agents.responses_request import RequestBody
from maven_channel_wecom.host.agents.server_sent_events import MAX_EVENT_BYTES, EventParser
from maven_channel_wecom.transport.answer_limit import AnswerLimitConnector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from maven_channel_wecom.host.configuration import Responses

logger = logging.getLogger(__name__)

AGENT_CONNECT_SECONDS: Final = 10
AGENT_IDLE_SECONDS: Final = 300
"""Timeout between two pieces of an answer. Lower: an agent that silently uses a tool for minutes is cut off."""

AGENT_PROBE_SECONDS: Final = 10.0
"""Timeout for finding out whether the agent can be reached."""

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Maximum size of all events of one answer, which repeat a long answer a few times."""

MAX_ERROR_BYTES: Final = 64 * 1024

_PIECE_BYTES: Final = 8 * 1024
"""How much of an answer is parsed in one loop iteration. Higher: line ends alone block the event loop for longer, 4 ms
for 8 KiB."""


class _Connector(AnswerLimitConnector, aiohttp.TCPConnector):
    """Opens a connection for each request."""


class ResponsesAgent:
    """Sends messages to one address. Create it inside a running event loop, and close it."""

    def __init__(self, settings: Responses, *, idle_seconds: float = AGENT_IDLE_SECONDS) -> None:
        self._settings = settings
        headers = {
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
        }
        if settings.api_key:
            headers["Authorization"] = f"Bearer {settings.api_key}"
        self._connector = _Connector(
            # An agent may close an idle connection just as it is reused, and a POST is never retried.
            force_close=True,
            # The system's resolver. aiohttp prefers aiodns if it is installed, which does not find every name.
            resolver=aiohttp.ThreadedResolver(),
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            headers=headers,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(
                total=settings.timeout_seconds, sock_connect=AGENT_CONNECT_SECONDS, sock_read=idle_seconds
            ),
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port of the agent. The rest of its URL may hold a secret."""
        return str(URL(self._settings.url).origin())

    def ignored_proxy_variables(self) -> list[str]:
        """Return the environment variables that name a proxy for the agent, which this agent does not use."""
        url = URL(self._settings.url)
        if proxy_bypass(url.host or ""):
            return []
        names = {f"{url.scheme}_proxy", "all_proxy"}
        return sorted(name for name, value in os.environ.items() if value and name.lower() in names)

    async def answer(self, turn: Turn) -> Answer:
        """Return the answer to one message. Raises AgentError.

        If the agent refuses a turn with a picture or a file, it is asked once more with a note in their place. If it
        does not know `previous_response_id`, or the response, it is asked once more without it.
        """
        try:
            return await self._ask_with_attachments(turn)
        except AgentError as error:
            if not _refuses_previous_response(turn, error):
                raise
            _warn("agent refused previous response", turn, error)
        return await self._ask_with_attachments(turn._replace(previous_response_id=""))

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        await self._connector.abort_all()

    async def probe(self) -> Failure | None:
        """Return why no connection to the agent can be made, or None if the agent's host answers."""
        timeout = aiohttp.ClientTimeout(total=AGENT_PROBE_SECONDS)
        try:
            async with self._session.head(self._settings.url, allow_redirects=False, timeout=timeout):
                return None
        except Exception as error:  # noqa: BLE001 - aiohttp passes on what asyncio and ssl raise, even AttributeError
            return connection_failure(error)

    async def _ask_with_attachments(self, turn: Turn) -> Answer:
        asked = question(turn.message)
        try:
            return await self._ask(turn)
        except AgentError as error:
            sent = (*asked, *(block for exchange in turn.history for block in exchange.question))
            if not has_attachments(sent) or not _refuses_attachment(error) or _refuses_previous_response(turn, error):
                raise
            _warn("agent refused attachment", turn, error)
        try:
            answer = await self._ask(turn_without_attachments(turn))
        except AgentError as error:
            if has_attachments(asked) and _refuses_attachment(error):
                kind = "picture" if any(isinstance(block, ImageBlock) for block in asked) else "file"
                error.failure = agent_failures.with_attachment(error.failure, kind)
            raise
        return answer._replace(accepts_attachments=False)

    async def _ask(self, turn: Turn) -> Answer:
        stream = AnswerStream()
        try:
            return await self._request(turn, stream)
        except AgentError as error:
            error.partial = error.partial or stream.text
            raise
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            # aiohttp passes on some errors of asyncio, ssl and the resolver. Its own contain the URL, so none is the
            # cause of an AgentError.
            raise AgentError(connection_failure(error), partial=stream.text) from None

    async def _request(self, turn: Turn, stream: AnswerStream) -> Answer:
        body = RequestBody(turn, self._settings.model)
        headers = {"Maven-Session-Id": turn.session_id, "Content-Length": str(body.size_bytes)}
        # A redirect would carry the key and the message to an address that is not configured.
        async with self._session.post(
            self._settings.url, data=_cooperative(body.pieces()), headers=headers, allow_redirects=False
        ) as response:
            if not 200 <= response.status < 300:  # noqa: PLR2004 -- the range of success in HTTP
                code = error_code(await _error_body(response), turn.previous_response_id)
                raise AgentError(agent_failures.for_status(response.status), code=code)
            if response.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
                raise AgentError(agent_failures.COMPRESSED)
            if response.content_type != "text/event-stream":
                pieces = [piece async for piece in _pieces(response, MAX_EVENT_BYTES)]
                return plain_answer(b"".join(pieces))
            turn.show(lambda: stream.text)
            await _read_events(response, stream)
        if not stream.done:
            raise AgentError(agent_failures.BROKEN_OFF)
        return Answer(stream.text, stream.response_id)


def _warn(event: str, turn: Turn, error: AgentError) -> None:
    fields = {"channel": turn.message.channel, "message_id": turn.message.message_id, **error.facts}
    logger.warning(event, extra={"fields": fields})


def _refuses_previous_response(turn: Turn, error: AgentError) -> bool:
    return bool(turn.previous_response_id) and error.code == PREVIOUS_RESPONSE_REFUSED


def _refuses_attachment(error: AgentError) -> bool:
    """Return whether an attachment may be why an agent refuses a message. The API has many codes for pictures alone."""
    statuses = {f"http_{status}" for status in agent_failures.ATTACHMENT_STATUSES}
    words = re.split("[_.-]", error.code)
    return error.failure.reason in statuses or (not error.partial and ("image" in words or "file" in words))


def connection_failure(error: Exception) -> Failure:  # noqa: PLR0911 - one return for each kind
    """Return the failure for an error of aiohttp."""
    match error:
        case aiohttp.ClientConnectorDNSError() | UnicodeError():
            # A UnicodeError: the name cannot be encoded for a query, for example because a label is empty.
            return agent_failures.DNS
        case aiohttp.ClientSSLError():
            return agent_failures.TLS
        case aiohttp.ClientConnectorError():
            is_refused = error.os_error.errno == errno.ECONNREFUSED
            return agent_failures.REFUSED if is_refused else agent_failures.CONNECT
        case aiohttp.ConnectionTimeoutError():
            return agent_failures.CONNECT_TIMEOUT
        case aiohttp.SocketTimeoutError():
            return agent_failures.IDLE
        case TimeoutError():
            return agent_failures.TIMEOUT
    return agent_failures.CONNECTION_LOST


async def _cooperative(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces, and let other tasks run after each, even if the network accepts all pieces at once."""
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


async def _read_events(response: aiohttp.ClientResponse, stream: AnswerStream) -> None:
    parser = EventParser()
    async for piece in _pieces(response, MAX_BODY_BYTES):
        for event in parser.feed(piece):
            stream.feed(event)
            if stream.done:
                return
    # Some servers leave out the blank line after the last event. An event that is cut off is no JSON.
    for event in parser.feed(b"\n\n"):
        try:
            stream.feed(event)
        except AgentError as error:
            if error.failure is not agent_failures.MALFORMED:
                raise


async def _pieces(response: aiohttp.ClientResponse, limit_bytes: int) -> AsyncIterator[bytes]:
    """Yield a body in small pieces, and let other tasks run after each, even if all of it has arrived."""
    received = 0
    while piece := await response.content.read(_PIECE_BYTES):
        received += len(piece)
        if received > limit_bytes:
            raise AgentError(agent_failures.TOO_LARGE)
        yield piece
        await asyncio.sleep(0)


async def _error_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the beginning of an error's body, or nothing if it is lost, as it only adds a code to the log."""
    try:
        return await response.content.read(MAX_ERROR_BYTES)
    except (aiohttp.ClientError, TimeoutError):
        return b""
