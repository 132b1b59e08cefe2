"""Starts what the playground needs, in one process and one subprocess: agent, gateway, simulator and web server."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
import webbrowser
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple, Self

from yarl import URL

from maven_channel_wecom.playground.chat_history import ChatHistory
from maven_channel_wecom.playground.gateway_document import (
    PlaygroundPorts,
    bot_name,
    configured_agent,
    gateway_document,
)
from maven_channel_wecom.playground.server import PlaygroundServer
from maven_channel_wecom.playground.writing_agent import WRITING_SECONDS, WritingAgent
from maven_channel_wecom.simulator.gateway_process import GatewayFailed, GatewayProcess, free_port
from maven_channel_wecom.simulator.keys import new_encoding_aes_key, new_token
from maven_channel_wecom.simulator.listening import listen
from maven_channel_wecom.simulator.wecom import SimulatedWeCom

if TYPE_CHECKING:
    from collections.abc import Callable


class OwnBot(NamedTuple):
    """A bot that runs already: its callback URL, and its secrets."""

    callback_url: str
    token: str
    encoding_aes_key: str
    receive_id: str = ""

    def __repr__(self) -> str:
        return "<OwnBot>"


class PlaygroundOptions(NamedTuple):
    """What to start, and where.

    Attributes:
        host: the address of the page.
        port: its port; 0 for any free one.
        configured: the operator's configuration, None for none.
        own_bot: a bot to write to instead of starting a gateway.
        bot: the name of the bot; empty for the configured one.
        opens_browser: whether a browser is opened.
        writing_seconds: the time between two words of the demo's agent.
        refresh_seconds: the time between two refreshes of a stream; None for WeCom's.
    """

    host: str = "127.0.0.1"
    port: int = 0
    configured: object = None
    own_bot: OwnBot | None = None
    bot: str = ""
    opens_browser: bool = False
    writing_seconds: float = WRITING_SECONDS
    refresh_seconds: float | None = None

    def __repr__(self) -> str:
        return "<PlaygroundOptions>"


class Playground:
    """A running playground: a context manager.

    Attributes:
        url: the address of the page.
        history: what people said so far.
    """

    def __init__(self, options: PlaygroundOptions) -> None:
        self.url = ""
        self._options = options
        self._stack = AsyncExitStack()
        self._gateway: GatewayProcess | None = None

    async def __aenter__(self) -> Self:
        async with self._stack:
            await self._start(self._stack)
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def gateway_ended(self) -> int:
        """Wait until the gateway ends, and return its exit code. Without a gateway, wait forever."""
        if self._gateway is None:
            await asyncio.Event().wait()
            return 0
        return await self._gateway.ended()

    @property
    def gateway_output(self) -> tuple[str, ...]:
        """The last lines of the gateway."""
        return self._gateway.stderr_tail if self._gateway else ()

    async def _start(self, stack: AsyncExitStack) -> None:
        options = self._options
        own = options.own_bot
        if own is not None:
            wecom = SimulatedWeCom(
                own.callback_url, token=own.token, encoding_aes_key=own.encoding_aes_key, receive_id=own.receive_id
            )
            self.history = ChatHistory(wecom)
            secrets = None
        else:
            secrets = (new_token(), new_encoding_aes_key())
            ports = PlaygroundPorts(free_port(), free_port(), free_port())
            urls = [f"http://127.0.0.1:{port}/wecom/bot" for port in (ports.stream, ports.reply)]
            wecom = SimulatedWeCom(urls[0], token=secrets[0], encoding_aes_key=secrets[1])
            self.history = ChatHistory(wecom, {"stream": urls[0], "reply": urls[1]})
            await self._start_gateway(stack, ports, secrets)
        if options.refresh_seconds is not None:
            wecom.refresh_seconds = options.refresh_seconds
        await stack.enter_async_context(wecom)
        stack.push_async_callback(self.history.close)
        bot = options.bot or bot_name(options.configured)
        server = PlaygroundServer(self.history, host=options.host, bot=bot, own_secrets=secrets)
        runner, self.url = await listen(server.application(), options.host, options.port)
        stack.push_async_callback(runner.cleanup)
        self.history.check_url()

    async def _start_gateway(self, stack: AsyncExitStack, ports: PlaygroundPorts, secrets: tuple[str, str]) -> None:
        options, agent_url = self._options, ""
        if configured_agent(options.configured) is None:
            agent = WritingAgent(writing_seconds=options.writing_seconds)
            agent_url = (await stack.enter_async_context(agent)).url
        document = gateway_document(
            options.configured, ports=ports, token=secrets[0], encoding_aes_key=secrets[1], agent_url=agent_url
        )
        self._gateway = await asyncio.to_thread(GatewayProcess, document, status_port=ports.status)
        await stack.enter_async_context(self._gateway)


async def run_playground(options: PlaygroundOptions, print_line: Callable[[str], None]) -> int:
    """Run the playground until it is cancelled or its gateway ends, and return the exit code.

    Raises:
        CannotListen: the page's address cannot be bound.
    """
    if options.own_bot is None:
        print_line("Starting a gateway with generated secrets; WeCom is simulated…")
    playground = Playground(options)
    try:
        async with playground:
            print_line(f"The playground is at {_address(playground.url)}")
            if not is_loopback(options.host):
                print_line(
                    "WARNING: everybody who reaches this address can write to the bot, and read what others wrote. "
                    "Use it only in a network that you trust."
                )
            print_line("Ctrl-C stops it.")
            if options.opens_browser:
                # A browser command may run until its window is closed, and nothing waits for a daemon thread.
                threading.Thread(target=webbrowser.open, args=(playground.url,), daemon=True).start()
            print_line(f"the gateway ended with exit code {await playground.gateway_ended()}")
            return 1
    except GatewayFailed as failure:
        print_line(f"{failure}. Its last lines:")
        for line in playground.gateway_output:
            print_line(f"  {line}")
        return 1


def _address(url: str) -> str:
    """Return what to open, with a place for the name if the page is served on every address of this machine."""
    parsed = URL(url)
    loopback = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(parsed.host or "")  # noqa: S104 - nothing is bound to it
    if loopback is None:
        return url
    return f"http://{loopback}:{parsed.port}, and from elsewhere at http://ADDRESS-OF-THIS-MACHINE:{parsed.port}"


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
