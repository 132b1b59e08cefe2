"""An agent behind an HTTP service. What it is asked and answers in is the format of one API, of `APIS`.

An answer that breaks off raises an error with the text received so far: half an answer and the reason are worth more to
the user than the reason alone.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import aiohttp
from yarl import URL

from maven_channel_wecom.host.agents import agent_failures
from maven_channel_wecom.host.agents.agent import AgentError, Answer, Turn, question
from maven_channel_wecom.host.agents.answer_json import (
    CONTEXT_LENGTH_EXCEEDED,
    error_code,
    error_texts,
    names_context_length,
    required_parameter,
)
from maven_channel_wecom.host.agents.attachments import attachment_kind, turns_without_attachments
from maven_channel_wecom.host.agents.chat_answer import ChatStream, plain_chat_answer
from maven_channel_wecom.host.agents.chat_request import chat_request
from maven_channel_wecom.host.agents.request_body import RequestBody
from maven_channel_wecom.host.agents.responses_answer import ResponsesStream, plain_responses_answer
from maven_channel_wecom.host.agents.responses_request import responses_request
from maven_channel_wecom.host.agents.server_sent_events import MAX_EVENT_BYTES, EventParser
from maven_channel_wecom.transport.answer_limit import AnswerLimitConnector
from maven_channel_wecom.transport.proxy import SOCKS_SCHEMES
from maven_channel_wecom.transport.proxy_failures import proxy_failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import SimpleNamespace

    from maven_channel_wecom.host.agents.agent import Failure
    from maven_channel_wecom.host.agents.server_sent_events import ServerSentEvent
    from maven_channel_wecom.host.configuration import AgentSettings

logger = logging.getLogger(__name__)

AGENT_CONNECT_SECONDS: Final = 10
"""Timeout for a connection: the lookup of the name, TCP, the proxy and TLS together."""

AGENT_IDLE_SECONDS: Final = 300
"""Timeout between two pieces of an answer. Lower: an agent that silently uses a tool for minutes is cut off."""

AGENT_END_SECONDS: Final = 2.0
"""Timeout for the end of a stream whose answer is complete: some servers send neither `[DONE]` nor an end. Lower: a
server with more to say is cut off. Higher: the user waits longer for an answer of such a server."""

AGENT_PROBE_SECONDS: Final = 10.0
"""Timeout for finding out whether the agent can be reached."""

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Maximum size of all events of one answer, which repeat a long answer a few times."""

MAX_ERROR_BYTES: Final = 64 * 1024
ERROR_BODY_SECONDS: Final = 5.0
"""Timeout for the body of an error. Lower: a slow one tells less. Higher: the user waits longer for the sentence."""

_PIECE_BYTES: Final = 8 * 1024
"""How much of an answer is parsed in one loop iteration. Higher: line ends alone block the event loop for longer, 4 ms
for 8 KiB."""


# aiohttp would also put `close` into a CONNECT request, and a proxy that takes it literally would close the tunnel.
_CONNECT_HEADERS: Final = {"Connection": "keep-alive"}

# Words for attachments in the errors of servers that answer 404 or 500 to them.
_ATTACHMENT_WORDS: Final = re.compile(r"image|picture|vision|multimodal|mmproj|file_data|attachment", re.IGNORECASE)

# Errors about keys and limits, and those that pass, whatever words they have: "the container image is being pulled".
_NOT_ABOUT_ATTACHMENTS: Final = frozenset({401, 403, 408, 425, 429, 502, 503, 504})

# Servers differ in how they refuse an unknown parameter, or the id of a response that they no longer have.
_PREVIOUS_RESPONSE_STATUSES: Final = frozenset({400, 404, 422})

# OpenAI's code for the latter, which may also come in a stream.
_PREVIOUS_RESPONSE_NOT_FOUND: Final = "previous_response_not_found"


class AnswerStream(Protocol):
    """An answer that arrives as events. `done` is set once no more of them need to be read."""

    done: bool

    @property
    def complete(self) -> bool:
        """Whether the answer is complete."""
        ...

    @property
    def text(self) -> str:
        """The text received so far."""
        ...

    @property
    def answer(self) -> Answer:
        """The answer, once it is complete."""
        ...

    def feed(self, event: ServerSentEvent) -> None:
        """Process one event. Raises AgentError."""
        ...


class Api(NamedTuple):
    """The format of requests and answers.

    Args:
        request: returns the request for a turn to a model.
        stream: returns an empty answer, which events are fed to.
        plain_answer: returns the answer in a JSON text.
        foreign_parameter: the parameter that only the other API requires.
        other: the type of the other API.
    """

    request: Callable[[Turn, str], dict[str, Any]]
    stream: Callable[[], AnswerStream]
    plain_answer: Callable[[bytes], Answer]
    foreign_parameter: str
    other: str


APIS: Final[Mapping[str, Api]] = {
    "responses": Api(responses_request, ResponsesStream, plain_responses_answer, "messages", "chat-completions"),
    "chat-completions": Api(chat_request, ChatStream, plain_chat_answer, "input", "responses"),
}
"""The API of each `agent.type`."""


class _Connector(AnswerLimitConnector, aiohttp.TCPConnector):
    """Opens a connection for each request."""


@dataclass(slots=True)
class _RequestProgress:
    """Whether a request has a connection."""

    connected: bool = False


class _RefusedError(AgentError):
    """An HTTP status other than success. Its body may name attachments, or the previous response."""

    def __init__(self, status: int, body: bytes) -> None:
        is_too_long = status in agent_failures.HISTORY_STATUSES and names_context_length(body)
        code = CONTEXT_LENGTH_EXCEEDED if is_too_long else error_code(body)
        super().__init__(agent_failures.for_status(status), code=code)
        self.status = status
        names_attachment = any(map(_ATTACHMENT_WORDS.search, error_texts(body)))
        self.names_attachment = names_attachment and status not in _NOT_ABOUT_ATTACHMENTS
        self.names_previous_response = b"previous_response" in body


class HttpAgent:
    """Sends turns to one address. Create it inside a running event loop, and close it."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        idle_seconds: float = AGENT_IDLE_SECONDS,
        end_seconds: float = AGENT_END_SECONDS,
    ) -> None:
        self._settings = settings
        self._end_seconds = end_seconds
        self._api = APIS[settings.type]
        headers = {
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
        }
        if settings.api_key:
            headers["Authorization"] = f"Bearer {settings.api_key}"
        self._proxy = URL(settings.proxy.url) if settings.proxy else None
        is_socks = self._proxy is not None and self._proxy.scheme in SOCKS_SCHEMES
        self._http_proxy = None if is_socks else self._proxy
        self._connector = _new_connector(self._proxy)
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_record_connection)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            headers=headers,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
            # The environment was read with the configuration, by rules that are the same for every kind of proxy.
            trust_env=False,
            timeout=aiohttp.ClientTimeout(
                total=settings.timeout_seconds, connect=AGENT_CONNECT_SECONDS, sock_read=idle_seconds
            ),
        )

    @property
    def facts(self) -> dict[str, str]:
        """The fields that name the agent in the log."""
        facts = {"agent": self.origin, "type": self._settings.type}
        if self._settings.proxy is not None:
            origin = URL(self._settings.proxy.url).origin()
            facts |= {"proxy": str(origin), "proxy_source": self._settings.proxy.source}
        return facts

    @property
    def origin(self) -> str:
        """Scheme, host and port of the agent. The rest of its URL may hold a secret."""
        return str(URL(self._settings.url).origin())

    async def answer(self, turn: Turn) -> Answer:
        """Return the answer to one message. Raises AgentError.

        If the agent refuses pictures and files, it is asked again with notes in place of those of the history, then of
        the message's too. If it may not know `previous_response_id`, or the response, it is asked again without it.
        """
        try:
            return await self._ask_with_attachments(turn)
        except AgentError as error:
            if not _refuses_previous_response(turn, error):
                raise
            refusal = error
        answer = await self._ask_with_attachments(turn._replace(previous_response_id=""))
        logger.warning("agent refused previous response", extra=_log_fields(turn, refusal))
        return answer

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        await self._connector.abort_all()

    async def probe(self) -> AgentError | None:
        """Return why no connection to the agent can be made, or None if the agent's host answers."""
        return await self._probe("HEAD", b"")

    async def inspect(self) -> AgentError | None:
        """Return what is wrong with the agent's address, key or type, or None if nothing is found.

        The request has no message, so that an agent can only refuse it. How it does shows whether the address is right.
        """
        return await self._probe("POST", b"{}")

    async def _ask_with_attachments(self, turn: Turn) -> Answer:
        try:
            return await self._ask(turn)
        except AgentError as error:
            refusal = error
        for shorter, refused in turns_without_attachments(turn):
            if not _refuses_attachment(refusal) or _names_previous_response(turn, refusal):
                break
            try:
                answer = await self._ask(shorter)
            except AgentError as error:
                refusal = error
            else:
                logger.warning("agent refused attachment", extra=_log_fields(turn, refusal))
                return answer._replace(refused_attachments=refused)
        else:
            if (kind := attachment_kind(question(turn.message))) and _refuses_attachment(refusal):
                refusal.failure = agent_failures.with_attachment(refusal.failure, kind)
        raise refusal

    async def _probe(self, method: str, body: bytes) -> AgentError | None:
        progress = _RequestProgress()
        try:
            async with asyncio.timeout(AGENT_PROBE_SECONDS), self._send(method, body, {}, progress) as response:
                self._check_proxy_answer(response.status)
                if body:
                    self._check_answer_to_nothing(response, await _error_body(response))
        except AgentError as error:
            return error
        except Exception as error:  # noqa: BLE001 - aiohttp passes on what asyncio and ssl raise, even AttributeError
            return AgentError(self._connection_failure(error, progress))
        return None

    async def _ask(self, turn: Turn) -> Answer:
        stream = self._api.stream()
        progress = _RequestProgress()
        try:
            return await self._request(turn, stream, progress)
        except AgentError as error:
            failed = error
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            # aiohttp passes on some errors of asyncio, ssl and the resolver. Its own contain the URL, so none is the
            # cause of an AgentError.
            failed = AgentError(self._connection_failure(error, progress))
        if stream.complete:
            return stream.answer
        if failed.code == CONTEXT_LENGTH_EXCEEDED:
            failed.failure = agent_failures.CONTEXT_LENGTH
        failed.partial = failed.partial or stream.text
        raise failed

    async def _request(self, turn: Turn, stream: AnswerStream, progress: _RequestProgress) -> Answer:
        body = RequestBody(self._api.request(turn, self._settings.model))
        headers = {"Maven-Session-Id": turn.session_id, "Content-Length": str(body.size_bytes)}
        async with self._send("POST", body, headers, progress) as response:
            self._check_proxy_answer(response.status)
            if not _is_success(response.status):
                raise self._refused(response.status, await _error_body(response))
            if response.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
                raise AgentError(agent_failures.COMPRESSED)
            if response.content_type != "text/event-stream":
                pieces = [piece async for piece in _pieces(response, MAX_EVENT_BYTES)]
                return self._api.plain_answer(b"".join(pieces))
            turn.show(lambda: stream.text)
            await _read_events(response, stream, self._end_seconds)
        if not stream.complete:
            raise AgentError(agent_failures.BROKEN_OFF)
        return stream.answer

    def _send(
        self, method: str, body: bytes | RequestBody, headers: dict[str, str], progress: _RequestProgress
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._session.request(
            method,
            self._settings.url,
            data=body or None,
            headers=headers,
            # A redirect would carry the key and the message to an address that is not configured.
            allow_redirects=False,
            proxy=self._http_proxy,
            proxy_headers=_CONNECT_HEADERS,
            trace_request_ctx=progress,
        )

    @property
    def _is_forwarded(self) -> bool:
        """Whether a proxy forwards requests, and not only bytes."""
        return self._http_proxy is not None and URL(self._settings.url).scheme == "http"

    def _check_proxy_answer(self, status: int) -> None:
        """Raise AgentError if an answer certainly comes from the proxy."""
        if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and self._is_forwarded:
            raise AgentError(agent_failures.for_proxy("credentials"))

    def _check_answer_to_nothing(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        """Raise AgentError for an answer to an empty request that shows a mistake in the configuration."""
        status = response.status
        if _is_success(status):
            self._check_format(response.content_type, body)
            return
        wrong_address = 300 <= status < 400 or status in {404, 405}  # noqa: PLR2004 - the range of redirects in HTTP
        refused = self._refused(status, body)
        if wrong_address or status in {401, 403} or refused.failure is agent_failures.OTHER_API:
            raise refused

    def _check_format(self, content_type: str, body: bytes) -> None:
        """Raise AgentError for a page, and for the beginning of an answer of the other API."""
        if content_type == "text/html":
            raise AgentError(agent_failures.MALFORMED)
        try:
            if content_type == "text/event-stream":
                stream = self._api.stream()
                for event in EventParser().feed(body):
                    stream.feed(event)
            else:
                self._api.plain_answer(body)
        except AgentError as error:
            if error.failure is agent_failures.OTHER_API:
                raise

    def _refused(self, status: int, body: bytes) -> AgentError:
        if required_parameter(body) == self._api.foreign_parameter:
            return AgentError(agent_failures.OTHER_API, code=self._api.other)
        return _RefusedError(status, body)

    def _connection_failure(self, error: Exception, progress: _RequestProgress) -> Failure:
        if type(error) is aiohttp.ClientOSError and isinstance(error.__cause__, OSError):
            # aiohttp wraps what it does not know, such as the errors of a SOCKS proxy.
            error = error.__cause__
        if self._proxy is not None and not progress.connected and (cause := proxy_failure(error, self._proxy)):
            return agent_failures.for_proxy(cause)
        if progress.connected and self._is_forwarded and isinstance(error, aiohttp.ClientResponseError):
            # What does not answer in HTTP does not forward HTTP requests.
            return agent_failures.for_proxy("not_http")
        return connection_failure(error)


def _new_connector(proxy: URL | None) -> AnswerLimitConnector:
    # The system's resolver. aiohttp prefers aiodns if it is installed, which does not find every name.
    resolver = aiohttp.ThreadedResolver()
    if proxy is not None and proxy.scheme in SOCKS_SCHEMES:
        # Needs an extra.
        from maven_channel_wecom.transport.socks import SocksConnector  # noqa: PLC0415 - see above

        return SocksConnector(proxy, resolver=resolver if proxy.scheme == "socks5" else None, ssl=True)
    # An agent may close an idle connection just as it is reused, and a POST is never retried. Turns are limited outside
    # of aiohttp, which counts the wait as time to connect.
    return _Connector(resolver=resolver, force_close=True, limit=0)


async def _record_connection(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.connected = True


def _is_success(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004 - the range of success in HTTP


def _log_fields(turn: Turn, error: AgentError) -> dict[str, object]:
    return {"fields": {"channel": turn.message.channel, "message_id": turn.message.message_id, **error.facts}}


def _names_previous_response(turn: Turn, error: AgentError) -> bool:
    if not turn.previous_response_id:
        return False
    is_named = isinstance(error, _RefusedError) and error.names_previous_response
    return is_named or error.code == _PREVIOUS_RESPONSE_NOT_FOUND


def _refuses_previous_response(turn: Turn, error: AgentError) -> bool:
    """Return whether the previous response may be why an agent refuses a message."""
    may_concern_it = isinstance(error, _RefusedError) and error.status in _PREVIOUS_RESPONSE_STATUSES
    return _names_previous_response(turn, error) or (may_concern_it and bool(turn.previous_response_id))


def _refuses_attachment(error: AgentError) -> bool:
    """Return whether an attachment may be why an agent refuses a message. The API has many codes for pictures alone."""
    if error.failure is agent_failures.CONTEXT_LENGTH:
        return False
    if isinstance(error, _RefusedError) and (
        error.status in agent_failures.ATTACHMENT_STATUSES or error.names_attachment
    ):
        return True
    words = re.split("[_.-]", error.code)
    return not error.partial and ("image" in words or "file" in words)


def connection_failure(error: Exception) -> Failure:  # noqa: PLR0911 - one return for each kind
    """Return the failure for an error of aiohttp."""
    match error:
        case aiohttp.ClientConnectorDNSError() | UnicodeError() | socket.gaierror():
            # A UnicodeError: the name cannot be encoded for a query, for example because a label is empty. A gaierror:
            # no address was found that a SOCKS proxy could be asked for.
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


async def _read_events(response: aiohttp.ClientResponse, stream: AnswerStream, end_seconds: float) -> None:
    """Feed a stream until it is done, or ends. Raises TimeoutError some time after its answer is complete."""
    parser = EventParser()
    async with asyncio.timeout(None) as end:
        async for piece in _pieces(response, MAX_BODY_BYTES):
            for event in parser.feed(piece):
                stream.feed(event)
                if stream.done:
                    return
            if stream.complete and end.when() is None:
                end.reschedule(asyncio.get_running_loop().time() + end_seconds)
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
    """Return the beginning of an error's body, or what arrives of it: it only adds details."""
    body = b""
    with suppress(aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout(ERROR_BODY_SECONDS):
            while len(body) < MAX_ERROR_BYTES and (piece := await response.content.read(MAX_ERROR_BYTES - len(body))):
                body += piece
    return body
