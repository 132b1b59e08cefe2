"""A host with a healthy bot, a faulty one and one that streams, and methods that cause trouble and end it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

# Imported early because it reads its scripts from disk on import, which must not happen on a running event loop.
import maven_channel_wecom.state.redis.store  # noqa: F401
from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.contract.messages import OutboundProgress
from maven_channel_wecom.host.agents.agent import AgentError, Answer
from maven_channel_wecom.host.agents.agent_failures import FAILED
from maven_channel_wecom.protocol import cipher
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator.faults import Errcode
from maven_channel_wecom.simulator.gateway_process import free_port
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
from tests.e2e.manual_clock import ManualClock
from tests.e2e.silencer import Silencer
from tests.fakes.redis_server import RedisServer
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType

    from maven_channel_wecom.host.agents.agent import Turn
    from maven_channel_wecom.inbox import AdmittedCallback
    from maven_channel_wecom.simulator.messages import Message
    from maven_channel_wecom.simulator.sent import SentCallback
    from tests.e2e.watch import Watch

INBOX_LIMIT = 60
_HELD_MESSAGES = 50
_LATE_SECONDS = 120
_HOUR_SECONDS = 3_600
_SKEW_SECONDS = 90
_STALL_SECONDS = 0.2
_STREAMS = 6
_UNKNOWN_REFRESHES = 12
_REFRESH_SECONDS = 0.05
# More than a refresh has time to take the end of a stream, and than a first sign should take.
_FETCH_SECONDS = 10
_LATE_SIGN_SECONDS = 2
_SILENT_CONNECTIONS = 20
_RETRY_SECONDS = 0.02
_POLL_SECONDS = 0.2


class SceneClock(ManualClock):
    """A clock that only moves when a scene skips time, so that a busy machine causes no delays. Sleeps are short."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(_RETRY_SECONDS)


class RunningClock(ManualClock):
    """A running clock, ahead of the time of day by the time that a scene has skipped."""

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
    """An agent whose answer depends on the first word: `fail`, `silence` or `long`; other messages are echoed.

    Answers to `hold` and `later` wait for `release`. `has_news` is whether the cron job has something to deliver, and
    `thinks_seconds` how long an ordinary answer takes.
    """

    def __init__(self) -> None:
        self.has_news = False
        self.thinks_seconds = 0.0
        self._gates = {"hold": asyncio.Event(), "later": asyncio.Event()}

    def release(self, word: str) -> None:
        """Answer all waiting messages that begin with this word."""
        self._gates[word].set()
        self._gates[word] = asyncio.Event()

    async def answer(self, turn: Turn) -> Answer:
        message = turn.message
        if message.channel == "cron":
            return Answer("something new" if self.has_news else "")
        match message.content.partition(" ")[0]:
            case "fail":
                raise AgentError(FAILED)
            case "hold" | "later" as word:
                await self._gates[word].wait()
            case "silence":
                return Answer("")
            case "long":
                return Answer("a long answer, " * 2_000)
            case _ if self.thinks_seconds:
                await asyncio.sleep(self.thinks_seconds)
        return Answer(f"about {message.content}")

    async def close(self) -> None:
        """Do nothing, as there is nothing to close."""


class BreakingPlugin:
    """A plugin that fails on every message of the user `breaker`."""

    @hookimpl(tryfirst=True)
    def maven_inbound_normalize(self, callback: AdmittedCallback) -> Awaitable[None] | None:
        return self._break() if callback.callback.sender_id == "breaker" else None

    async def _break(self) -> None:
        message = "a plugin that does not work"
        raise RuntimeError(message)


class Scene:
    """A running host with three bots; use it as a context manager.

    The bots `faulty` and `streaming` keep their state in Redis, `healthy` in memory. `target` is the address that
    Prometheus scrapes.
    """

    def __init__(self, watch: Watch, clock: ManualClock) -> None:
        self.clock = clock
        self.agent = SceneAgent()
        self.redis = RedisServer()
        self.faulty = Bot(watch, clock=clock.now)
        self.healthy = Bot(watch, clock=clock.now)
        self.streaming = Bot(watch, clock=clock.now)
        self.streaming.wecom.refresh_seconds = _REFRESH_SECONDS
        self.healthy.wecom.clock = clock.wall
        self.set_clock_of_wecom(right=True)
        self.port = free_port()
        self.target = f"127.0.0.1:{self.port}"
        self._watch = watch
        self._number = 0
        self._silent_connections: list[asyncio.StreamWriter] = []
        # Held while the clock must not move: a running turn of `healthy` would seem to take the skipped time.
        self._clock_lock = asyncio.Lock()

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
        self.healthy.settings["type"] = "wecom"
        self.streaming.settings |= {"type": "wecom", "state": self.redis.address(), "progress": "stream"}
        self._deployment = Deployment(
            self._watch,
            {"state": self.redis.address(), "inboxLimit": INBOX_LIMIT, "drainSeconds": 0.1, "welcomeText": "hello"},
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
            plugins=[BreakingPlugin(), Silencer()],
            clock=self.clock,
            bot=self.faulty,
            bots={"support": self.healthy, "assistant": self.streaming},
        )
        self._host_stack = await AsyncExitStack().__aenter__()
        await self._host_stack.enter_async_context(self.faulty.wecom)
        await self._host_stack.enter_async_context(self._deployment)

    async def close(self) -> None:
        """Stop the host."""
        self.agent.release("hold")
        for connection in self._silent_connections:
            connection.transport.abort()
        self._silent_connections.clear()
        await self._host_stack.aclose()

    # Ordinary traffic.

    async def chat(self, bot: Bot) -> None:
        """Ask something and get an answer."""
        async with self._clock_lock:
            await self._ask(bot, Text(self._text("tell me about")))

    async def every_kind_of_message(self) -> None:
        """Send `faulty` one message or event of each kind, all of which it handles."""
        wecom = self.faulty.wecom
        picture = Image(draw_png(64, 64))
        await wecom.check_url()
        for message in (
            Voice(self._text("a voice about")),
            picture,
            Mixed((Text(self._text("look at")), picture)),
            File(b"%PDF-1.7 a few words", "paper.pdf"),
            Video(b"a video"),
        ):
            await self._ask(self.faulty, message)
        for event in (EnterChat(), CardClick("yes", "1"), Feedback("f", 2, inaccurate_reasons=(1, 9))):
            await wecom.send(event, user=self._user())
        await wecom.send(Unknown("hologram"))
        await wecom.send(StreamRefresh("s"))
        await wecom.redeliver(await self._ask(self.faulty, Text(self._text("repeat"))))
        await self._ask(self.faulty, Text("long"))
        wecom.reply_faults.add(Errcode(-1))
        await self._ask(self.faulty, Text(self._text("try again")))

    async def streams(self) -> None:
        """Ask for the last frame of a streamed answer once more, and push progress for it when it is too late."""
        user = self._user()
        sent = await self.streaming.wecom.send(Text(self._text("stream")), user=user)
        if not sent.acknowledged:
            # In an outage of the state.
            return
        bubble = await sent.bubble_finished()
        await self.streaming.wecom.send(StreamRefresh(bubble.stream_id), user=user)
        progress = OutboundProgress(channel="assistant", chat_id=user, reply_to=sent.message_id, content="too late")
        channel = self._deployment.channel("assistant")
        await self._deployment.plugins.hook.maven_outbound_progress(channel=channel, message=progress)

    # Trouble.

    async def hold_messages(self) -> None:
        """Make the agent hang on so many messages that the inbox is nearly full."""
        await asyncio.gather(
            *(self.faulty.wecom.send(Text("hold"), user=self._user()) for _ in range(_HELD_MESSAGES - 1))
        )
        await self.faulty.wecom.send(Mixed((Text("hold"), Image(draw_png(64, 64)))), user=self._user())

    async def trouble_with_messages(self) -> None:
        """Cause each kind of trouble with messages and answers once."""
        await self.refused_answers()
        await self.failing_turns()
        await self.failing_media()
        await self.messages_without_content()
        await self.late_answers()
        await self.windows_without_answer()
        await self.wrong_signatures(6)
        await self.faulty.wecom.request("POST", body=b"{}")
        await self.requests_to_another_path()
        await self.broken_messages()
        self.stall()

    async def broken_messages(self) -> None:
        """Send messages on which a plugin fails."""
        for _ in range(2):
            await self.faulty.wecom.send(Text("break the plugin"), user="breaker")

    async def refused_answers(self) -> None:
        # Of all answers in a round of trouble, more than 72 % must be bad: the fastest burn rate that has an alert.
        for _ in range(12):
            self.faulty.wecom.reply_faults.add(Errcode(31_337))
            sent = await self.faulty.wecom.send(Text(self._text("refuse")), user=self._user())
            await self._deployment.auditor.receipt_for(sent.message_id)

    async def failing_turns(self) -> None:
        for _ in range(4):
            await self._ask(self.faulty, Text("fail"))

    async def messages_without_content(self) -> None:
        await self._ask(self.faulty, Voice(""))

    async def failing_media(self) -> None:
        for _ in range(2):
            self.faulty.wecom.media_faults.add(Expired())
            await self._ask(self.faulty, Image(draw_png(4, 4)))

    async def late_answers(self) -> None:
        """Send messages whose answers take more than a minute."""
        sent = [await self.faulty.wecom.send(Text(self._text("later")), user=self._user()) for _ in range(8)]
        await self.skip(_LATE_SECONDS)
        answered = asyncio.gather(*(self._deployment.auditor.receipt_for(each.message_id) for each in sent))
        # On a busy machine, some of their turns begin only now.
        while not answered.done():
            self.agent.release("later")
            await asyncio.wait([answered], timeout=_POLL_SECONDS)
        await answered

    async def windows_without_answer(self) -> None:
        for _ in range(4):
            sent = await self.faulty.wecom.send(Text("silence"), user=self._user())
            await self._deployment.auditor.receipt_for(sent.message_id)
        await self.skip(_HOUR_SECONDS)

    async def trouble_with_streams(self) -> None:
        """Cause each kind of trouble with streams once."""
        await self.streams_without_refreshes()
        await self.unknown_refreshes()
        await self.late_first_signs()

    async def streams_without_refreshes(self) -> None:
        """Send messages whose streams WeCom does not ask for, so that their answers are handed over."""
        wecom = self.streaming.wecom
        wecom.refresh_seconds = _HOUR_SECONDS
        sent = [await wecom.send(Text(self._text("do not ask")), user=self._user()) for _ in range(_STREAMS)]
        wecom.refresh_seconds = _REFRESH_SECONDS
        handed_over = asyncio.gather(*(each.reply() for each in sent if each.acknowledged))
        while not handed_over.done():
            await self.skip(_FETCH_SECONDS)
            await asyncio.wait([handed_over], timeout=_POLL_SECONDS)
        await handed_over

    async def unknown_refreshes(self) -> None:
        """Ask for a stream that was never opened."""
        for _ in range(_UNKNOWN_REFRESHES):
            await self.streaming.wecom.send(StreamRefresh("unknown"), user=self._user())

    async def late_first_signs(self) -> None:
        """Send messages while Redis does not answer for some time."""
        await self.skip(_LATE_SIGN_SECONDS)
        started = self.clock.wall()
        self.redis.freeze()
        sending = asyncio.gather(
            *(self.streaming.wecom.send(Text(self._text("hurry")), user=self._user()) for _ in range(_STREAMS))
        )
        while await self._deployment.metric("last_callback_timestamp_seconds", "assistant") < started:
            pass
        await self.skip(_LATE_SIGN_SECONDS)
        self.redis.thaw()
        await asyncio.gather(*(each.answer() for each in await sending if each.acknowledged))

    async def wrong_signatures(self, count: int) -> None:
        """Send callbacks that are signed with another token."""
        other_bot = Credentials(new_token(), cipher.decode_key(new_encoding_aes_key()))
        for _ in range(count):
            await self.faulty.wecom.send(Text("not yours"), credentials=other_bot)

    async def callbacks_that_may_be_refused(self, count: int) -> None:
        """Send callbacks that may be refused."""
        for _ in range(count):
            await self.faulty.wecom.send(Text(self._text("is anybody there")), user=self._user())

    async def silent_connections(self) -> None:
        """Open connections and send nothing, so that the server drops them after a timeout."""
        for _ in range(_SILENT_CONNECTIONS):
            _, writer = await asyncio.open_connection("127.0.0.1", self._deployment.channel().port)
            self._silent_connections.append(writer)

    async def requests_to_another_path(self) -> None:
        """Request a page that the callback port does not serve, as a browser does."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._deployment.channel().port)
        writer.write(b"GET /favicon.ico HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        await reader.read()
        writer.close()

    def set_clock_of_wecom(self, *, right: bool) -> None:
        self.faulty.wecom.clock = self.clock.wall if right else (lambda: self.clock.wall() - _SKEW_SECONDS)

    def stall(self) -> None:
        """Block the event loop."""
        time.sleep(_STALL_SECONDS)

    async def skip(self, seconds: float) -> None:
        """Move the clock forward while no turn of the agent is running."""
        async with self._clock_lock:
            self.clock.pass_seconds(seconds)

    async def _ask(self, bot: Bot, message: Message) -> SentCallback:
        """Send a message and wait for its answer, unless it was refused or lost in an outage of the state."""
        sent = await bot.wecom.send(message, user=self._user())
        if sent.acknowledged:
            with contextlib.suppress(TimeoutError):
                await sent.answer()
        return sent

    def _text(self, beginning: str) -> str:
        self._number += 1
        return f"{beginning} number {self._number}"

    def _user(self) -> str:
        self._number += 1
        return f"user{self._number}"
