"""The `response_url` endpoint: accepts one reply for each callback, within an hour."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from maven_channel_wecom.protocol import errcodes, limits
from maven_channel_wecom.simulator.exchanges import ReplyExchange
from maven_channel_wecom.simulator.faults import Fault, FaultScript, InterceptedRequest
from maven_channel_wecom.simulator.recorded import Recorded, Reply
from maven_channel_wecom.simulator.reply_rules import Posted, RuleVerdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable

REPLY_PATH = "/cgi-bin/aibot/response"
_CODE_BYTES = 24


class _Window:
    """The right to reply once to one message."""

    def __init__(self, message_id: str, *, in_group: bool, opened_at: float, expires_at: float) -> None:
        self.message_id = message_id
        self.in_group = in_group
        self.expires_at = expires_at
        self.opened_at = opened_at
        self.used = False
        self.retry_is_unsafe = False
        self.accepted: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()


class Replies:
    """Issues response codes, and judges the POSTs that use them.

    Attributes:
        faults: the faults of coming POSTs.
    """

    def __init__(
        self,
        recorded: Recorded,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self.faults: FaultScript[Fault] = FaultScript()
        self._recorded = recorded
        self._clock = clock
        self._monotonic = monotonic
        self._random = random
        self._windows: dict[str, _Window] = {}
        self._by_message: dict[str, _Window] = {}

    def open_window(self, message_id: str, *, in_group: bool) -> str:
        """Open a reply window for a message, and return its response code."""
        code = self._random(_CODE_BYTES).hex()
        expires_at = self._clock() + limits.RESPONSE_URL_SECONDS
        window = _Window(message_id, in_group=in_group, opened_at=self._monotonic(), expires_at=expires_at)
        self._windows[code] = self._by_message[message_id] = window
        return code

    async def accepted(self, message_id: str) -> Reply:
        """Wait for the accepted reply to a message.

        Raises:
            LookupError: the message was sent without a response_url.
        """
        window = self._by_message.get(message_id)
        if window is None:
            text = f"message {message_id} was sent without a response_url"
            raise LookupError(text)
        # Several callers may wait: cancelling one must not cancel the shared future.
        return await asyncio.shield(window.accepted)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request to `REPLY_PATH`."""
        window = self._windows.get(request.query.get("response_code", ""))
        message_id = window.message_id if window else ""
        fault = self.faults.take(message_id)
        if window is not None:
            self._recorded.posts[message_id] += 1
            if window.retry_is_unsafe and not window.used:
                self._recorded.offence("unsafe_repeat", message_id)
            window.retry_is_unsafe = window.retry_is_unsafe or (fault is not None and not fault.repeatable)

        body = b""

        async def read() -> Posted:
            nonlocal body
            posted = await _read(request)
            body = posted.body or b""
            return posted

        async def inspect() -> None:
            self._process(window, await read(), accept=False)

        async def accept() -> web.Response:
            return self._process(window, await read(), accept=True)

        answer = await fault(InterceptedRequest(request, inspect, accept)) if fault else await accept()
        if window is not None:
            # A fault that resets the connection returns an answer that is never sent.
            is_sent = request.transport is not None and not request.transport.is_closing()
            text = answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else b""
            exchange = ReplyExchange(
                message_id=message_id,
                body=body,
                status=answer.status if is_sent else 0,
                answer=text if is_sent else b"",
                after_seconds=self._monotonic() - window.opened_at,
                fault=type(fault).__name__ if fault else "",
            )
            self._recorded.exchange(exchange)
        return answer

    def _process(self, window: _Window | None, posted: Posted, *, accept: bool) -> web.Response:
        """Judge and record a POST, and accept it if valid. It contains no await, so two POSTs cannot both be first."""
        verdict = self._verdict(window, posted)
        message_id = window.message_id if window else ""
        if verdict.offence:
            self._recorded.offence(verdict.offence, message_id)
        if window is not None:
            reply = Reply(
                message_id=message_id,
                content=verdict.content,
                after_seconds=self._monotonic() - window.opened_at,
                accepted=accept and verdict.errcode == errcodes.OK,
                feedback_id=verdict.feedback_id,
            )
            if reply.accepted:
                window.used = True
                window.accepted.set_result(reply)
            self._recorded.attempt(reply)
        meaning = errcodes.MEANINGS.get(verdict.errcode, "invalid parameter")
        return web.json_response({"errcode": verdict.errcode, "errmsg": meaning})

    def _verdict(self, window: _Window | None, posted: Posted) -> RuleVerdict:
        if window is None:
            return RuleVerdict(offence="unknown_code")
        verdict = judge(posted, in_group=window.in_group)
        if window.used:
            return RuleVerdict(verdict.content, "second_use")
        if self._clock() >= window.expires_at:
            return RuleVerdict(verdict.content, "late")
        return verdict


async def _read(request: web.Request) -> Posted:
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        body = None
    return Posted(method=request.method, content_type=request.content_type, charset=request.charset, body=body)
