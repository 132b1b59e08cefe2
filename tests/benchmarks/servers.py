"""The servers that are compared, each a process of its own on the servers' core.

`aiohttp` is a bare aiohttp application with a constant answer, its access log off. `protocol` is a bare asyncio
protocol that has httptools parse the request and writes a constant answer. `channel` is ours: the installed plugin
found by its entry point, the channel started through `maven_channel_start` with a fresh metrics registry and the
embedded host's logging, and a host whose `publish` takes each message, counts it and returns. `wecom` takes what is
POSTed to a `response_url` and says that it is well; it belongs on the other core.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httptools
import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, disable_created_metrics

from maven_channel_wecom.host import logs
from maven_channel_wecom.host.plugins import load_plugins
from tests.benchmarks.load import pinned, server_core
from tests.benchmarks.sealing import PATH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pluggy

    from maven_channel_wecom.contract.messages import InboundMessage

_ANSWER = b"x" * 200
"""As long as a sealed acknowledgement."""

_ACCEPTED = b'{"errcode":0,"errmsg":"ok"}'

_STOP_SECONDS = 30.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a server process is told on its first line of input; `entry` is the channel's, as in a configuration."""

    kind: str
    entry: dict[str, Any] = {}
    level: str = "info"
    uvloop: bool = False


class Server:
    """A server process on a core. Use as a context manager; `counted` is known after it ended."""

    def __init__(self, settings: Settings, *, core: int | None = None) -> None:
        self.port = 0
        self.counted: dict[str, int] = {}
        self._settings = settings
        self._core = server_core() if core is None else core
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.benchmarks.servers"]
        # Log lines go to a file, as under a supervisor.
        with pinned(self._core), tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own words
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(self._settings) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            message = f"the server {self._settings.kind} ended before it listened"
            raise RuntimeError(message)
        self.port = int(line)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        out, _errors = self._process.communicate(timeout=_STOP_SECONDS)
        self.counted = json.loads(out or b"{}")

    def cpu_seconds(self) -> float:
        """Return what the process has computed so far, all its threads together: no other program's work is in it."""
        assert self._process is not None
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


class _Host:
    """Just enough of a host: a relay, a registry, and a hand-over that returns at once."""

    def __init__(self, hook: pluggy.HookRelay) -> None:
        self.hook = hook
        self.metrics = CollectorRegistry()
        self.published = 0

    async def publish(self, message: InboundMessage) -> None:
        assert message.content_blocks
        self.published += 1


async def _serve_aiohttp(settings: Settings) -> tuple[int, Callable[[], Awaitable[dict[str, int]]]]:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=_ANSWER, content_type="application/json")

    app = web.Application()
    app.router.add_post(PATH, answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    async def stop() -> dict[str, int]:
        await runner.cleanup()
        return {}

    return runner.addresses[0][1], stop


class _BareProtocol(asyncio.Protocol):
    """Has the request parsed, answers always the same, and does nothing else."""

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


async def _serve_protocol(settings: Settings) -> tuple[int, Callable[[], Awaitable[dict[str, int]]]]:
    answer = _ACCEPTED if settings.kind == "wecom" else _ANSWER
    server = await asyncio.get_running_loop().create_server(lambda: _BareProtocol(answer), "127.0.0.1", 0)

    async def stop() -> dict[str, int]:
        server.close()
        return {}

    return server.sockets[0].getsockname()[1], stop


async def _serve_channel(settings: Settings) -> tuple[int, Callable[[], Awaitable[dict[str, int]]]]:
    logs.configure(settings.level, "text")
    disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client left it out
    plugins = load_plugins()
    host = _Host(plugins.hook)
    channel = await plugins.hook.maven_channel_start(name="wecom", config=settings.entry, host=host)

    async def stop() -> dict[str, int]:
        await plugins.hook.maven_channel_stop(channel=channel)
        return {"published": host.published}

    return channel.port, stop


_KINDS = {"aiohttp": _serve_aiohttp, "protocol": _serve_protocol, "wecom": _serve_protocol, "channel": _serve_channel}


async def _serve(settings: Settings) -> None:
    port, stop = await _KINDS[settings.kind](settings)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    # Whoever started this process keeps the other end open for as long as it needs the server.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    sys.stdout.write(json.dumps(await stop()))


def main() -> None:
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)
    if settings.uvloop:
        import uvloop  # noqa: PLC0415 - the extra [speed]

        uvloop.run(_serve(settings))
    else:
        asyncio.run(_serve(settings))


if __name__ == "__main__":
    main()
