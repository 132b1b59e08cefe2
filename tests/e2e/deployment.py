"""Runs a host with the installed plugin and a simulated WeCom in one process, over real sockets."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from maven_channel_wecom.channel import WeComChannel
from maven_channel_wecom.contract.messages import OutboundMessage, Receipt
from maven_channel_wecom.host.configuration import interpret
from maven_channel_wecom.host.lifecycle import Host
from maven_channel_wecom.host.plugins import channel_problems, load_plugins
from maven_channel_wecom.simulator.messages import Feedback, File, Mixed, Text, Voice
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from tests.e2e.auditor import Auditor
from tests.e2e.injection import InjectionPlugin
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from maven_channel_wecom.host.agents.agent import Agent
    from maven_channel_wecom.simulator.messages import Message, Quotable
    from maven_channel_wecom.simulator.sent import SentCallback
    from tests.e2e.manual_clock import ManualClock
    from tests.e2e.watch import Watch

# How many random bytes the simulator draws for a response code, and for the two parts of a media URL's signature.
_RESPONSE_CODE_BYTES = 24
_SIGNATURE_BYTES = (18, 20)


class Bot:
    """One bot with its credentials and its simulated WeCom. `settings` is its entry in the host's configuration."""

    def __init__(self, watch: Watch, *, clock: Callable[[], float] = time.time, receive_id: str = "") -> None:
        self.token, self.key = new_token(), new_encoding_aes_key()
        watch.register("a token", self.token)
        watch.register("an EncodingAESKey", self.key)
        self._watch = watch
        self.wecom = SimulatedWeCom(
            token=self.token, encoding_aes_key=self.key, receive_id=receive_id, clock=clock, random=self._random
        )
        self.settings: dict[str, Any] = {
            "enabled": True,
            "token": self.token,
            "encodingAESKey": self.key,
            "receiveId": receive_id,
            "host": "127.0.0.1",
            "port": 0,
            "allowPrivateNetwork": True,
        }

    async def send(self, message: Message, **options: Any) -> SentCallback:  # noqa: ANN401 - the options of SimulatedWeCom.send
        """Send a message, and register its words as canaries."""
        self._watch.register("what a user wrote", *_private_texts(message), *_private_texts(options.get("quote")))
        return await self.wecom.send(message, **options)

    async def ask(self, message: Message, **options: Any) -> str:  # noqa: ANN401 - see send
        """Send a message, register the answer as a canary and return it."""
        answer = (await (await self.send(message, **options)).reply()).content
        self._watch.register("what an agent answered", answer)
        return answer

    def _random(self, size_bytes: int) -> bytes:
        drawn = os.urandom(size_bytes)
        if size_bytes == _RESPONSE_CODE_BYTES:
            self._watch.register("a response code", drawn.hex())
        elif size_bytes in _SIGNATURE_BYTES:
            self._watch.register("a media signature", drawn.hex())
        return drawn


class Deployment:
    """Context manager that runs a host with one bot named `wecom`. At the end the simulator must have seen no offence.

    Args:
        watch: collects everything that is shown.
        settings: keys that are added to the bot's entry or replace its defaults.
        document: further top-level keys of the configuration, next to `channels`.
        agent: used instead of the agent in the configuration.
        plugins: further plugins, registered after the installed ones.
        clock: used by the channel and by WeCom instead of the system clock.
        bot: a bot whose WeCom is already running, and is not stopped at the end.
        bots: further bots by channel name.
        receive_id: the receiver that every envelope names.
    """

    def __init__(
        self,
        watch: Watch,
        settings: Mapping[str, Any] | None = None,
        *,
        document: Mapping[str, Any] | None = None,
        agent: Agent | None = None,
        plugins: Sequence[object] = (),
        clock: ManualClock | None = None,
        bot: Bot | None = None,
        bots: Mapping[str, Bot] | None = None,
        receive_id: str = "",
    ) -> None:
        self.watch = watch
        self._wecom_is_running = bot is not None
        self.bot = bot or Bot(watch, clock=clock.now if clock else time.time, receive_id=receive_id)
        self.wecom = self.bot.wecom
        self.auditor = Auditor()
        self._bots = {"wecom": self.bot} | dict(bots or {})
        self._settings = dict(settings or {})
        self._document = dict(document or {})
        self._agent = agent
        self._plugins = [*plugins, self.auditor]
        if clock is not None and not any(isinstance(plugin, InjectionPlugin) for plugin in plugins):
            self._plugins.append(InjectionPlugin(clock))

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for bot in self._bots.values():
                if bot is self.bot and self._wecom_is_running:
                    continue
                await stack.enter_async_context(bot.wecom)
            self.bot.settings |= self._settings
            self._session = await stack.enter_async_context(aiohttp.ClientSession())
            # This reads files, which must not block the event loop.
            self.host = await asyncio.to_thread(self._open)
            await self.host.start()
            stack.push_async_callback(self.host.stop)
            for name, bot in self._bots.items():
                bot.wecom.callback_url = f"http://127.0.0.1:{self.channel(name).port}/wecom/bot"
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._stack:
            if self.host.channels:
                for path in ("/metrics", "/healthz", "/readyz"):
                    await self.get(path)
        if error is None:
            assert [offence.kind for bot in self._bots.values() for offence in bot.wecom.recorded.offences] == []

    def _open(self) -> Host:
        self.plugins = load_plugins()
        for plugin in self._plugins:
            self.plugins.register(plugin)
        entries = {name: bot.settings for name, bot in self._bots.items()}
        document = {"gateway": {"port": 0}, "channels": entries} | self._document
        configuration, problems = interpret(document)
        assert problems + channel_problems(self.plugins, configuration.channels) == []
        return Host(configuration, self.plugins, agent=self._agent)

    def channel(self, name: str = "wecom") -> WeComChannel:
        """Return the channel with this name."""
        found = self.host.channels[name]
        assert isinstance(found, WeComChannel)
        return found

    async def send(self, message: Message, **options: Any) -> SentCallback:  # noqa: ANN401 - see Bot
        """Send a message as a user."""
        return await self.bot.send(message, **options)

    async def ask(self, message: Message | str, **options: Any) -> str:  # noqa: ANN401 - see Bot
        """Send a message as a user and return the answer."""
        return await self.bot.ask(Text(message) if isinstance(message, str) else message, **options)

    async def deliver(self, content: str, *, chat_id: str = "alice", reply_to: str | None = None) -> Receipt:
        """Send an answer through the hook, as the host does, and return its receipt."""
        message = OutboundMessage(channel="wecom", chat_id=chat_id, content=content, reply_to=reply_to)
        receipt: Receipt = await self.plugins.hook.maven_outbound_send(channel=self.channel(), message=message)
        return receipt

    async def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a path of the status server."""
        async with self._session.get(f"http://127.0.0.1:{self.host.port}{path}") as response:
            text = await response.text()
        self.watch.record_output(path, text)
        return response.status, text

    async def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return every sample of `/metrics` by name and labels."""
        _, text = await self.get("/metrics")
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def metric(self, name: str, channel: str = "wecom", **labels: str) -> float:
        """Return one sample. KeyError if there is no such series."""
        wanted = frozenset({"channel": channel, **labels}.items())
        return (await self.metrics())[f"maven_wecom_{name}", wanted]

    async def wait_until_idle(self) -> None:
        """Wait until no message is in progress."""
        async with asyncio.timeout(10):
            # Each iteration awaits an HTTP request, so the gateway can run.
            while await self.metric("inbox_messages"):
                pass


def _private_texts(message: Message | Quotable | None) -> Iterator[str]:
    match message:
        case Text() | Voice() | Feedback():
            yield message.content
        case File():
            yield message.name
        case Mixed():
            for part in message.parts:
                yield from _private_texts(part)


async def assert_still_answers(deployment: Deployment) -> None:
    """Assert that the channel still answers a genuine message and has logged no traceback."""
    assert await deployment.ask("a genuine message after it") == "a genuine message after it"
    assert deployment.watch.tracebacks == []
