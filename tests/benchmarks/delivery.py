"""Answers delivered per second through a `response_url`, compared with a bare aiohttp session that POSTs such bodies.

Client and server have a core each, and one process runs all methods in turn. `maven_outbound_send` is the whole
outbound path from the hook to the receipt: render, claim the window, POST, judge the outcome, record, count and log.
The bare session is measured with its default connection pool, and with a new connection for each request as in the
channel. The reply windows come from callbacks that the channel admits before the measurement begins.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
from prometheus_client import CollectorRegistry

from maven_channel_wecom.contract.messages import OutboundMessage
from maven_channel_wecom.host import logs
from maven_channel_wecom.host.plugins import load_plugins
from maven_channel_wecom.protocol.reply import markdown_body
from tests.benchmarks.figures import figure, ratios
from tests.benchmarks.load import load_core, pinned, put_under_load, server_core
from tests.benchmarks.sealing import Bot, as_http
from tests.benchmarks.servers import Server, Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator

    import pluggy

    from maven_channel_wecom.contract.messages import InboundMessage
    from tests.benchmarks.figures import Figure, Rows
    from tests.benchmarks.scale import Scale

SESSION = "bare aiohttp session"
CONNECTION_EACH = "bare aiohttp session, a connection each"
HOOK = "maven_outbound_send"
MIN_RATIO = {HOOK: 0.5}
"""Targets for the deliveries per second, as a multiple of the bare session's."""

_AT_ONCE = 16
_ANSWER = "**会议室 B12**，三点开始。\n\n1. Minutes of last week\n2. Budget\n3. Anything else\n\n" * 6
_BODY = markdown_body(_ANSWER)


@dataclass
class _Rounds:
    per_second: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)


class _Host:
    """A host that stores the messages the channel publishes."""

    def __init__(self, hook: pluggy.HookRelay) -> None:
        self.hook = hook
        self.metrics = CollectorRegistry()
        self.messages: list[InboundMessage] = []

    async def publish(self, message: InboundMessage) -> None:
        self.messages.append(message)


def measure(scale: Scale) -> Rows:
    """Return the figures of each method.

    Raises:
        RuntimeError: an answer was not delivered.
    """
    with (
        Server(Settings(kind="wecom"), core=load_core()) as wecom,
        pinned(server_core()),
        tempfile.TemporaryFile("w", encoding="utf-8") as log,
    ):
        plugins = load_plugins()
        root = logging.getLogger()
        before, level = root.handlers, root.level
        logs.configure("info", "text", log)
        try:
            found = asyncio.run(_measure(wecom.port, plugins.hook, scale))
        finally:
            root.handlers = before
            root.setLevel(level)
    return {name: _figures(name, each, found[SESSION]) for name, each in found.items()}


async def _measure(port: int, hook: pluggy.HookRelay, scale: Scale) -> dict[str, _Rounds]:
    messages = scale.messages // 4
    found = {name: _Rounds() for name in (SESSION, CONNECTION_EACH, HOOK)}
    host = _Host(hook)
    bot = Bot()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        connector = aiohttp.TCPConnector(force_close=True)
        connection_each = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        channel = await hook.maven_channel_start(name="wecom", config=bot.entry(), host=host)
        stack.push_async_callback(lambda: hook.maven_channel_stop(channel=channel))

        async def post(by: aiohttp.ClientSession, url: str) -> None:
            async with by.post(url, data=_BODY, headers={"Content-Type": "application/json"}) as response:
                await response.read()

        async def send(message: InboundMessage) -> None:
            answer = OutboundMessage(
                channel="wecom", chat_id=message.chat_id, content=_ANSWER, reply_to=message.message_id
            )
            receipt = await hook.maven_outbound_send(channel=channel, message=answer)
            if receipt.outcome != "delivered":
                text = f"not delivered: {receipt}"
                raise RuntimeError(text)

        # The first round is a warm-up and does not count.
        for number in range(scale.rounds + 1):
            urls = [
                f"http://127.0.0.1:{port}/cgi-bin/aibot/response?response_code={number:08x}{i:056x}"
                for i in range(messages)
            ]
            host.messages.clear()
            callbacks = [as_http(bot.seal(response_url=url)) for url in urls]
            await asyncio.to_thread(put_under_load, channel.port, callbacks)
            if len(host.messages) != messages:
                text = f"{len(host.messages)} of {messages} messages arrived"
                raise RuntimeError(text)
            deliveries = {
                SESSION: (post(session, url) for url in urls),
                CONNECTION_EACH: (post(connection_each, url) for url in urls),
                HOOK: (send(message) for message in host.messages),
            }
            for name, awaitables in deliveries.items():
                cpu_before, began = time.process_time(), time.perf_counter()
                await _run(awaitables)
                elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu_before
                if number:
                    found[name].per_second.append(messages / elapsed)
                    found[name].cpu_seconds.append(cpu / messages)
            scale.report(f"round {number} of {scale.rounds}")
    return found


async def _run(awaitables: Iterable[Awaitable[None]]) -> None:
    """Await all of them, `_AT_ONCE` at a time."""
    remaining: Iterator[Awaitable[None]] = iter(awaitables)

    async def worker() -> None:
        for each in remaining:
            await each

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(worker())


def _figures(name: str, rounds: _Rounds, baseline: _Rounds) -> dict[str, Figure]:
    return {
        "throughput relative to a session": figure(
            ratios(rounds.per_second, baseline.per_second), "x", at_least=MIN_RATIO.get(name)
        ),
        "per second": figure(rounds.per_second),
        "by CPU relative to a session": figure(ratios(baseline.cpu_seconds, rounds.cpu_seconds), "x"),
        "CPU each": figure([seconds * 1e6 for seconds in rounds.cpu_seconds], "µs"),
    }
