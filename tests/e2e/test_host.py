"""Tests for the embedded host with the channel: cron, health, draining, and the Responses agent."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from maven_channel_wecom import config
from maven_channel_wecom.host.configuration import Configuration, interpret
from maven_channel_wecom.host.plugins import channel_problems, load_plugins
from maven_channel_wecom.sentences import CONVERSATION_NEW
from maven_channel_wecom.simulator.messages import File, Image, Mixed, Text, Video
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.deployment import Deployment
from tests.e2e.recording_agent import RecordingAgent
from tests.host.fake_responses import COMPLETED, chunk, delta, finish, serving, sse, sse_data

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.watch import Watch

ORIGINAL_PAGE = """{"channels":{"wecom":{"enabled":true,"token":"your-token","encodingAESKey":
"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG","receiveId":"","port":9886,"allowFrom":["zhangsan"],"proxy":""}}}"""
PNG = draw_png(10, 10)
SECRET = "canary-api-key-4711"


def test_the_example_configuration_of_the_original_channel_is_valid() -> None:
    configuration, problems = interpret(json.loads(ORIGINAL_PAGE))
    assert problems + channel_problems(load_plugins(), configuration.channels) == []
    settings = config.read_config("wecom", configuration.channels["wecom"])
    assert (settings.host, settings.port, settings.path) == ("0.0.0.0", 9886, "/wecom/bot")
    assert [credentials.token for credentials in settings.credentials] == ["your-token"]
    assert settings.rules.senders == {"zhangsan"}
    assert (settings.receive_id, settings.proxy) == ("", None)
    assert configuration.gateway == Configuration().gateway


async def test_a_cron_delivery_to_wecom_is_skipped_logged_and_counted(watch: Watch) -> None:
    """The channel is reactive: without a message of a user there is no reply window."""
    watch.register("what a job asks", "write the daily report")
    job = {
        "name": "daily",
        "every": "1s",
        "message": "write the daily report",
        "deliver": True,
        "channel": "wecom",
        "to": "wrGroup",
    }
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent, document={"cron": [job]}) as deployment:
        fields = await watch.until("cron delivery skipped")
        assert fields == {"job": "daily", "channel": "wecom", "reason": "reactive_only"}
        assert await deployment.metric("proactive_skips_total") >= 1
        assert deployment.wecom.recorded.posts == {}
        assert deployment.auditor.receipts == []
    assert agent.texts[0] == "write the daily report"
    assert any("WARNING cron delivery skipped job=daily channel=wecom" in line for line in watch.lines)


async def test_the_responses_agent_receives_text_image_file_and_quote(watch: Watch) -> None:
    """All messages of one chat share a session id, and the quoted text is marked as context."""
    watch.register("an API key", SECRET)
    async with serving() as responses:
        responses.chunks = (sse(delta("a fine "), delta("picture"), COMPLETED),)
        agent = {"type": "responses", "url": responses.url, "model": "maven", "apiKey": SECRET}
        async with Deployment(watch, document={"agent": agent}) as deployment:
            mixed = Mixed((Text("what do you see here?"), Image(PNG)))
            assert await deployment.ask(mixed, quote=Text("the picture of yesterday")) == "a fine picture"
            assert await deployment.ask(File(b"%PDF-1.7\n of mine", "letter-of-mine.pdf")) == "a fine picture"
            assert await deployment.ask(Video(bytes(32))) == "a fine picture"
    (headers, first), (other_headers, second), (_, third) = responses.requests
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert headers["Maven-Session-Id"] == other_headers["Maven-Session-Id"]
    quoted, *own = first["input"][0]["content"]
    assert quoted["text"].endswith("\n> the picture of yesterday")
    assert own == [
        {"type": "input_text", "text": "what do you see here?"},
        {
            "type": "input_image",
            "detail": "auto",
            "image_url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}",
        },
    ]
    *earlier, asked = second["input"]
    assert earlier == [first["input"][0], {"role": "assistant", "content": "a fine picture"}]
    (file,) = asked["content"]
    assert (file["type"], file["filename"]) == ("input_file", "letter-of-mine.pdf")
    (video,) = third["input"][-1]["content"]
    assert video["type"] == "input_text"
    assert "video" in video["text"]


async def test_a_chat_completions_agent_receives_a_picture_with_the_next_question_too(watch: Watch) -> None:
    async with serving("/v1/chat/completions") as fake:
        fake.chunks = (sse_data(chunk({"content": "a fine "}), chunk({"content": "picture"}), finish("stop")),)
        agent = {"type": "chat-completions", "url": fake.url, "model": "maven"}
        async with Deployment(watch, document={"agent": agent}) as deployment:
            assert await deployment.ask(Image(PNG)) == "a fine picture"
            assert await deployment.ask("what is on it?") == "a fine picture"
    first, second = (body["messages"] for _, body in fake.requests)
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert first[0]["content"] == [{"type": "image_url", "image_url": {"url": url}}]
    answer = {"role": "assistant", "content": "a fine picture"}
    assert second == [*first, answer, {"role": "user", "content": "what is on it?"}]


async def test_a_restart_keeps_the_conversation_in_a_file_and_new_ends_it(watch: Watch, tmp_path: Path) -> None:
    async with serving() as responses:
        responses.chunks = (sse(delta("nice to meet you"), COMPLETED),)
        agent = {"type": "responses", "url": responses.url, "model": "maven"}
        document = {"agent": agent | {"memoryState": f"sqlite:{tmp_path / 'memory.db'}"}}
        async with Deployment(watch, document=document) as deployment:
            await deployment.ask("my name is Ada")
        async with Deployment(watch, document=document) as deployment:
            await deployment.ask("what is my name?")
            assert await deployment.ask("/new") == CONVERSATION_NEW.en
            await deployment.ask("and what is it now?")
    roles = [[item["role"] for item in body["input"]] for _, body in responses.requests]
    assert roles == [["user"], ["user", "assistant", "user"], ["user"]]


async def test_a_group_hears_who_speaks(watch: Watch) -> None:
    async with serving() as responses:
        responses.chunks = (sse(delta("hello"), COMPLETED),)
        agent = {"type": "responses", "url": responses.url, "model": "maven"}
        async with Deployment(watch, document={"agent": agent}) as deployment:
            for user in ("alice", "bob", "alice"):
                await deployment.ask(f"I am {user} of this group", user=user, group="g")
    _, (_, body), (_, last) = responses.requests
    alice, _, bob = (item["content"][0] for item in body["input"])
    assert alice["text"].startswith("[Message from member-")
    assert bob["text"].startswith("[Message from member-")
    assert alice != bob
    assert last["input"][-1]["content"][0] == alice
    assert "alice" not in alice["text"]


async def test_a_user_is_told_that_the_agent_failed(watch: Watch) -> None:
    """The agent's own error message is not shown."""
    watch.register("the words of a failure", "canary-failure")
    async with serving() as responses:
        responses.json({"error": {"code": "overloaded", "message": "canary-failure"}}, 500)
        agent = {"type": "responses", "url": responses.url, "model": "maven"}
        async with Deployment(watch, document={"agent": agent}) as deployment:
            answer = await deployment.ask("will this work out?")
            responses.chunks, responses.status, responses.content_type = (
                (sse(delta("now it does"), COMPLETED),),
                200,
                "text/event-stream",
            )
            assert await deployment.ask("and once again?") == "now it does"
    assert answer == "The agent failed to answer this message; please try again later."


async def test_health_and_readiness_follow_the_state_of_the_gateway(watch: Watch) -> None:
    """A draining gateway is healthy but not ready."""
    agent = RecordingAgent()
    gate = agent.hold("finish this one first")
    async with Deployment(watch, agent=agent) as deployment:
        assert await deployment.get("/healthz") == (200, '{"status": "ok", "reasons": []}')
        assert await deployment.get("/readyz") == (200, '{"ready": true, "reasons": []}')
        sent = await deployment.send(Text("finish this one first"))
        await agent.received("finish this one first")
        stopping = asyncio.create_task(deployment.host.stop())
        assert await deployment.get("/readyz") == (503, '{"ready": false, "reasons": ["the gateway is draining"]}')
        assert (await deployment.get("/healthz"))[0] == 200
        late = await deployment.send(Text("too late for this one"))
        assert late.status == 503
        assert await deployment.metric("callbacks_total", kind="message", outcome="draining") == 1
        gate.set()
        assert (await sent.reply()).content == "finish this one first"
        await stopping
        with pytest.raises(aiohttp.ClientConnectorError):
            await deployment.get("/healthz")
        assert (await deployment.wecom.redeliver(late)).status == 0
    assert watch.logged("wecom channel stopped") == [{"channel": "wecom", "unfinished": 0}]


async def test_a_gateway_is_not_ready_while_its_state_cannot_be_written(watch: Watch, tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    async with Deployment(watch, {"state": f"sqlite:{file}"}) as deployment:
        assert (await deployment.get("/readyz"))[0] == 200
        assert await deployment.metric("state_up") == 1
        file.rename(tmp_path / "elsewhere.db")
        status, text = await deployment.get("/readyz")
        assert (status, json.loads(text)["ready"]) == (503, False)
        assert "removed or replaced" in json.loads(text)["reasons"][0]
        assert (await deployment.get("/healthz"))[0] == 200
        assert await deployment.metric("state_up") == 0
        assert (await deployment.send(Text("this one is not stored"))).status == 503
        assert await deployment.metric("state_failures_total", operation="admit", reason="state") == 1
        (tmp_path / "elsewhere.db").rename(file)
        assert await deployment.get("/readyz") == (200, '{"ready": true, "reasons": []}')
        assert await deployment.ask("this one is stored") == "this one is stored"


async def test_a_drain_ends_at_its_time_limit(watch: Watch) -> None:
    """The log has the number of unfinished messages."""
    agent = RecordingAgent()
    agent.hold("never answer this")
    async with Deployment(watch, {"drainSeconds": 0.1}, agent=agent) as deployment:
        await deployment.send(Text("never answer this"))
        await agent.received("never answer this")
        await deployment.host.stop()
    assert watch.logged("wecom channel stopped") == [{"channel": "wecom", "unfinished": 1}]


async def test_an_exception_in_the_agent_affects_only_its_own_message(watch: Watch) -> None:
    """The user is told that something went wrong."""

    def reply(message: object) -> str:
        if "break" in getattr(message, "content", ""):
            raise KeyError(message)
        return "all is well here"

    async with Deployment(watch, agent=RecordingAgent(reply)) as deployment:
        assert "Something went wrong" in await deployment.ask("please break on this")
        assert await deployment.ask("and now a normal one") == "all is well here"
