"""Showing the text of an answer while it is written, at a pace that each test sets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.contract.messages import Capabilities, OutboundProgress
from maven_channel_wecom.host.agents.echo import EchoAgent
from maven_channel_wecom.host.bus import Bus
from maven_channel_wecom.host.progress import PROGRESS_SECONDS, Progress
from tests.host.fake_channel import FakeChannel, FakePlugin, manager_with, message

if TYPE_CHECKING:
    from collections.abc import Awaitable

CANARY = "canary-4711"
SHOWS = Capabilities(reactions=False, file_upload=False, reactive_only=True, progress=True)


class Answer:
    """An answer that grows as a test says, and its progress. Each sleep ends when the test ends it."""

    def __init__(self, plugin: object, *, channel: str = "fake") -> None:
        self.text = ""
        self.reads = 0
        self.slept: list[float] = []
        self._asleep = asyncio.Semaphore(0)
        self._wake_up = asyncio.Semaphore(0)
        manager = manager_with(plugin)
        bus = Bus(hook=manager.hook, metrics=CollectorRegistry(), agent=EchoAgent())
        self._channel = FakeChannel("fake", bus)
        if isinstance(plugin, FakePlugin):
            plugin.started["fake"] = self._channel
        self.progress = Progress(
            manager.hook,
            {"fake": self._channel},
            message(channel=channel),
            log_fields={"message_id": "m1"},
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._asleep.release()
        await self._wake_up.acquire()

    def read(self) -> str:
        self.reads += 1
        return self.text

    async def begin(self) -> None:
        """Show the answer, and return in the first sleep."""
        self.progress.show(self.read)
        await self.asleep()

    async def grow(self, text: str) -> None:
        """Let the agent write all of this text, and return in the sleep after it was pushed."""
        self.text = text
        self._wake_up.release()
        await self.asleep()

    def wake_up(self) -> None:
        """End the current sleep."""
        self._wake_up.release()

    async def asleep(self) -> None:
        """Wait for the next sleep."""
        async with asyncio.timeout(10):
            await self._asleep.acquire()


class Raising:
    """A plugin whose hooks raise as scripted."""

    def __init__(self, *, capabilities: Exception | None = None, progress: Exception | None = None) -> None:
        self._capabilities = capabilities
        self._progress = progress
        self.calls = 0

    @hookimpl
    def maven_channel_capabilities(self) -> Capabilities:
        if self._capabilities:
            raise self._capabilities
        return SHOWS

    @hookimpl
    def maven_outbound_progress(self, message: OutboundProgress) -> Awaitable[None]:
        self.calls += 1
        if self._progress and self.calls == 1:
            raise self._progress
        return self._raise_later()

    async def _raise_later(self) -> None:
        if self._progress:
            raise self._progress


async def test_a_text_that_has_changed_is_pushed_whole_every_half_second() -> None:
    plugin = FakePlugin(progress=True)
    answer = Answer(plugin)
    await answer.begin()
    for text in ("one", "one", "one two"):
        await answer.grow(text)
    await answer.progress.end()
    assert plugin.shown == [
        OutboundProgress(channel="fake", chat_id="chat", reply_to="m1", content=content)
        for content in ("one", "one two")
    ]
    assert set(answer.slept) == {PROGRESS_SECONDS}


async def test_a_blank_text_is_not_pushed() -> None:
    plugin = FakePlugin(progress=True)
    answer = Answer(plugin)
    await answer.begin()
    for text in ("", " \n"):
        await answer.grow(text)
    await answer.progress.end()
    assert plugin.shown == []


async def test_an_answer_that_begins_anew_replaces_the_first_one() -> None:
    plugin = FakePlugin(progress=True)
    answer = Answer(plugin)
    await answer.begin()
    await answer.grow("first")
    answer.progress.show(lambda: "second")
    await answer.grow("ignored")
    await answer.progress.end()
    assert [shown.content for shown in plugin.shown] == ["first", "second"]
    assert plugin.capabilities_asked == 1


@pytest.mark.parametrize(
    "plugin", [FakePlugin(), Raising(capabilities=LookupError()), object()], ids=["says no", "raises", "knows no hook"]
)
async def test_the_text_is_never_read_for_a_channel_that_shows_no_progress(plugin: object) -> None:
    answer = Answer(plugin)
    before = asyncio.all_tasks()
    answer.progress.show(answer.read)
    answer.progress.show(answer.read)
    assert asyncio.all_tasks() == before
    await answer.progress.end()
    assert answer.reads == 0
    if isinstance(plugin, FakePlugin):
        assert plugin.capabilities_asked == 1


async def test_a_message_of_a_channel_that_is_not_started_has_no_progress() -> None:
    answer = Answer(FakePlugin(progress=True), channel="other")
    answer.progress.show(answer.read)
    await answer.progress.end()
    assert answer.slept == []


async def test_an_answer_that_is_never_shown_asks_the_channel_nothing() -> None:
    plugin = FakePlugin(progress=True)
    await Answer(plugin).progress.end()
    assert plugin.capabilities_asked == 0


async def test_exceptions_of_a_hook_are_logged_once_without_any_text(caplog: pytest.LogCaptureFixture) -> None:
    """The first is raised by the hook itself, the others by its awaitable."""
    plugin = Raising(progress=ValueError())
    answer = Answer(plugin)
    await answer.begin()
    for text in (CANARY, CANARY * 2, CANARY * 3):
        await answer.grow(text)
    await answer.progress.end()
    assert plugin.calls == 3
    (record,) = caplog.records
    assert (record.message, vars(record)["fields"]) == ("progress failed", {"message_id": "m1"})
    assert CANARY not in str(vars(record))


async def test_an_exception_about_capabilities_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    answer = Answer(Raising(capabilities=LookupError()))
    answer.progress.show(answer.read)
    await answer.progress.end()
    assert [record.message for record in caplog.records] == ["progress failed"]


async def test_a_channel_without_the_hook_gets_no_progress(caplog: pytest.LogCaptureFixture) -> None:
    """It may be older than the hook."""

    class Older:
        @hookimpl
        def maven_channel_capabilities(self) -> Capabilities:
            return SHOWS

    answer = Answer(Older())
    await answer.begin()
    await answer.grow("one")
    await answer.progress.end()
    assert caplog.records == []


async def test_a_call_of_the_channel_that_hangs_ends_with_the_turn() -> None:
    class Hanging:
        called = asyncio.Event()
        ended = asyncio.Event()

        @hookimpl
        def maven_channel_capabilities(self) -> Capabilities:
            return SHOWS

        @hookimpl
        async def maven_outbound_progress(self) -> None:
            self.called.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.set()

    plugin = Hanging()
    answer = Answer(plugin)
    await answer.begin()
    answer.text = "one"
    answer.wake_up()
    async with asyncio.timeout(10):
        await plugin.called.wait()
        await answer.progress.end()
    assert plugin.ended.is_set()
