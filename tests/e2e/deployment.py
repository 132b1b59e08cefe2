"""A host with the plugin as installed, and WeCom's side of it: real sockets, one process."""

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
from tests.e2e.assembly import Assembly
from tests.e2e.auditor import Auditor
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from maven_channel_wecom.host.agents.agent import Agent
    from maven_channel_wecom.simulator.messages import Message, Quotable
    from maven_channel_wecom.simulator.sent import SentCallback
    from tests.e2e.hand_clock import HandClock
    from tests.e2e.watch import Watch

# What the simulator draws to make a response code, and the two parts of a media URL's signature.
_RESPONSE_CODE_BYTES = 24
_SIGNATURE_BYTES = (18, 20)


class Bot:
    """One bot as WeCom's console shows it, and WeCom itself. `settings` is its entry in the host's configuration."""

    def __init__(self, watch: Watch, *, clock: Callable[[], float] = time.time, receive_id: str = "") -> None:
        self.token, self.key = new_token(), new_encoding_aes_key()
        watch.keep("a token", self.token)
        watch.keep("an EncodingAESKey", self.key)
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

    async def send(self, message: Message, **how: Any) -> SentCallback:  # noqa: ANN401 - what SimulatedWeCom.send takes
        """Send a message whose words must not show anywhere."""
        self._watch.keep("what a user wrote", *_words(message), *_words(how.get("quote")))
        return await self.wecom.send(message, **how)

    async def ask(self, message: Message, **how: Any) -> str:  # noqa: ANN401 - see send
        """Send a message and return the answer."""
        answer = (await (await self.send(message, **how)).reply()).content
        self._watch.keep("what an agent answered", answer)
        return answer

    def _random(self, size_bytes: int) -> bytes:
        drawn = os.urandom(size_bytes)
        if size_bytes == _RESPONSE_CODE_BYTES:
            self._watch.keep("a response code", drawn.hex())
        elif size_bytes in _SIGNATURE_BYTES:
            self._watch.keep("a media signature", drawn.hex())
        return drawn


class Deployment:
    """A host with one bot named `wecom`; a context manager. At its end WeCom must have nothing to complain about.

    Args:
        watch: sees what is shown.
        settings: keys of the entry that differ from a plain one.
        document: what stands beside `channels` in the configuration.
        agent: answers in place of the agent of the configuration.
        plugins: further plugins, registered after the installed ones.
        clock: of the channel and of WeCom, in place of the machine's.
        bot: one whose WeCom listens already, and stays.
        bots: further entries.
        receive_id: what every envelope names as its receiver.
    """

    def __init__(
        self,
        watch: Watch,
        settings: Mapping[str, Any] | None = None,
        *,
        document: Mapping[str, Any] | None = None,
        agent: Agent | None = None,
        plugins: Sequence[object] = (),
        clock: HandClock | None = None,
        bot: Bot | None = None,
        bots: Mapping[str, Bot] | None = None,
        receive_id: str = "",
    ) -> None:
        self.watch = watch
        self._listens_already = bot is not None
        self.bot = bot or Bot(watch, clock=clock.now if clock else time.time, receive_id=receive_id)
        self.wecom = self.bot.wecom
        self.auditor = Auditor()
        self._bots = {"wecom": self.bot} | dict(bots or {})
        self._settings = dict(settings or {})
        self._document = dict(document or {})
        self._agent = agent
        self._plugins = [*plugins, self.auditor]
        if clock is not None and not any(isinstance(plugin, Assembly) for plugin in plugins):
            self._plugins.append(Assembly(clock))

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for bot in self._bots.values():
                if bot is self.bot and self._listens_already:
                    continue
                await stack.enter_async_context(bot.wecom)
            self.bot.settings |= self._settings
            self._session = await stack.enter_async_context(aiohttp.ClientSession())
            # Reads files, as the gateway does before there is an event loop.
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
        """Return a channel as the host holds it."""
        found = self.host.channels[name]
        assert isinstance(found, WeComChannel)
        return found

    async def send(self, message: Message, **how: Any) -> SentCallback:  # noqa: ANN401 - see Bot
        """Have a user send a message."""
        return await self.bot.send(message, **how)

    async def ask(self, message: Message | str, **how: Any) -> str:  # noqa: ANN401 - see Bot
        """Have a user send a message, and return the answer."""
        return await self.bot.ask(Text(message) if isinstance(message, str) else message, **how)

    async def deliver(self, content: str, *, chat_id: str = "alice", reply_to: str | None = None) -> Receipt:
        """Send an answer as the host does."""
        message = OutboundMessage(channel="wecom", chat_id=chat_id, content=content, reply_to=reply_to)
        receipt: Receipt = await self.plugins.hook.maven_outbound_send(channel=self.channel(), message=message)
        return receipt

    async def get(self, path: str) -> tuple[int, str]:
        """Ask the status server."""
        async with self._session.get(f"http://127.0.0.1:{self.host.port}{path}") as response:
            text = await response.text()
        self.watch.shown(path, text)
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
        """Return one sample; a KeyError when there is no such series."""
        wanted = frozenset({"channel": channel, **labels}.items())
        return (await self.metrics())[f"maven_wecom_{name}", wanted]

    async def settled(self) -> None:
        """Wait until no message is in hand."""
        async with asyncio.timeout(10):
            # Each look is a request, so the gateway has its turn.
            while await self.metric("inbox_messages"):
                pass


def _words(message: Message | Quotable | None) -> Iterator[str]:
    match message:
        case Text() | Voice() | Feedback():
            yield message.content
        case File():
            yield message.name
        case Mixed():
            for part in message.parts:
                yield from _words(part)
