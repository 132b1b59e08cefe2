"""A small correct bot whose behavior a test can break, to see what the simulator records."""

from __future__ import annotations

import asyncio
import io
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from maven_channel_wecom.errors import CallbackRejected, MediaUnavailable
from maven_channel_wecom.protocol import envelope, media
from maven_channel_wecom.protocol.callback import ENTER_CHAT, Callback, MediaItem, TextItem, read_callback
from maven_channel_wecom.protocol.reply import markdown_body, read_answer, welcome_body
from tests.fakes.decrypted import decrypted

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from maven_channel_wecom.protocol.envelope import Credentials, OpenedEnvelope, SealedEnvelope
    from maven_channel_wecom.simulator.offences import OffenceKind
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class PostResult:
    """The answer to a POST to a response_url: status 0 if there was none, errcode None if it could not be read."""

    status: int
    errcode: int | None


def kinds(wecom: SimulatedWeCom) -> list[OffenceKind]:
    """Return the kinds of the offences that a simulator has recorded."""
    return [offence.kind for offence in wecom.recorded.offences]


def frame(stream_id: str, content: str, *, finish: bool = False, **more: object) -> bytes:
    """Return the plaintext of one frame of a stream (101031)."""
    return msgspec.json.encode(
        {"msgtype": "stream", "stream": {"id": stream_id, "finish": finish, "content": content, **more}}
    )


def growing(*contents: str) -> Callable[[str, int], bytes]:
    """Return frames with these texts, of which the last finishes the stream and is repeated."""
    last = len(contents) - 1
    return lambda stream_id, number: frame(stream_id, contents[min(number, last)], finish=number >= last)


@dataclass
class Bot:
    """Echoes text, describes media, answers each message once.

    Replace an attribute to break it: `echo` makes the answer to a URL check, `answer` the answer to a callback, and
    `frames` the frame of a stream, given its id and its number from 0; frame 0 acknowledges the message.
    """

    credentials: Credentials
    echo: Callable[[bytes], web.Response] = lambda plain: web.Response(body=plain)
    answer: Callable[[SealedEnvelope], web.Response] = lambda sealed: web.Response(body=msgspec.json.encode(sealed))
    acknowledgement: bytes = b'"success"'
    welcome: str = ""
    feedback_id: str = ""
    frames: Callable[[str, int], bytes] | None = None
    receive_id: str | None = None
    replies: bool = True
    prefix: str = ""
    describe: Callable[[object], str] | None = None
    received: list[Callback] = field(default_factory=list)
    url: str = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/wecom/bot", self._check)
        app.router.add_post("/wecom/bot", self._callback)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/wecom/bot"
        self._session = aiohttp.ClientSession()
        self._tasks: set[asyncio.Task[None]] = set()
        self._message_ids: set[str] = set()
        self._frame_numbers: Counter[str] = Counter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        await self._runner.cleanup()

    async def post(
        self, url: str, body: bytes, *, method: str = "POST", headers: dict[str, str] | None = None
    ) -> PostResult:
        """Send one request to a response_url and read the answer."""
        try:
            async with self._session.request(method, url, data=io.BytesIO(body), headers=headers or JSON) as response:
                answer = read_answer(await response.read())
                return PostResult(response.status, answer.errcode if answer else None)
        except (aiohttp.ClientError, ConnectionError):
            return PostResult(0, None)

    async def fetch(self, url: str) -> tuple[int, bytes, str]:
        """Download a URL exactly as given, and return status, body and file name."""
        async with self._session.get(URL(url, encoded=True)) as response:
            name = media.file_name(response.headers.get("Content-Disposition", ""))
            return response.status, await response.read(), name

    async def _check(self, request: web.Request) -> web.Response:
        query = envelope.read_query(request.query)
        return self.echo(self._open(query, envelope.read_echo(request.query)).message)

    async def _callback(self, request: web.Request) -> web.Response:
        try:
            query = envelope.read_query(request.query)
            opened = self._open(query, envelope.read_body(await request.read()))
            callback = read_callback(opened.message)
        except CallbackRejected as refusal:
            return web.Response(status=refusal.status)
        self.received.append(callback)
        if callback.message_id not in self._message_ids:
            self._message_ids.add(callback.message_id)
            if self.replies and callback.response_url:
                task = asyncio.create_task(self._reply(callback))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        sealed = envelope.seal(
            opened.credentials,
            self._acknowledgement(callback, opened.message),
            receive_id=opened.receive_id if self.receive_id is None else self.receive_id,
            timestamp=int(query.timestamp),
            nonce=query.nonce,
            random=os.urandom(16),
        )
        return self.answer(sealed)

    def _acknowledgement(self, callback: Callback, plain: bytes) -> bytes:
        if self.welcome and callback.event is not None and callback.event.type == ENTER_CHAT:
            return welcome_body(self.welcome)
        if self.frames is None:
            return self.acknowledgement
        # A duplicate of a message has the same stream as the message.
        stream_id = msgspec.json.decode(plain).get("stream", {}).get("id", f"stream-{callback.message_id}")
        number = self._frame_numbers[stream_id]
        self._frame_numbers[stream_id] += 1
        return self.frames(stream_id, number)

    def _open(self, query: envelope.SignedQuery, ciphertext: str) -> OpenedEnvelope:
        return envelope.open_envelope([self.credentials], query, ciphertext)

    async def _reply(self, callback: Callback) -> None:
        describe = self.describe
        descriptions = [describe(item) if describe else await self._describe(item) for item in callback.items]
        text = self.prefix + " ".join(descriptions)
        if len(text.encode()) > 20_480:
            text = text.encode()[:20_400].decode(errors="ignore") + "\n\n(cut)"
        for _ in range(3):
            posted = await self.post(
                callback.response_url, markdown_body(text or "nothing", feedback_id=self.feedback_id)
            )
            if posted.errcode not in {-1, 6000}:
                return

    async def _describe(self, item: object) -> str:
        if isinstance(item, TextItem):
            return item.content.removeprefix("@Maven ")
        if isinstance(item, MediaItem):
            _, body, _ = await self.fetch(item.url)
            try:
                opened = decrypted(body, [self.credentials.key], item.kind)
            except MediaUnavailable:
                return "[unavailable]"
            return f"[{item.kind} {media.media_type(opened)}, {len(opened)} bytes]"
        return "[unknown]"
