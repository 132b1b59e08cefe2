"""A history with a bot that streams, and the server of its page."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
import pytest

from maven_channel_wecom.playground.chat_history import ChatHistory
from maven_channel_wecom.playground.entries import View
from maven_channel_wecom.playground.guard import TOKEN_HEADER
from maven_channel_wecom.playground.labels import Labels
from maven_channel_wecom.playground.people import chats_of
from maven_channel_wecom.playground.server import PlaygroundServer
from maven_channel_wecom.simulator.listening import listen
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from tests.simulator.bots import Bot, growing
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# It reports every rule that it tries for every line.
logging.getLogger("markdown_it").setLevel(logging.INFO)


@pytest.fixture
async def wecom() -> AsyncIterator[SimulatedWeCom]:
    async with SimulatedWeCom(token=new_token(), encoding_aes_key=new_encoding_aes_key()) as started:
        started.refresh_seconds = 0.01
        yield started


@pytest.fixture
async def streaming(wecom: SimulatedWeCom) -> AsyncIterator[Bot]:
    async with Bot(wecom.credentials, frames=growing("one", "one **two**"), replies=False) as bot:
        wecom.callback_url = bot.url
        yield bot


@pytest.fixture
async def replying(wecom: SimulatedWeCom) -> AsyncIterator[Bot]:
    async with Bot(wecom.credentials, welcome="welcome", feedback_id="f1") as bot:
        yield bot


@pytest.fixture
async def history(wecom: SimulatedWeCom, streaming: Bot, replying: Bot) -> AsyncIterator[ChatHistory]:
    started = ChatHistory(wecom, {"stream": streaming.url, "reply": replying.url})
    yield started
    await started.close()


class Site(NamedTuple):
    """A running page, and a client that behaves as the page does."""

    url: str
    session: aiohttp.ClientSession
    token: str

    async def post(self, path: str, **fields: str | bytes) -> tuple[int, str]:
        form = aiohttp.FormData(default_to_multipart=True)
        for name, value in fields.items():
            if isinstance(value, bytes):
                form.add_field(name, io.BytesIO(value), filename="a.png")
            else:
                form.add_field(name, value)
        headers = {TOKEN_HEADER: self.token, "Origin": self.url}
        async with self.session.post(self.url + path, data=form, headers=headers) as response:
            return response.status, await response.text()

    async def get(self, path: str) -> str:
        async with self.session.get(self.url + path) as response:
            return await response.text()


@pytest.fixture
def server(history: ChatHistory) -> PlaygroundServer:
    credentials = history.wecom.credentials
    return PlaygroundServer(history, host="127.0.0.1", bot="Maven", own_secrets=(credentials.token, "the-key"))


@pytest.fixture
async def site(server: PlaygroundServer) -> AsyncIterator[Site]:
    runner, url = await listen(server.application(), "127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        yield Site(url, session, server._guard.token)
    await runner.cleanup()


def view(user: str = "lina", *, group: bool = False, language: str = "en") -> View:
    """Return what somebody sees: the single chat, or the first group."""
    return View(user, chats_of(user)[1 if group else 0], Labels("zh" if language == "zh" else "en"), "Maven")


async def until_answered(history: ChatHistory, number: int = 1) -> None:
    """Wait until so many answers are complete."""
    while True:
        version = history.version
        answers = [each for each in history.entries if not hasattr(each, "author") and not each.growing]
        if len(answers) >= number:
            return
        await history.changed(version)
