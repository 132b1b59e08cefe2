"""The simulated WeCom: sends callbacks, receives replies, serves media, and records the offences of a bot."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Self

from aiohttp import web

from maven_channel_wecom.protocol import cipher, limits
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator import media, replies
from maven_channel_wecom.simulator.acknowledgements import read_acknowledgement
from maven_channel_wecom.simulator.callbacks import (
    Address,
    SealedRequest,
    has_response_url,
    plaintext,
    read_head,
    seal_callback,
    seal_url_check,
)
from maven_channel_wecom.simulator.exchanges import CallbackExchange
from maven_channel_wecom.simulator.http_client import BotClient, HttpAnswer, cut_request, send_bytes
from maven_channel_wecom.simulator.listening import listen
from maven_channel_wecom.simulator.messages import StreamRefresh
from maven_channel_wecom.simulator.recorded import Recorded
from maven_channel_wecom.simulator.refresh_faults import OutgoingRefresh
from maven_channel_wecom.simulator.refreshes import Refreshes
from maven_channel_wecom.simulator.sent import SentCallback, UrlCheckResult
from maven_channel_wecom.simulator.stream_rules import frame_offences

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from maven_channel_wecom.simulator.acknowledgements import Acknowledgement
    from maven_channel_wecom.simulator.bubbles import Bubble
    from maven_channel_wecom.simulator.callbacks import SentKind
    from maven_channel_wecom.simulator.faults import Fault, FaultScript
    from maven_channel_wecom.simulator.media_faults import MediaFault
    from maven_channel_wecom.simulator.messages import Message, Quotable
    from maven_channel_wecom.simulator.refresh_faults import RefreshFault

_OK = 200
_BUSY = 503
_SERVER_ERROR = 500
_JSON = {"Content-Type": "application/json"}


class SimulatedWeCom:
    """WeCom for one bot: a context manager that listens on a `port` of 127.0.0.1 (0: any free port).

    Attributes:
        callback_url: the callback URL of the bot; may be set after the start.
        credentials: the current token and key; `use_credentials` replaces them.
        receive_id: the receive id in every envelope; empty for an in-house bot.
        bot_id: `aibotid` of every callback.
        answer_seconds: timeout for the answer to a callback.
        event_seconds: how long the answer to an event is of use.
        url_check_seconds: timeout for the answer to a URL check.
        refresh_seconds: the time between two refreshes of a stream that is not finished.
        stream_seconds: the time from the sending of a message to the last refresh of its stream.
        refresh_urls: returns the callback URL of each refresh, as when a load balancer chooses a replica; None sends
            refreshes to where the message went.
        connections: maximum number of concurrent requests to the bot; set it before the start.
        recorded: what the bot did so far.
        clock: returns seconds since the epoch, for timestamps and expiry.
        monotonic: returns the seconds of a steady clock, for the times of streams and replies.
        sleep: waits for a number of seconds between refreshes.
    """

    def __init__(
        self,
        callback_url: str = "",
        *,
        token: str,
        encoding_aes_key: str,
        receive_id: str = "",
        port: int = 0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.callback_url = callback_url
        self.credentials = Credentials(token, cipher.decode_key(encoding_aes_key))
        self.receive_id = receive_id
        self.bot_id = "aibSimulatedBot00000000000000000000"
        # 101027 for card events, 90238 for the self-built app: five seconds. UNDOCUMENTED for an AI bot's messages.
        self.answer_seconds = 5.0
        self.event_seconds = 5.0
        self.url_check_seconds = float(limits.URL_CHECK_SECONDS)
        # UNDOCUMENTED: three peers saw about one refresh a second.
        self.refresh_seconds = 1.0
        # 100719 "流式消息刷新", 2026-03-12: at most six minutes from the user's message.
        self.stream_seconds = float(limits.REFRESH_SECONDS)
        self.refresh_urls: Callable[[], str] | None = None
        self.connections = 256
        self.recorded = Recorded()
        self.clock = clock
        self.monotonic = monotonic
        self._port = port
        self._random = random
        self._replies = replies.Replies(self.recorded, clock=clock, monotonic=monotonic, random=random)
        self._refreshes = Refreshes(self.recorded, monotonic=monotonic, sleep=sleep)
        self._sleep = sleep
        self._media = media.MediaStore(self.recorded, clock=clock, random=random)
        self._runner: web.AppRunner | None = None
        self._client: BotClient | None = None
        self._base_url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", replies.REPLY_PATH, self._replies.handle)
        app.router.add_get(media.MEDIA_PATH, self._media.handle)
        self._runner, self._base_url = await listen(app, "127.0.0.1", self._port)
        self._client = BotClient(self.connections)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._refreshes.close()
        if self._client is not None:
            await self._client.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        """The URL of the simulator, without a trailing slash; empty before the start."""
        return self._base_url

    @property
    def reply_faults(self) -> FaultScript[Fault]:
        """The faults of coming POSTs to a response_url."""
        return self._replies.faults

    @property
    def media_faults(self) -> FaultScript[MediaFault]:
        """The faults of coming media downloads."""
        return self._media.faults

    @property
    def refresh_faults(self) -> FaultScript[RefreshFault]:
        """The faults of coming refreshes, by the id of the message that is answered."""
        return self._refreshes.faults

    def use_credentials(self, *, token: str, encoding_aes_key: str) -> None:
        """Replace the credentials. Raises ValueError if the key is not an EncodingAESKey."""
        self.credentials = Credentials(token, cipher.decode_key(encoding_aes_key))

    def new_message_id(self) -> str:
        """Return a message id in WeCom's format, to script faults before the message is sent."""
        return self._random(16).hex()

    async def check_url(self) -> UrlCheckResult:
        """Check the callback URL as the console does before it saves it (101033)."""
        echo = str(10**18 + int.from_bytes(self._random(7), "big")).encode()
        request = seal_url_check(
            echo, self.credentials, receive_id=self.receive_id, timestamp=int(self.clock()), random=self._random
        )
        answer = await self.request("GET", query=request.query, within_seconds=self.url_check_seconds)
        check = UrlCheckResult.judge(answer, echo)
        if check.offence:
            self.recorded.offence(check.offence)
        return check

    async def send(
        self,
        message: Message,
        *,
        user: str = "alice",
        group: str = "",
        quote: Quotable | None = None,
        message_id: str = "",
        credentials: Credentials | None = None,
        at: str = "",
    ) -> SentCallback:
        """Send a message or an event, and judge the answer.

        Args:
            message: the message or event.
            user: the sender.
            group: the group; empty for the single chat with the bot.
            quote: the message that the user quotes.
            message_id: `msgid`; empty for a new one.
            credentials: other credentials to seal it with, as an attacker would; the bot may then refuse it.
            at: a different callback URL, as when a load balancer chooses a replica.

        Raises:
            ValueError: WeCom does not send this kind of message from a group.
        """
        message_id = message_id or self.new_message_id()
        sealing = credentials or self.credentials

        def store(content: bytes, name: str) -> str:
            return self._media.put(self.base_url, content, name=name, message_id=message_id, key=sealing.key)

        code = self._replies.open_window(message_id, in_group=bool(group)) if has_response_url(message) else ""
        plain = plaintext(
            message,
            Address(bot_id=self.bot_id, user_id=user, group_id=group),
            message_id=message_id,
            response_url=f"{self.base_url}{replies.REPLY_PATH}?response_code={code}" if code else "",
            now=int(self.clock()),
            store=store,
            quote=quote,
        )
        request = self._seal(plain, sealing)
        return await self._deliver(message_id, plain, request, genuine=credentials is None, at=at)

    async def send_plaintext(self, plain: bytes, *, message_id: str = "") -> SentCallback:
        """Seal and send any bytes instead of a callback's JSON.

        Only a server error or a 200 without a valid acknowledgement is an offence.
        """
        return await self._deliver(message_id, plain, self._seal(plain, self.credentials), genuine=False)

    async def redeliver(self, sent: SentCallback, *, verbatim: bool = False, at: str = "") -> SentCallback:
        """Send a callback again: resealed with a new nonce and timestamp or, if `verbatim`, byte for byte the same."""
        request = sent.request if verbatim else self._seal(sent.plaintext, self.credentials, after=sent.request)
        return await self._deliver(
            sent.message_id, sent.plaintext, request, genuine=sent.genuine, at=at, sent_at=sent.sent_at
        )

    async def request(
        self,
        method: str,
        *,
        query: str = "",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        within_seconds: float | None = None,
        at: str = "",
    ) -> HttpAnswer:
        """Send any HTTP request to the callback URL. Whatever the bot answers, no offence is recorded."""
        if self._client is None:
            text = "the simulator is not started"
            raise RuntimeError(text)
        return await self._client.request(
            method,
            at or self.callback_url,
            query=query,
            body=body,
            headers=headers,
            within_seconds=self.answer_seconds if within_seconds is None else within_seconds,
        )

    async def send_bytes(self, data: bytes, *, within_seconds: float | None = None) -> bytes:
        """Send any bytes to the bot's port, and return what comes back."""
        limit = self.answer_seconds if within_seconds is None else within_seconds
        return await send_bytes(self.callback_url, data, within_seconds=limit)

    def _seal(self, plain: bytes, credentials: Credentials, *, after: SealedRequest | None = None) -> SealedRequest:
        timestamp = max(int(self.clock()), after.timestamp + 1 if after else 0)
        return seal_callback(plain, credentials, receive_id=self.receive_id, timestamp=timestamp, random=self._random)

    async def _deliver(
        self,
        message_id: str,
        plain: bytes,
        request: SealedRequest,
        *,
        genuine: bool,
        at: str = "",
        sent_at: float | None = None,
    ) -> SentCallback:
        sent_at = self.monotonic() if sent_at is None else sent_at
        head = read_head(plain)
        answer = await self.request("POST", query=request.query, body=request.body, headers=_JSON, at=at)
        acknowledged = self._judge(answer, request, message_id, head.kind, genuine=genuine)
        exchange = CallbackExchange(
            message_id=message_id,
            kind=head.kind,
            plaintext=plain,
            request=request,
            answer=answer,
            opened=acknowledged.opened if acknowledged else None,
        )
        self.recorded.exchange(exchange)
        if acknowledged:
            self.recorded.acknowledged_ids.add(message_id)
            if acknowledged.form:
                self.recorded.acknowledgements[acknowledged.form] += 1
        sent = SentCallback(
            message_id=message_id,
            status=answer.status,
            acknowledgement=acknowledged.opened if acknowledged else None,
            elapsed_seconds=answer.elapsed_seconds,
            genuine=genuine,
            plaintext=plain,
            request=request,
            sent_at=sent_at,
            replies=self._replies,
            bubbles=self.recorded.bubbles,
        )
        if acknowledged is None or acknowledged.frame is None:
            return sent
        if head.kind == "refresh":
            for offence in frame_offences(acknowledged.frame, stream_id=head.stream.id, is_refresh=True):
                self.recorded.offence(offence, message_id)
        else:
            bubble = self._refreshes.show(message_id, acknowledged.frame, sent_at=sent_at)
            self._refreshes.start(
                bubble,
                lambda: self._new_refresh(sent, bubble, at),
                every_seconds=self.refresh_seconds,
                until=sent_at + self.stream_seconds,
            )
        return sent

    def _judge(
        self, answer: HttpAnswer, request: SealedRequest, message_id: str, kind: SentKind, *, genuine: bool
    ) -> Acknowledgement | None:
        """Judge the answer to a callback. Return None if it is no acknowledgement."""
        is_event = kind in {"event", "enter_chat"}
        if is_event and (answer.timed_out or answer.elapsed_seconds > self.event_seconds):
            self.recorded.offence("late_event_answer", message_id)
        elif answer.timed_out:
            self.recorded.offence("slow_answer", message_id)
        elif answer.status not in {0, _OK, _BUSY} and (genuine or answer.status >= _SERVER_ERROR):
            self.recorded.offence("wrong_status", message_id)
        if answer.status != _OK:
            return None
        acknowledged = read_acknowledgement(answer.body, request, self.receive_id, kind=kind)
        if acknowledged.offence:
            self.recorded.offence(acknowledged.offence, message_id)
        return acknowledged

    def _new_refresh(self, sent: SentCallback, bubble: Bubble, at: str) -> OutgoingRefresh:
        """Return one refresh of a stream. It has a message id of its own, which a repetition of it keeps."""
        head = read_head(sent.plaintext)
        plain = plaintext(
            StreamRefresh(bubble.stream_id),
            Address(bot_id=self.bot_id, user_id=head.sender.userid, group_id=head.chatid),
            message_id=self.new_message_id(),
            response_url="",
            now=int(self.clock()),
            store=lambda _content, _name: "",
        )
        url = self.refresh_urls() if self.refresh_urls else at

        def seal() -> SealedRequest:
            return self._seal(plain, self.credentials if sent.genuine else sent.request.credentials)

        def observe(request: SealedRequest, answer: HttpAnswer, opened: bytes | None = None, *, lost: bool) -> None:
            self.recorded.exchange(
                CallbackExchange(
                    message_id=sent.message_id,
                    kind="refresh",
                    plaintext=plain,
                    request=request,
                    answer=answer,
                    opened=opened,
                    lost=lost,
                )
            )

        async def post(request: SealedRequest) -> HttpAnswer:
            return await self.request("POST", query=request.query, body=request.body, headers=_JSON, at=url)

        async def send() -> None:
            request = seal()
            observe(request, await post(request), lost=True)

        async def ask() -> None:
            request = seal()
            answer = await post(request)
            acknowledged = self._judge(answer, request, sent.message_id, "refresh", genuine=sent.genuine)
            observe(request, answer, acknowledged.opened if acknowledged else None, lost=False)
            if acknowledged and acknowledged.frame:
                self._refreshes.show(sent.message_id, acknowledged.frame, sent_at=sent.sent_at, is_refresh=True)
            elif acknowledged and acknowledged.form:
                # 100719: only a stream answers a refresh.
                self.recorded.offence("unexpected_answer", sent.message_id)

        async def cut() -> None:
            request = seal()
            await cut_request(url or self.callback_url, query=request.query, body=request.body)
            observe(request, HttpAnswer(status=0), lost=True)

        return OutgoingRefresh(ask=ask, send=send, cut=cut, sleep=self._sleep)
