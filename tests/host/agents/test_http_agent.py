"""An agent behind HTTP, against a fake server on this machine. `test_agent_proxies.py` tests proxies."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import gzip
import json
import socket
import ssl
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest
from aiohttp.client_reqrep import ConnectionKey

from maven_channel_wecom.contract.messages import ContentBlock, FileBlock, ImageBlock, TextBlock
from maven_channel_wecom.host.agents import agent_failures
from maven_channel_wecom.host.agents.agent import AgentError, Answer, Exchange, Failure
from maven_channel_wecom.host.agents.http_agent import HttpAgent, connection_failure
from maven_channel_wecom.host.configuration import AgentSettings, ChatCompletions, Responses
from tests.fakes.installed_aiodns import run_with_aiodns
from tests.host.fake_channel import message, turn
from tests.host.fake_responses import COMPLETED, FakeResponses, chunk, delta, finish, serving, sse, sse_data

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KEY = "canary-key-4711"
CONNECTION_KEY = ConnectionKey("agent", 443, True, True, None, None, None)  # noqa: FBT003 - aiohttp's tuple


@pytest.fixture
async def fake() -> AsyncIterator[FakeResponses]:
    async with serving() as server:
        yield server


@asynccontextmanager
async def asking(
    url: str,
    *,
    idle_seconds: float = 300,
    end_seconds: float = 300,
    timeout_seconds: int = 30,
    key: str | None = KEY,
    api: type[AgentSettings] = Responses,
) -> AsyncIterator[HttpAgent]:
    settings = api(url=url, model="maven", api_key=key, timeout_seconds=timeout_seconds)
    agent = HttpAgent(settings, idle_seconds=idle_seconds, end_seconds=end_seconds)
    try:
        async with asyncio.timeout(20):
            yield agent
    finally:
        await agent.close()


async def probed(agent: HttpAgent) -> dict[str, str]:
    error = await agent.probe()
    return error.facts if error else {}


async def answer(fake: FakeResponses) -> str:
    async with asking(fake.url) as agent:
        return (await agent.answer(turn())).text


async def failure(fake: FakeResponses) -> AgentError:
    async with asking(fake.url) as agent:
        with pytest.raises(AgentError) as caught:
            await agent.answer(turn())
    # A log shows the causes of an error too.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert KEY not in str(caught.value) + repr(caught.value) + caught.value.answer("en")
    return caught.value


class TestRequest:
    async def test_a_request_has_model_message_key_and_session(self, fake: FakeResponses) -> None:
        fake.chunks = (sse(delta("ok"), COMPLETED),)
        await answer(fake)
        headers, body = fake.requests[0]
        assert body == {
            "model": "maven",
            "stream": True,
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
        }
        assert headers["Authorization"] == f"Bearer {KEY}"
        assert headers["Maven-Session-Id"] == turn().session_id
        assert headers["Content-Type"] == "application/json"

    async def test_a_request_without_a_key_has_no_authorization(self, fake: FakeResponses) -> None:
        fake.chunks = (sse(delta("ok"), COMPLETED),)
        async with asking(fake.url, key=None) as agent:
            await agent.answer(turn())
        assert "Authorization" not in fake.requests[0][0]

    async def test_a_large_picture_arrives_unchanged(self, fake: FakeResponses) -> None:
        """Some servers require the Content-Length of a request."""
        fake.chunks = (sse(delta("ok"), COMPLETED),)
        data = "iVBO" * 100_000
        picture = ImageBlock(media_type="image/png", data=data)
        async with asking(fake.url) as agent:
            blocks = (picture, TextBlock(text="[]"))
            await agent.answer(turn(msgspec.structs.replace(message(), content_blocks=blocks)))
        headers, body = fake.requests[0]
        assert body["input"][0]["content"] == [
            {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{data}"},
            {"type": "input_text", "text": "[]"},
        ]
        assert "Transfer-Encoding" not in headers


class TestStream:
    async def test_an_answer_cut_into_bytes_is_the_same_answer(self, fake: FakeResponses) -> None:
        whole = sse(delta("你好 😀"), COMPLETED)
        fake.chunks = tuple(whole[index : index + 1] for index in range(len(whole)))
        assert await answer(fake) == "你好 😀"

    async def test_reading_ends_with_the_completed_event(self, fake: FakeResponses) -> None:
        """The server may keep its connection open afterwards."""
        fake.hold = asyncio.Event()
        fake.chunks = (sse(delta("ok"), COMPLETED),)
        assert await answer(fake) == "ok"

    @pytest.mark.parametrize(
        ("event", "reason", "code"),
        [
            (
                {"type": "response.failed", "response": {"error": {"code": "server_error", "message": KEY}}},
                "failed",
                "server_error",
            ),
            ({"type": "response.failed"}, "failed", ""),
            (
                {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}},
                "incomplete",
                "max_output_tokens",
            ),
            ({"type": "response.incomplete"}, "incomplete", ""),
            ({"type": "error", "code": "rate_limit_exceeded", "message": KEY}, "failed", "rate_limit_exceeded"),
            ({"type": "error", "error": {"type": "overloaded", "message": KEY}}, "failed", "overloaded"),
            ({"type": "error", "code": f"{KEY} is wrong"}, "failed", ""),
            ({"error": {"code": "overloaded", "message": KEY}, "type": None}, "failed", "overloaded"),
        ],
        ids=[
            "failed",
            "failed bare",
            "incomplete",
            "incomplete bare",
            "error",
            "nested error",
            "odd code",
            "untyped error",
        ],
    )
    @pytest.mark.parametrize("text_before", ["", "half of it"], ids=["before text", "after text"])
    async def test_a_failure_in_a_stream_is_logged_by_code_and_keeps_the_partial_answer(
        self, fake: FakeResponses, event: dict[str, Any], reason: str, code: str, text_before: str
    ) -> None:
        fake.chunks = (sse(*([delta(text_before)] if text_before else []), event),)
        error = await failure(fake)
        assert error.facts == {"reason": reason} | ({"code": code} if code else {})
        assert error.partial == text_before
        assert error.answer("en").startswith(text_before or error.failure.sentence.en)
        assert error.failure.sentence.en in error.answer("en")

    @pytest.mark.parametrize("resets", [False, True], ids=["ended", "reset"])
    async def test_a_stream_that_ends_too_early_is_reported_after_its_partial_answer(
        self, fake: FakeResponses, *, resets: bool
    ) -> None:
        fake.resets = resets
        fake.chunks = (sse(delta("half of it")),)
        error = await failure(fake)
        assert error.failure.reason == ("connection_lost" if resets else "broken_off")
        assert error.answer("en") == f"half of it\n\n(The answer breaks off here. {error.failure.sentence.en})"

    async def test_the_last_event_may_lack_its_blank_line(self, fake: FakeResponses) -> None:
        fake.chunks = ((sse(delta("whole")) + sse(COMPLETED)).rstrip(b"\n"),)
        assert await answer(fake) == "whole"

    async def test_a_last_event_that_is_cut_off_breaks_off(self, fake: FakeResponses) -> None:
        fake.chunks = (sse(delta("half"), delta("lost"))[:-9],)
        assert (await failure(fake)).facts == {"reason": "broken_off"}

    async def test_a_compressed_stream_is_refused(self, fake: FakeResponses) -> None:
        fake.headers = {"Content-Encoding": "gzip"}
        fake.chunks = (gzip.compress(b"\n" * 1_000_000),)
        assert (await failure(fake)).facts == {"reason": "compressed"}
        assert fake.requests[0][0]["Accept-Encoding"] == "identity"

    async def test_an_endless_event_is_too_large(self, fake: FakeResponses) -> None:
        fake.chunks = (b"data: ", *(b"a" * 1_000_000 for _ in range(17)))
        assert (await failure(fake)).failure.reason == "too_large"


class TestPlainJson:
    async def test_an_answer_may_be_one_object(self, fake: FakeResponses) -> None:
        fake.json({"output_text": "whole"})
        assert await answer(fake) == "whole"

    async def test_an_object_without_a_whole_answer_is_a_failure(self, fake: FakeResponses) -> None:
        fake.json({"status": "failed", "error": {"code": "oops", "message": KEY}})
        assert (await failure(fake)).facts == {"reason": "failed", "code": "oops"}

    async def test_a_page_of_a_proxy_is_malformed(self, fake: FakeResponses) -> None:
        fake.json(None)
        fake.chunks = (b"<html>",)
        assert (await failure(fake)).failure.reason == "malformed"


class TestChatCompletions:
    """What differs from the Responses API; `test_chat_answer.py` tests where the text is found."""

    async def test_a_request_has_model_message_key_and_session(self, fake: FakeResponses) -> None:
        fake.chunks = (sse_data(chunk({"content": "o"}), chunk({"content": "k"}), finish("stop")), b"data: [DONE]\n\n")
        reads: list[Callable[[], str]] = []
        async with asking(fake.url, api=ChatCompletions) as agent:
            assert (await agent.answer(turn()._replace(show=reads.append))).text == "ok"
        headers, body = fake.requests[0]
        assert body == {"model": "maven", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
        assert headers["Authorization"] == f"Bearer {KEY}"
        assert headers["Maven-Session-Id"] == turn().session_id
        assert [read() for read in reads] == ["ok"]

    async def test_reading_ends_with_the_end_of_the_stream(self, fake: FakeResponses) -> None:
        fake.hold = asyncio.Event()
        fake.chunks = (sse_data(chunk({"content": "ok"})), b"data: [DONE]\n\n")
        async with asking(fake.url, api=ChatCompletions) as agent:
            assert (await agent.answer(turn())).text == "ok"

    @pytest.mark.parametrize("after", [b"", b"data: {", b'data: {"error": "late"}\n\n'], ids=["end", "cut", "error"])
    @pytest.mark.parametrize("resets", [False, True])
    async def test_a_finished_answer_is_complete_whatever_comes_after(
        self, fake: FakeResponses, after: bytes, *, resets: bool
    ) -> None:
        """Not every server sends `[DONE]`."""
        fake.resets = resets
        fake.chunks = (sse_data(chunk({"content": "ok"}), finish("stop")), after)
        async with asking(fake.url, api=ChatCompletions) as agent:
            assert (await agent.answer(turn())).text == "ok"

    async def test_a_stream_that_ends_too_early_is_reported_after_its_partial_answer(self, fake: FakeResponses) -> None:
        fake.chunks = (sse_data(chunk({"content": "half"})),)
        async with asking(fake.url, api=ChatCompletions) as agent:
            with pytest.raises(AgentError) as caught:
                await agent.answer(turn())
        assert (caught.value.facts, caught.value.partial) == ({"reason": "broken_off"}, "half")

    async def test_a_finished_answer_is_complete_although_the_stream_does_not_end(self, fake: FakeResponses) -> None:
        fake.hold = asyncio.Event()
        fake.chunks = (sse_data(chunk({"content": "ok"}), finish("stop")), sse_data({"choices": [], "usage": {}}))
        async with asking(fake.url, api=ChatCompletions, end_seconds=0.1) as agent:
            assert (await agent.answer(turn())).text == "ok"

    async def test_an_answer_may_be_one_object(self, fake: FakeResponses) -> None:
        fake.json({"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}]})
        async with asking(fake.url, api=ChatCompletions) as agent:
            assert (await agent.answer(turn())).text == "whole"

    async def test_an_agent_that_refuses_a_picture_is_asked_once_more_without_it(self, fake: FakeResponses) -> None:
        fake.json({"error": {"code": "unsupported"}}, 400)
        fake.then = FakeResponses()
        fake.then.json({"choices": [{"message": {"content": "ok"}}]})
        asked = turn(msgspec.structs.replace(message(), content_blocks=(TextBlock(text="look"), PICTURE)))
        async with asking(fake.url, api=ChatCompletions) as agent:
            answered = await agent.answer(asked)
        assert (answered.text, answered.refused_attachments) == ("ok", "message")
        first, second = (body["messages"][0]["content"] for _, body in fake.requests)
        assert [part["type"] for part in first] == ["text", "image_url"]
        assert second == "look\n\n[The user sent a picture that could not be passed on (this agent does not accept it)]"

    @pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
    async def test_an_error_status_is_a_failure_with_its_code(self, fake: FakeResponses, status: int) -> None:
        fake.json({"error": {"code": "why", "message": KEY}}, status)
        async with asking(fake.url, api=ChatCompletions) as agent:
            with pytest.raises(AgentError) as caught:
                await agent.answer(turn())
        assert caught.value.facts == {"reason": f"http_{status}", "code": "why"}


OTHER_THAN_RESPONSES = {"reason": "other_api", "code": "chat-completions"}
MISSING_MESSAGES = {"error": {"message": "Missing required parameter: 'messages'.", "param": "messages"}}
MISSING_INPUT = {"detail": [{"type": "missing", "loc": ["body", "input"], "msg": "Field required", "input": {}}]}


class TestOtherApi:
    """An agent whose address has another API than its type says."""

    @pytest.mark.parametrize(
        ("api", "status", "reply", "code"),
        [
            (Responses, 200, {"choices": [{"message": {"content": "no"}}]}, "chat-completions"),
            (Responses, 400, MISSING_MESSAGES, "chat-completions"),
            (ChatCompletions, 200, {"object": "response", "output": []}, "responses"),
            (ChatCompletions, 422, MISSING_INPUT, "responses"),
        ],
    )
    async def test_the_other_api_is_named_by_its_type(
        self, fake: FakeResponses, api: type[AgentSettings], status: int, reply: object, code: str
    ) -> None:
        fake.json(reply, status)
        async with asking(fake.url, api=api) as agent:
            with pytest.raises(AgentError) as caught:
                await agent.answer(turn())
        assert caught.value.facts == {"reason": "other_api", "code": code}
        assert "another API" in caught.value.answer("en")

    @pytest.mark.parametrize(
        ("api", "event", "code"),
        [
            (Responses, chunk({"content": "no"}), "chat-completions"),
            (ChatCompletions, {"type": "response.created", "response": {}}, "responses"),
        ],
    )
    async def test_the_other_api_is_recognized_by_its_first_event(
        self, fake: FakeResponses, api: type[AgentSettings], event: dict[str, Any], code: str
    ) -> None:
        fake.chunks = (sse_data(event),)
        async with asking(fake.url, api=api) as agent:
            with pytest.raises(AgentError) as caught:
                await agent.answer(turn())
        assert caught.value.facts == {"reason": "other_api", "code": code}


class TestInspection:
    @pytest.mark.parametrize(
        ("status", "reply", "facts"),
        [
            (200, {}, {}),
            (400, {"error": {"message": "Missing required parameter: 'input'."}}, {}),
            (422, MISSING_INPUT, {}),
            (500, {}, {}),
            (422, MISSING_MESSAGES, {"reason": "other_api", "code": "chat-completions"}),
            (401, {"error": {"code": "bad_key"}}, {"reason": "http_401", "code": "bad_key"}),
            (403, {}, {"reason": "http_403"}),
            (404, {}, {"reason": "http_404"}),
            (405, {}, {"reason": "http_405"}),
            (302, {}, {"reason": "http_302"}),
        ],
    )
    async def test_a_request_without_a_message_shows_mistakes_in_the_configuration(
        self, fake: FakeResponses, status: int, reply: object, facts: dict[str, str]
    ) -> None:
        fake.json(reply, status)
        fake.headers = {"Location": fake.url}
        async with asking(fake.url) as agent:
            error = await agent.inspect()
        assert (error.facts if error else {}) == facts
        ((headers, body),) = fake.requests
        assert (headers["Authorization"], body) == (f"Bearer {KEY}", {})

    @pytest.mark.parametrize(
        ("api", "content_type", "body", "facts"),
        [
            (Responses, "text/event-stream", sse_data(chunk({"content": "hi"})), OTHER_THAN_RESPONSES),
            (Responses, "text/event-stream", sse(delta("hi"), COMPLETED), {}),
            (Responses, "application/json", b'{"choices": [{"message": {}}]}', OTHER_THAN_RESPONSES),
            (Responses, "application/json", b'{"error": "no input"}', {}),
            (Responses, "text/html", b"<html>", {"reason": "malformed"}),
            (ChatCompletions, "text/event-stream", sse(delta("hi")), {"reason": "other_api", "code": "responses"}),
            (ChatCompletions, "application/json", b'{"output": []}', {"reason": "other_api", "code": "responses"}),
        ],
        ids=range(7),
    )
    async def test_an_answer_to_a_request_without_a_message_shows_the_api(
        self, fake: FakeResponses, api: type[AgentSettings], content_type: str, body: bytes, facts: dict[str, str]
    ) -> None:
        fake.content_type, fake.chunks = content_type, (body,)
        async with asking(fake.url, api=api) as agent:
            error = await agent.inspect()
        assert (error.facts if error else {}) == facts

    async def test_an_agent_that_is_not_running_is_told(self) -> None:
        async with serving() as server:
            url = server.url
        async with asking(url) as agent:
            error = await agent.inspect()
        assert error is not None
        assert error.facts == {"reason": "refused"}


class TestProgress:
    async def test_the_text_so_far_can_be_read_from_when_the_answer_begins(self, fake: FakeResponses) -> None:
        fake.chunks = (sse(delta("half of it")),)
        reads: list[Callable[[], str]] = []
        texts = []

        def show(read: Callable[[], str]) -> None:
            reads.append(read)
            texts.append(read())

        async with asking(fake.url) as agent:
            with pytest.raises(AgentError):
                await agent.answer(turn()._replace(show=show))
        assert texts == [""]
        assert [read() for read in reads] == ["half of it"]

    @pytest.mark.parametrize("status", [200, 500])
    async def test_an_answer_that_comes_at_once_is_not_shown_before(self, fake: FakeResponses, status: int) -> None:
        fake.json({"output_text": "all of it"}, status)
        reads: list[Callable[[], str]] = []
        async with asking(fake.url) as agent:
            with contextlib.suppress(AgentError):
                await agent.answer(turn()._replace(show=reads.append))
        assert reads == []

    async def test_the_answer_to_the_message_without_its_picture_is_shown_instead(self, fake: FakeResponses) -> None:
        fake.chunks = (sse({"type": "response.failed", "response": {"error": {"code": "invalid_image_format"}}}),)
        fake.then = FakeResponses()
        fake.then.chunks = (sse(delta("ok"), COMPLETED),)
        reads: list[Callable[[], str]] = []
        async with asking(fake.url) as agent:
            await agent.answer(
                turn(msgspec.structs.replace(message(), content_blocks=(PICTURE,)))._replace(show=reads.append)
            )
        assert [read() for read in reads] == ["", "ok"]


PICTURE = ImageBlock(media_type="image/png", data="iVBO")
FILE = FileBlock(media_type="application/pdf", name="a.pdf", data="aGk=")


class TestAttachments:
    @pytest.mark.parametrize("status", [400, 413, 415, 422])
    async def test_an_agent_that_refuses_a_picture_is_asked_once_more_without_it(
        self, fake: FakeResponses, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        fake.json({"error": {"code": "why"}}, status)
        fake.then = FakeResponses()
        fake.then.chunks = (sse(delta("ok"), COMPLETED),)
        blocks = (TextBlock(text="look"), PICTURE)
        async with asking(fake.url) as agent:
            assert (await agent.answer(turn(msgspec.structs.replace(message(), content_blocks=blocks)))).text == "ok"
        first, second = ([part["type"] for part in body["input"][0]["content"]] for _, body in fake.requests)
        assert first == ["input_text", "input_image"]
        assert second == ["input_text", "input_text"]
        (record,) = (record for record in caplog.records if record.message == "agent refused attachment")
        assert vars(record)["fields"] == {
            "channel": "fake",
            "message_id": "m1",
            "reason": f"http_{status}",
            "code": "why",
        }

    async def test_a_picture_can_be_refused_in_the_stream(self, fake: FakeResponses) -> None:
        fake.chunks = (sse({"type": "response.failed", "response": {"error": {"code": "invalid_image_format"}}}),)
        fake.then = FakeResponses()
        fake.then.chunks = (sse(delta("ok"), COMPLETED),)
        async with asking(fake.url) as agent:
            assert (
                await agent.answer(turn(msgspec.structs.replace(message(), content_blocks=(PICTURE,))))
            ).text == "ok"

    @pytest.mark.parametrize(("block", "kind"), [(PICTURE, "picture"), (FILE, "file")])
    async def test_the_user_is_told_which_attachment_may_be_the_cause(
        self, fake: FakeResponses, block: ContentBlock, kind: str
    ) -> None:
        fake.json({}, 422)
        async with asking(fake.url) as agent:
            with pytest.raises(AgentError) as caught:
                await agent.answer(turn(msgspec.structs.replace(message(), content_blocks=(block,))))
        assert kind in caught.value.answer("en")
        assert caught.value.facts == {"reason": "http_422"}
        assert len(fake.requests) == 2

    @pytest.mark.parametrize("status", [404, 500, 501])
    async def test_a_refusal_may_be_told_by_its_words(self, fake: FakeResponses, status: int) -> None:
        """OpenRouter answers 404 to pictures for models that read only text, llama.cpp 500."""
        fake.json({"error": {"message": "No endpoints found that support image input"}}, status)
        fake.then = FakeResponses()
        fake.then.chunks = (sse(delta("ok"), COMPLETED),)
        async with asking(fake.url) as agent:
            answered = await agent.answer(turn(msgspec.structs.replace(message(), content_blocks=(PICTURE,))))
        assert (answered.text, answered.refused_attachments) == ("ok", "message")

    @pytest.mark.parametrize(
        ("status", "reply"),
        [
            *((status, {}) for status in (401, 404, 429, 500)),
            *(
                (status, {"message": "the image is being pulled"})
                for status in (401, 403, 408, 425, 429, 502, 503, 504)
            ),
            (500, {"echo": {"type": "input_image"}}),
        ],
    )
    async def test_other_failures_are_not_asked_again(
        self, fake: FakeResponses, status: int, reply: object, caplog: pytest.LogCaptureFixture
    ) -> None:
        fake.json(reply, status)
        async with asking(fake.url) as agent:
            with pytest.raises(AgentError):
                await agent.answer(turn(msgspec.structs.replace(message(), content_blocks=(PICTURE,))))
        assert len(fake.requests) == 1
        assert caplog.records == []

    @pytest.mark.parametrize("status", [404, 500])
    async def test_a_page_is_not_about_pictures(self, fake: FakeResponses, status: int) -> None:
        fake.json(None, status)
        fake.chunks = (b'<html><link rel="icon" type="image/png"></html>',)
        async with asking(fake.url) as agent:
            with pytest.raises(AgentError):
                await agent.answer(turn(msgspec.structs.replace(message(), content_blocks=(PICTURE,))))
        assert len(fake.requests) == 1

    async def test_an_answer_that_has_begun_is_not_asked_for_again(self, fake: FakeResponses) -> None:
        failed = {"type": "response.failed", "response": {"error": {"code": "invalid_image_format"}}}
        fake.chunks = (sse(delta("half"), failed),)
        async with asking(fake.url) as agent:
            with pytest.raises(AgentError) as caught:
                await agent.answer(turn(msgspec.structs.replace(message(), content_blocks=(PICTURE,))))
        assert (caught.value.partial, len(fake.requests)) == ("half", 1)

    async def test_a_picture_is_kept_if_only_those_of_earlier_messages_are_refused(self, fake: FakeResponses) -> None:
        fake.json({}, 413)
        fake.then = FakeResponses()
        fake.then.chunks = (sse(delta("ok"), COMPLETED),)
        asked = turn(msgspec.structs.replace(message(), content_blocks=(PICTURE,)))
        async with asking(fake.url) as agent:
            answered = await agent.answer(asked._replace(history=(Exchange(question=(PICTURE, FILE), answer="a cat"),)))
        assert (answered.text, answered.refused_attachments) == ("ok", "history")
        earlier, _, own = fake.requests[1][1]["input"]
        assert [part["type"] for part in earlier["content"]] == ["input_text", "input_text"]
        assert [part["type"] for part in own["content"]] == ["input_image"]

    async def test_a_picture_of_an_earlier_message_is_left_out_if_it_may_be_the_cause(
        self, fake: FakeResponses
    ) -> None:
        fake.json({}, 400)
        fake.then = FakeResponses()
        fake.then.chunks = (sse(delta("ok"), COMPLETED),)
        earlier = Exchange(question=(PICTURE,), answer="a cat")
        async with asking(fake.url) as agent:
            answered = await agent.answer(turn()._replace(history=(earlier,)))
        assert (answered.text, answered.refused_attachments) == ("ok", "history")
        second = fake.requests[1][1]["input"]
        assert [part["type"] for part in second[0]["content"]] == ["input_text"]

    async def test_a_refused_message_is_not_said_to_be_refused_because_of_an_earlier_picture(
        self, fake: FakeResponses
    ) -> None:
        fake.json({}, 400)
        async with asking(fake.url) as agent:
            with pytest.raises(AgentError) as caught:
                await agent.answer(turn()._replace(history=(Exchange(question=(PICTURE,), answer="a cat"),)))
        assert caught.value.failure == agent_failures.for_status(400)


class TestContextLength:
    @pytest.mark.parametrize("status", [400, 413, 422])
    async def test_words_about_it_are_a_failure_of_their_own(self, fake: FakeResponses, status: int) -> None:
        fake.json({"error": {"message": "prompt is too long", "code": 1}}, status)
        error = await failure(fake)
        assert error.failure == agent_failures.CONTEXT_LENGTH
        assert error.facts == {"reason": "context_length", "code": "context_length_exceeded"}

    async def test_it_may_be_reported_in_the_stream(self, fake: FakeResponses) -> None:
        refusal = {"error": {"code": "context_length_exceeded"}}
        fake.chunks = (sse({"type": "response.failed", "response": refusal}),)
        assert (await failure(fake)).failure == agent_failures.CONTEXT_LENGTH

    async def test_words_in_other_errors_do_not_count(self, fake: FakeResponses) -> None:
        fake.json({"error": {"message": "too many input tokens per minute"}}, 429)
        assert (await failure(fake)).failure == agent_failures.for_status(429)

    async def test_a_message_with_a_picture_is_not_asked_again_without_it(self, fake: FakeResponses) -> None:
        fake.json({"error": {"message": "prompt is too long"}}, 400)
        async with asking(fake.url) as agent:
            with pytest.raises(AgentError):
                await agent.answer(turn(msgspec.structs.replace(message(), content_blocks=(PICTURE,))))
        assert len(fake.requests) == 1


class TestPreviousResponse:
    async def test_an_answer_has_the_id_of_its_response(self, fake: FakeResponses) -> None:
        created = {"type": "response.created", "response": {"id": "resp_1"}}
        fake.chunks = (sse(created, delta("ok"), COMPLETED),)
        async with asking(fake.url) as agent:
            assert await agent.answer(turn()) == Answer("ok", "resp_1")
            fake.json({"id": "resp_2", "output": [], "output_text": "ok"})
            assert await agent.answer(turn()) == Answer("ok", "resp_2")

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (400, {"error": {"code": "previous_response_not_found", "message": "no such response"}}),
            (404, {"error": {"message": "Response with id 'resp_1' not found."}}),
            (422, {"detail": [{"loc": ["body", "previous_response_id"], "msg": "extra inputs are not permitted"}]}),
            (500, {"error": {"message": "unknown key previous_response_id"}}),
            (404, {"detail": "Not Found"}),
        ],
        ids=["OpenAI", "vLLM", "unknown parameter", "another status", "no words"],
    )
    async def test_an_agent_that_does_not_know_it_is_asked_once_more_without_it(
        self, fake: FakeResponses, status: int, error: object, caplog: pytest.LogCaptureFixture
    ) -> None:
        fake.json(error, status)
        fake.then = FakeResponses()
        fake.then.chunks = (sse(delta("ok"), COMPLETED),)
        asked = turn(msgspec.structs.replace(message(), content_blocks=(PICTURE,)))
        async with asking(fake.url) as agent:
            answered = await agent.answer(asked._replace(previous_response_id="resp_1"))
        assert answered == Answer("ok")
        first, second = (body for _, body in fake.requests)
        assert first.pop("previous_response_id") == "resp_1"
        assert first == second
        assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
            "agent refused previous response"
        ]

    async def test_it_can_be_refused_in_the_stream(self, fake: FakeResponses) -> None:
        refusal = {"error": {"code": "previous_response_not_found"}}
        fake.chunks = (sse({"type": "response.failed", "response": refusal}),)
        fake.then = FakeResponses()
        fake.then.chunks = (sse(delta("ok"), COMPLETED),)
        async with asking(fake.url) as agent:
            assert (await agent.answer(turn()._replace(previous_response_id="resp_1"))).text == "ok"

    @pytest.mark.parametrize("status", [400, 404, 422])
    async def test_an_agent_that_refuses_without_a_reason_is_asked_once_more_without_it(
        self, fake: FakeResponses, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        fake.json({"object": "error", "message": "Unrecognized request argument supplied"}, status)
        fake.then = FakeResponses()
        fake.then.chunks = (sse(delta("ok"), COMPLETED),)
        async with asking(fake.url) as agent:
            assert (await agent.answer(turn()._replace(previous_response_id="1"))).text == "ok"
        assert "previous_response_id" not in fake.requests[1][1]
        (record,) = caplog.records
        assert record.message == "agent refused previous response"

    async def test_an_agent_that_refuses_with_and_without_it_is_not_said_to_refuse_it(
        self, fake: FakeResponses, caplog: pytest.LogCaptureFixture
    ) -> None:
        fake.json({"error": {"message": "the model is not there"}}, 404)
        async with asking(fake.url) as agent:
            with pytest.raises(AgentError, match="http_404"):
                await agent.answer(turn()._replace(previous_response_id="resp_1"))
        assert len(fake.requests) == 2
        assert caplog.records == []

    @pytest.mark.parametrize(
        ("status", "previous_response_id"), [(404, ""), (401, "1"), (403, "1"), (413, "1"), (429, "1"), (500, "1")]
    )
    async def test_other_failures_are_not_asked_again(
        self, fake: FakeResponses, status: int, previous_response_id: str
    ) -> None:
        fake.json({"error": {"message": "1 of 1 models is not there"}}, status)
        async with asking(fake.url) as agent:
            with pytest.raises(AgentError):
                await agent.answer(turn()._replace(previous_response_id=previous_response_id))
        assert len(fake.requests) == 1


class TestHttp:
    @pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500, 503])
    async def test_an_error_status_is_a_failure_of_which_only_a_code_is_kept(
        self, fake: FakeResponses, status: int
    ) -> None:
        fake.json({"error": {"code": "why", "message": f"wrong key {KEY}"}}, status)
        fake.headers = {"Location": fake.url}
        error = await failure(fake)
        assert error.facts == {"reason": f"http_{status}", "code": "why"}
        assert len(fake.requests) == 1

    async def test_an_error_status_with_a_page_has_no_code(self, fake: FakeResponses) -> None:
        fake.json(None, 502)
        fake.chunks = (b"<html>bad gateway",)
        assert (await failure(fake)).facts == {"reason": "http_502"}

    async def test_the_code_of_an_error_is_found_behind_a_long_echo_of_the_request(self, fake: FakeResponses) -> None:
        fake.json(None, 400)
        whole = json.dumps({"error": {"input": "a" * 30_000, "code": "why"}}).encode()
        fake.chunks = (whole[:10_000], whole[10_000:])
        assert (await failure(fake)).facts == {"reason": "http_400", "code": "why"}

    async def test_an_error_whose_body_breaks_off_keeps_its_status(self, fake: FakeResponses) -> None:
        fake.json(None, 500)
        fake.chunks = ()
        fake.resets = True
        assert (await failure(fake)).facts == {"reason": "http_500"}

    async def test_an_endless_body_without_events_is_too_large(self, fake: FakeResponses) -> None:
        comment = b": " + b"a" * 1_000_000 + b"\n"
        fake.chunks = (comment for _ in range(70))
        assert (await failure(fake)).failure.reason == "too_large"

    async def test_a_refused_connection_is_a_failure_without_the_address(self) -> None:
        with socket.socket() as taken:
            # Bound but not listening: connections are refused, and no other process can take the port.
            taken.bind(("127.0.0.1", 0))
            async with asking(f"http://127.0.0.1:{taken.getsockname()[1]}/") as agent:
                with pytest.raises(AgentError) as caught:
                    await agent.answer(turn())
                assert await probed(agent) == {"reason": "refused"}
        assert caught.value.facts == {"reason": "refused"}
        assert "127.0.0.1" not in caught.value.answer("en")

    @pytest.mark.parametrize(
        ("error", "failure"),
        [
            (aiohttp.ClientConnectorDNSError(CONNECTION_KEY, OSError(-2, "x")), agent_failures.DNS),
            (aiohttp.ClientConnectorSSLError(CONNECTION_KEY, OSError(1, "x")), agent_failures.TLS),
            (aiohttp.ClientConnectorCertificateError(CONNECTION_KEY, ssl.SSLError()), agent_failures.TLS),
            (aiohttp.ClientConnectorError(CONNECTION_KEY, OSError(errno.EHOSTUNREACH, "x")), agent_failures.CONNECT),
            (aiohttp.ConnectionTimeoutError(), agent_failures.CONNECT_TIMEOUT),
        ],
    )
    def test_each_way_not_to_connect_has_its_reason(self, error: Exception, failure: Failure) -> None:
        assert connection_failure(error) == failure

    async def test_tls_to_a_port_without_it_is_told(self, fake: FakeResponses) -> None:
        async with asking(fake.url.replace("http:", "https:")) as agent:
            with pytest.raises(AgentError, match="tls"):
                await agent.answer(turn())

    async def test_an_unknown_name_is_told(self) -> None:
        async with asking("http://agent.invalid/v1/responses") as agent:
            assert await probed(agent) == {"reason": "dns"}

    @pytest.mark.parametrize("status", [200, 404, 500])
    async def test_an_agent_can_be_reached_whatever_it_answers(self, fake: FakeResponses, status: int) -> None:
        fake.status = status
        async with asking(fake.url) as agent:
            assert await agent.probe() is None

    @pytest.mark.parametrize(
        ("limits", "reason"),
        [({"idle_seconds": 0.1}, "idle"), ({"timeout_seconds": 1}, "timeout")],
        ids=["idle", "total"],
    )
    async def test_an_agent_that_hangs_times_out_and_its_partial_answer_is_kept(
        self, fake: FakeResponses, limits: dict[str, Any], reason: str
    ) -> None:
        fake.hold = asyncio.Event()
        fake.chunks = (sse(delta("half")),)
        async with asking(fake.url, **limits) as agent:
            with pytest.raises(AgentError) as caught:
                await agent.answer(turn())
        assert (caught.value.failure.reason, caught.value.partial) == (reason, "half")

    async def test_concurrent_messages_are_separate_requests(self, fake: FakeResponses) -> None:
        fake.chunks = (sse(delta("ok"), COMPLETED),)
        async with asking(fake.url) as agent:
            answers = await asyncio.gather(*(agent.answer(turn(message(str(number)))) for number in range(20)))
        assert [each.text for each in answers] == ["ok"] * 20
        asked = {json.dumps(body["input"]) for _, body in fake.requests}
        assert len(asked) == 20


def test_an_installed_aiodns_is_not_used() -> None:
    program = """
from maven_channel_wecom.host.agents.http_agent import HttpAgent
from maven_channel_wecom.host.configuration import Responses

async def main():
    agent = HttpAgent(Responses(url="http://localhost:1/", model="maven"))
    print((await agent.probe()).failure.reason)
    await agent.close()

asyncio.run(main())
"""
    assert run_with_aiodns(program) == "refused\n"


OK = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n"
EVENTS = OK % (b"text/event-stream", b"Content-Length: 9999999\r\n")
CHUNKS = OK % (b"text/event-stream", b"Transfer-Encoding: chunked\r\n")
JSON = OK % (b"application/json", b"")


@pytest.mark.parametrize("api", [Responses, ChatCompletions])
@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40_000),
        (EVENTS, b"\n" * 1_000_000),
        (EVENTS, b"data:{}\n\n" * 100_000),
        (EVENTS, b'data:{"choices":[{"delta":{"content":"a"}}]}\n\n' * 20_000),
        (CHUNKS, b"1\r\n\n\r\n" * 150_000),
        (JSON, b'{"output":[' + b"[]," * 1_000_000),
        (JSON, b'{"output_text":"' + rb"\ud800" * 600_000 + b'"}'),
    ],
    ids=["1xx", "line ends", "small events", "deltas", "pieces of one byte", "many values", "half characters"],
)
async def test_a_hostile_answer_leaves_time_for_others(api: type[AgentSettings], head: bytes, body: bytes) -> None:
    """Measured is the time of this thread in one loop iteration: that of the machine is shared."""

    async def hostile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            for start in range(0, len(body), 65_536):
                writer.write(body[start : start + 65_536])
                await writer.drain()
        writer.close()

    seconds = []
    server = await asyncio.start_server(hostile, "127.0.0.1", 0)
    async with server, asking(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", api=api) as agent:
        answering = asyncio.create_task(agent.answer(turn()))
        # A full collection of everything that the suite has imported takes longer.
        gc.disable()
        try:
            last = time.thread_time()
            while not answering.done():
                await asyncio.sleep(0)
                now = time.thread_time()
                seconds.append(now - last)
                last = now
        finally:
            gc.enable()
        with pytest.raises(AgentError):
            await answering
    # At most 13 ms on the machine where this was written, and 30 to 85 without the limits. The two longest iterations
    # are left out: anything can be in them.
    assert sorted(seconds)[:-2][-1] < 0.025
