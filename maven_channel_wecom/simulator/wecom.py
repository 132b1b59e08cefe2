"""The simulated WeCom: sends callbacks, receives replies, serves media, and records the offences of a bot."""

from __future__ import annotations

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
    is_enter_chat,
    plaintext,
    seal_callback,
    seal_url_check,
)
from maven_channel_wecom.simulator.http_client import BotClient, HttpAnswer, send_bytes
from maven_channel_wecom.simulator.listening import listen
from maven_channel_wecom.simulator.recorded import Recorded
from maven_channel_wecom.simulator.sent import SentCallback, UrlCheckResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from maven_channel_wecom.simulator.faults import Fault, FaultScript
    from maven_channel_wecom.simulator.media_faults import MediaFault
    from maven_channel_wecom.simulator.messages import Message, Quotable

_OK = 200
_BUSY = 503
_SERVER_ERROR = 500
_JSON = {"Content-Type": "application/json"}


class SimulatedWeCom:
    """WeCom for one bot: a context manager that listens on `host` and `port` (0: any free port).

    Attributes:
        callback_url: the callback URL of the bot; may be set after the start.
        credentials: the current token and key; `use_credentials` replaces them.
        receive_id: the receive id in every envelope; empty for an in-house bot.
        bot_id: `aibotid` of every callback.
        answer_seconds: timeout for the answer to a callback.
        url_check_seconds: timeout for the answer to a URL check.
        connections: maximum number of concurrent requests to the bot; set it before the start.
        recorded: what the bot did so far.
        clock: returns seconds since the epoch, for timestamps and expiry.
    """

    def __init__(
        self,
        callback_url: str = "",
        *,
        token: str,
        encoding_aes_key: str,
        receive_id: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.callback_url = callback_url
        self.credentials = Credentials(token, cipher.decode_key(encoding_aes_key))
        self.receive_id = receive_id
        self.bot_id = "aibSimulatedBot00000000000000000000"
        # 101027 for card events, 90238 for the self-built app: five seconds. UNDOCUMENTED for an AI bot's messages.
        self.answer_seconds = 5.0
        self.url_check_seconds = float(limits.URL_CHECK_SECONDS)
        self.connections = 256
        self.recorded = Recorded()
        self.clock = clock
        self._host, self._port = host, port
        self._random = random
        self._replies = replies.Replies(self.recorded, clock=clock, random=random)
        self._media = media.MediaStore(self.recorded, clock=clock, random=random)
        self._runner: web.AppRunner | None = None
        self._client: BotClient | None = None
        self._base_url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", replies.REPLY_PATH, self._replies.handle)
        app.router.add_get(media.MEDIA_PATH, self._media.handle)
        self._runner, self._base_url = await listen(app, self._host, self._port)
        self._client = BotClient(self.connections)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        return await self._deliver(sent.message_id, sent.plaintext, request, genuine=sent.genuine, at=at)

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
        self, message_id: str, plain: bytes, request: SealedRequest, *, genuine: bool, at: str = ""
    ) -> SentCallback:
        answer = await self.request("POST", query=request.query, body=request.body, headers=_JSON, at=at)
        if answer.timed_out:
            self.recorded.offence("slow_answer", message_id)
        elif answer.status not in {0, _OK, _BUSY} and (genuine or answer.status >= _SERVER_ERROR):
            self.recorded.offence("wrong_status", message_id)
        acknowledged = None
        if answer.status == _OK:
            self.recorded.acknowledged_ids.add(message_id)
            acknowledged = read_acknowledgement(answer.body, request, self.receive_id, may_welcome=is_enter_chat(plain))
            if acknowledged.offence:
                self.recorded.offence(acknowledged.offence, message_id)
            if acknowledged.form:
                self.recorded.acknowledgements[acknowledged.form] += 1
        return SentCallback(
            message_id=message_id,
            status=answer.status,
            acknowledgement=acknowledged.opened if acknowledged else None,
            elapsed_seconds=answer.elapsed_seconds,
            genuine=genuine,
            plaintext=plain,
            request=request,
            replies=self._replies,
        )
