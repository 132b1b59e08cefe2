"""A host with two bots, one of which gets into every trouble there is, and the means to get it there and out again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

# Reads its scripts from the disk when it is imported, which a running loop is not to wait for.
import maven_channel_wecom.state.redis.store  # noqa: F401
from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.host.agents.agent import AgentError
from maven_channel_wecom.host.agents.failures import FAILED
from maven_channel_wecom.protocol import cipher
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator.demo_gateway import free_port
from maven_channel_wecom.simulator.faults import Errcode
from maven_channel_wecom.simulator.media_faults import Expired
from maven_channel_wecom.simulator.messages import (
    CardClick,
    EnterChat,
    Feedback,
    File,
    Image,
    Mixed,
    StreamRefresh,
    Text,
    Unknown,
    Video,
    Voice,
)
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.deployment import Bot, Deployment
from tests.e2e.hand_clock import HandClock
from tests.fakes.redis_server import RedisServer
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType

    from maven_channel_wecom.contract.messages import InboundMessage
    from maven_channel_wecom.inbox import AdmittedCallback
    from maven_channel_wecom.simulator.messages import Message
    from maven_channel_wecom.simulator.sent import SentCallback
    from tests.e2e.watch import Watch

INBOX_LIMIT = 60
_HELD = 50
_LATE_SECONDS = 120
_HOUR_SECONDS = 3_600
_SKEW_SECONDS = 90
_STALL_SECONDS = 0.2
_STRANGERS = 20
_RETRY_SECONDS = 0.02


class SceneClock(HandClock):
    """Stands still but for what a scene skips, so that a busy machine is never late; waiting takes a moment."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(_RETRY_SECONDS)


class RunningClock(HandClock):
    """Runs, ahead of the time of day by what a scene skips."""

    def __init__(self) -> None:
        super().__init__()
        self._started = self._now

    def now(self) -> float:
        return self._now - self._started + time.time()

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SceneAgent:
    """Answers by the first word: `fail`, `silence`, `long`; `hold` and `later`, each when told; the rest is echoed.

    `has_news` is whether a cron job has something to deliver; `thinks_seconds` how long an ordinary answer takes.
    """

    def __init__(self) -> None:
        self.has_news = False
        self.thinks_seconds = 0.0
        self._gates = {"hold": asyncio.Event(), "later": asyncio.Event()}

    def release(self, word: str) -> None:
        """Answer all messages that begin with this word and came so far."""
        self._gates[word].set()
        self._gates[word] = asyncio.Event()

    async def answer(self, message: InboundMessage) -> str:
        if message.channel == "cron":
            return "something new" if self.has_news else ""
        match message.content.partition(" ")[0]:
            case "fail":
                raise AgentError(FAILED)
            case "hold" | "later" as word:
                await self._gates[word].wait()
            case "silence":
                return ""
            case "long":
                return "a long answer, " * 2_000
            case _ if self.thinks_seconds:
                await asyncio.sleep(self.thinks_seconds)
        return f"about {message.content}"

    async def close(self) -> None:
        """There is nothing to let go of."""


class BreakingPlugin:
    """Fails on every message of the user `breaker`."""

    @hookimpl(tryfirst=True)
    def maven_inbound_normalize(self, callback: AdmittedCallback) -> Awaitable[None] | None:
        return self._break() if callback.callback.sender_id == "breaker" else None

    async def _break(self) -> None:
        message = "a plugin that does not work"
        raise RuntimeError(message)


class Scene:
    """`sick` keeps its state in a Redis, `well` in memory. A context manager; `target` is what Prometheus scrapes."""

    def __init__(self, watch: Watch, clock: HandClock) -> None:
        self.clock = clock
        self.agent = SceneAgent()
        self.redis = RedisServer()
        self.sick = Bot(watch, clock=clock.now)
        self.well = Bot(watch, clock=clock.now)
        self.well.wecom.clock = clock.wall
        self.set_clock_of_wecom(right=True)
        self.port = free_port()
        self.target = f"127.0.0.1:{self.port}"
        self._watch = watch
        self._number = 0
        self._strangers: list[asyncio.StreamWriter] = []
        # Held while the clock must not be moved: what is under way for `well` would take as long.
        self._moment = asyncio.Lock()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await asyncio.to_thread(self.redis.start)
            stack.callback(self.redis.remove)
            await self.open()
            stack.push_async_callback(self.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._stack:
            pass

    async def open(self) -> None:
        """Start the host, on the same port as before."""
        self.well.settings["type"] = "wecom"
        self._running = Deployment(
            self._watch,
            {"state": self.redis.address(), "inboxLimit": INBOX_LIMIT, "drainSeconds": 0.1},
            document={
                "gateway": {"port": self.port},
                "cron": [
                    {
                        "name": "news",
                        "every": "1s",
                        "message": "any news?",
                        "deliver": True,
                        "channel": "wecom",
                        "to": "g",
                    }
                ],
            },
            agent=self.agent,
            plugins=[BreakingPlugin()],
            clock=self.clock,
            bot=self.sick,
            bots={"support": self.well},
        )
        self._wecom = await AsyncExitStack().__aenter__()
        await self._wecom.enter_async_context(self.sick.wecom)
        await self._wecom.enter_async_context(self._running)

    async def close(self) -> None:
        """Stop the host."""
        self.agent.release("hold")
        for stranger in self._strangers:
            stranger.transport.abort()
        self._strangers.clear()
        await self._wecom.aclose()

    # What goes right.

    async def chat(self, bot: Bot) -> None:
        """Ask something and get an answer."""
        async with self._moment:
            await self._ask(bot, Text(self._words("tell me about")))

    async def everything(self) -> None:
        """Have the sick bot sent one of everything that exists, all of which is well taken."""
        wecom = self.sick.wecom
        picture = Image(draw_png(64, 64))
        await wecom.check_url()
        for message in (
            Voice(self._words("a voice about")),
            picture,
            Mixed((Text(self._words("look at")), picture)),
            File(b"%PDF-1.7 a few words", "paper.pdf"),
            Video(b"a video"),
        ):
            await self._ask(self.sick, message)
        for event in (EnterChat(), CardClick("yes", "1"), Feedback("f", 1)):
            await wecom.send(event, user=self._user())
        await wecom.send(Unknown("hologram"))
        await wecom.send(StreamRefresh("s"))
        await wecom.redeliver(await self._ask(self.sick, Text(self._words("repeat"))))
        await self._ask(self.sick, Text("long"))
        wecom.reply_faults.add(Errcode(-1))
        await self._ask(self.sick, Text(self._words("try again")))

    # What goes wrong.

    async def hold_messages(self) -> None:
        """Have the agent hang on so many messages that the inbox is nearly full."""
        await asyncio.gather(*(self.sick.wecom.send(Text("hold"), user=self._user()) for _ in range(_HELD - 1)))
        await self.sick.wecom.send(Mixed((Text("hold"), Image(draw_png(64, 64)))), user=self._user())

    async def trouble(self) -> None:
        """Do once more all that goes wrong with messages and answers."""
        await self.refused_answers()
        await self.failing_turns()
        await self.failing_media()
        await self.late_answers()
        await self.windows_without_answer()
        await self.signatures_of_others(6)
        await self.sick.wecom.request("POST", body=b"{}")
        await self.requests_to_another_path()
        await self.broken_messages()
        self.stall()

    async def broken_messages(self) -> None:
        """Have a plugin fail on messages."""
        for _ in range(2):
            await self.sick.wecom.send(Text("nobody hears this"), user="breaker")

    async def refused_answers(self) -> None:
        for _ in range(8):
            self.sick.wecom.reply_faults.add(Errcode(31_337))
            sent = await self.sick.wecom.send(Text(self._words("refuse")), user=self._user())
            await self._running.auditor.receipt_for(sent.message_id)

    async def failing_turns(self) -> None:
        for _ in range(4):
            await self._ask(self.sick, Text("fail"))

    async def failing_media(self) -> None:
        for _ in range(2):
            self.sick.wecom.media_faults.add(Expired())
            await self._ask(self.sick, Image(draw_png(4, 4)))

    async def late_answers(self) -> None:
        """Have answers come after more than a minute."""
        sent = [await self.sick.wecom.send(Text(self._words("later")), user=self._user()) for _ in range(8)]
        await self.skip(_LATE_SECONDS)
        self.agent.release("later")
        for each in sent:
            await self._running.auditor.receipt_for(each.message_id)

    async def windows_without_answer(self) -> None:
        for _ in range(4):
            sent = await self.sick.wecom.send(Text("silence"), user=self._user())
            await self._running.auditor.receipt_for(sent.message_id)
        await self.skip(_HOUR_SECONDS)

    async def signatures_of_others(self, count: int) -> None:
        """Have callbacks come that were signed with another token."""
        stranger = Credentials(new_token(), cipher.decode_key(new_encoding_aes_key()))
        for _ in range(count):
            await self.sick.wecom.send(Text("not yours"), credentials=stranger)

    async def unanswered_callbacks(self, count: int) -> None:
        """Send callbacks that may be refused."""
        for _ in range(count):
            await self.sick.wecom.send(Text(self._words("is anybody there")), user=self._user())

    async def strangers(self) -> None:
        """Connect and say nothing, so that the server hangs up some time later."""
        for _ in range(_STRANGERS):
            _, writer = await asyncio.open_connection("127.0.0.1", self._running.channel().port)
            self._strangers.append(writer)

    async def requests_to_another_path(self) -> None:
        """Have a browser look for a page that the callback port does not have."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._running.channel().port)
        writer.write(b"GET /favicon.ico HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        await reader.read()
        writer.close()

    def set_clock_of_wecom(self, *, right: bool) -> None:
        self.sick.wecom.clock = self.clock.wall if right else (lambda: self.clock.wall() - _SKEW_SECONDS)

    def stall(self) -> None:
        """Block the event loop."""
        time.sleep(_STALL_SECONDS)

    async def skip(self, seconds: float) -> None:
        """Move the clock while nothing is under way that would be late for it."""
        async with self._moment:
            self.clock.pass_seconds(seconds)

    async def _ask(self, bot: Bot, message: Message) -> SentCallback:
        """Send a message and wait for its answer, unless the state refused it, or forgot it over an outage."""
        sent = await bot.wecom.send(message, user=self._user())
        if sent.acknowledged:
            with contextlib.suppress(TimeoutError):
                await sent.reply()
        return sent

    def _words(self, beginning: str) -> str:
        self._number += 1
        return f"{beginning} number {self._number}"

    def _user(self) -> str:
        self._number += 1
        return f"user{self._number}"
