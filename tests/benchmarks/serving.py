"""The program of a server process, which runs one of these kinds of servers.

- `aiohttp`: a bare aiohttp application with a constant answer and without an access log.
- `protocol`: a bare asyncio protocol that parses the request with httptools and writes a constant answer.
- `channel`: the installed plugin, found by its entry point and started through `maven_channel_start` with a new metrics
  registry and the embedded host's logging and garbage collection. The host's `publish` counts each message, and
  answers it if there is a time for turns.
- `wecom`: accepts every POST to a `response_url`.
- `pictures`: serves large encrypted pictures.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import httptools
import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, disable_created_metrics

from maven_channel_wecom.contract.messages import ImageBlock, OutboundMessage, OutboundProgress
from maven_channel_wecom.host import logs
from maven_channel_wecom.host.plugins import load_plugins
from maven_channel_wecom.host.process import tune_garbage_collection
from maven_channel_wecom.host.progress import PROGRESS_SECONDS
from maven_channel_wecom.protocol import cipher
from tests.benchmarks.sealing import PATH
from tests.benchmarks.servers import Announcement, Settings, Summary
from tests.benchmarks.stalls import Stall, watch_stalls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pluggy

    from maven_channel_wecom.contract.messages import InboundMessage, Receipt

    Stop = Callable[[], Awaitable[Summary]]

_ANSWER = b"x" * 200
"""An answer as long as a sealed acknowledgement."""

_ACCEPTED = b'{"errcode":0,"errmsg":"ok"}'

_PARAGRAPH = "The room is on the third floor, and the agenda has three points: figures, plans, questions.\n\n"

_JPEG = b"\xff\xd8\xff\xe0"


class _Host:
    """A minimal host: a hook relay, a registry, and a `publish` that returns at once, after a turn, or never."""

    def __init__(self, hook: pluggy.HookRelay, settings: Settings, stall: Stall) -> None:
        self.hook = hook
        self.metrics = CollectorRegistry()
        self.published = 0
        self.fetched = 0
        self.channel: Any = None
        self._settings = settings
        self._stall = stall

    async def publish(self, message: InboundMessage) -> None:
        self.published += 1
        if self.published == 1:
            self._stall.reset()
        if self._settings.announces:
            self._announce(message)
        if self._settings.hangs:
            await asyncio.get_running_loop().create_future()
        if self._settings.turn_seconds:
            await self._answer(message)

    async def _answer(self, message: InboundMessage) -> None:
        """Answer a message as the embedded host does: show the text so far from time to time, then send it."""
        ends_at = time.monotonic() + self._settings.turn_seconds
        text = ""
        while (left := ends_at - time.monotonic()) > 0:
            await asyncio.sleep(min(left, PROGRESS_SECONDS))
            text += _PARAGRAPH
            await self.hook.maven_outbound_progress(channel=self.channel, message=_progress(message, text))
        sending = self.hook.maven_outbound_send(channel=self.channel, message=_reply(message, text))
        receipt: Receipt = await sending
        self.fetched += receipt.outcome == "delivered" and receipt.attempts == 0

    def _announce(self, message: InboundMessage) -> None:
        characters = sum(len(block.data) for block in message.content_blocks if isinstance(block, ImageBlock))
        stall = self._stall
        _write_line(
            Announcement(
                at=time.monotonic(),
                data_characters=characters,
                stall_seconds=stall.longest_seconds,
                stall_computed_seconds=stall.computed_seconds,
            )
        )
        stall.reset()


def _progress(message: InboundMessage, text: str) -> OutboundProgress:
    return OutboundProgress(channel=message.channel, chat_id=message.chat_id, reply_to=message.message_id, content=text)


def _reply(message: InboundMessage, text: str) -> OutboundMessage:
    return OutboundMessage(
        channel=message.channel, chat_id=message.chat_id, reply_to=message.message_id, content=text, metadata={}
    )


async def _serve_aiohttp(_: Settings) -> tuple[int, Stop]:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=_ANSWER, content_type="application/json")

    app = web.Application()
    app.router.add_post(PATH, answer)
    return await _run_application(app)


async def _serve_pictures(settings: Settings) -> tuple[int, Stop]:
    key = cipher.decode_key(settings.entry["encodingAESKey"])
    pictures = {
        str(size): cipher.encrypt(key, _JPEG + os.urandom(size - len(_JPEG))) for size in (1024, settings.picture_bytes)
    }

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=pictures[request.match_info["size"]], content_type="application/octet-stream")

    app = web.Application()
    app.router.add_get("/{size}", answer)
    return await _run_application(app)


async def _run_application(app: web.Application) -> tuple[int, Stop]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    async def stop() -> Summary:
        await runner.cleanup()
        return Summary()

    return runner.addresses[0][1], stop


class _BareProtocol(asyncio.Protocol):
    """A protocol that parses requests and writes a constant answer."""

    def __init__(self, answer: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
        self._answer = head + answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(self._answer)


async def _serve_protocol(settings: Settings) -> tuple[int, Stop]:
    answer = _ACCEPTED if settings.kind == "wecom" else _ANSWER
    server = await asyncio.get_running_loop().create_server(lambda: _BareProtocol(answer), "127.0.0.1", 0)

    async def stop() -> Summary:
        server.close()
        return Summary()

    return server.sockets[0].getsockname()[1], stop


async def _serve_channel(settings: Settings) -> tuple[int, Stop]:
    logs.configure(settings.level, "text")
    disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client left it out
    plugins = load_plugins()
    # Watching costs time, so it is off where speed is measured.
    watching = watch_stalls() if settings.hangs or settings.announces or settings.turn_seconds else None
    stall = await watching.__aenter__() if watching else Stall()
    host = _Host(plugins.hook, settings, stall)
    channel: Any = await plugins.hook.maven_channel_start(name="wecom", config=settings.entry, host=host)
    host.channel = channel
    tune_garbage_collection()

    async def stop() -> Summary:
        found = Summary(
            published=host.published,
            stall_seconds=stall.longest_seconds,
            stall_computed_seconds=stall.computed_seconds,
        )
        if watching:
            await watching.__aexit__(None, None, None)
        await plugins.hook.maven_channel_stop(channel=channel)
        if settings.hangs:
            return found
        return msgspec.structs.replace(found, published=host.published, fetched=host.fetched)

    return channel.port, stop


_KINDS = {
    "aiohttp": _serve_aiohttp,
    "protocol": _serve_protocol,
    "channel": _serve_channel,
    "wecom": _serve_protocol,
    "pictures": _serve_pictures,
}


async def _serve(settings: Settings) -> None:
    port, stop = await _KINDS[settings.kind](settings)
    _write_line(port)
    ended = asyncio.Event()
    # The parent process closes the other end when it no longer needs the server.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    _write_line(await stop())


def _write_line(what: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)
    if settings.uvloop:
        import uvloop  # noqa: PLC0415 - the extra [speed]

        uvloop.run(_serve(settings))
    else:
        asyncio.run(_serve(settings))


if __name__ == "__main__":
    main()
