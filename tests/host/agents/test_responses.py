"""The agent behind the Responses API, against a real server on this machine."""

from __future__ import annotations

import asyncio
import json
import socket
import tracemalloc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from maven_channel_wecom.contract.messages import ContentBlock, FileBlock, ImageBlock, TextBlock, UnavailableBlock
from maven_channel_wecom.host.agents.agent import AgentError
from maven_channel_wecom.host.agents.responses import ResponsesAgent
from maven_channel_wecom.host.agents.responses_request import RequestBody, session_id
from maven_channel_wecom.host.configuration import Responses
from tests.host.fake_channel import message
from tests.host.fake_responses import COMPLETED, FakeResponses, delta, serving, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "canary-key-4711"


@pytest.fixture
async def fake() -> AsyncIterator[FakeResponses]:
    async with serving() as server:
        yield server


@asynccontextmanager
async def asking(
    url: str, *, idle_seconds: float = 300, timeout_seconds: int = 30, key: str | None = KEY
) -> AsyncIterator[ResponsesAgent]:
    settings = Responses(url=url, model="maven", api_key=key, timeout_seconds=timeout_seconds)
    agent = ResponsesAgent(settings, idle_seconds=idle_seconds)
    try:
        async with asyncio.timeout(20):
            yield agent
    finally:
        await agent.close()


async def answer(fake: FakeResponses) -> str:
    async with asking(fake.url) as agent:
        return await agent.answer(message())


async def failure(fake: FakeResponses) -> AgentError:
    async with asking(fake.url) as agent:
        with pytest.raises(AgentError) as caught:
            await agent.answer(message())
    # Whatever logs the error may follow its causes.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert KEY not in str(caught.value) + repr(caught.value) + caught.value.answer
    return caught.value


def output(*texts: str, kind: str = "output_text", **more: object) -> dict[str, Any]:
    field = "refusal" if kind == "refusal" else "text"
    content = [{"type": kind, field: text} for text in texts]
    return {"output": [{"type": "reasoning", "summary": []}, {"type": "message", "content": content}], **more}


class TestRequest:
    async def test_it_is_what_a_responses_api_expects(self, fake: FakeResponses) -> None:
        """Model, stream, one user message; the key as bearer; the session of the chat."""
        fake.chunks = (sse(delta("ok"), COMPLETED),)
        await answer(fake)
        headers, body = fake.requests[0]
        assert body == {
            "model": "maven",
            "stream": True,
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
        }
        assert headers["Authorization"] == f"Bearer {KEY}"
        assert headers["Maven-Session-Id"] == session_id("fake", "chat")
        assert headers["Content-Type"] == "application/json"

    async def test_without_a_key_there_is_no_authorization(self, fake: FakeResponses) -> None:
        """A gateway on the same machine may want none."""
        fake.chunks = (sse(delta("ok"), COMPLETED),)
        async with asking(fake.url, key=None) as agent:
            await agent.answer(message())
        assert "Authorization" not in fake.requests[0][0]

    @pytest.mark.parametrize(
        ("blocks", "content"),
        [
            (
                (TextBlock(text="look"), ImageBlock(media_type="image/png", data="aGk=")),
                [
                    {"type": "input_text", "text": "look"},
                    {"type": "input_image", "image_url": "data:image/png;base64,aGk="},
                ],
            ),
            (
                (FileBlock(media_type="application/pdf", name="a.pdf", data="aGk="),),
                [{"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}],
            ),
            (
                (FileBlock(media_type="application/pdf", name="", data="aGk="),),
                [{"type": "input_file", "filename": "file", "file_data": "data:application/pdf;base64,aGk="}],
            ),
            (
                (UnavailableBlock(kind="video", reason="unsupported"),),
                [
                    {
                        "type": "input_text",
                        "text": "[The user sent something of kind video that is not available: unsupported]",
                    }
                ],
            ),
            ((), [{"type": "input_text", "text": "content"}]),
        ],
        ids=["image", "file", "nameless file", "unavailable", "no blocks"],
    )
    async def test_each_block_is_a_part(
        self, fake: FakeResponses, blocks: tuple[ContentBlock, ...], content: list[dict[str, str]]
    ) -> None:
        """Images and files go as data URLs, and what is missing is told."""
        fake.chunks = (sse(delta("ok"), COMPLETED),)
        async with asking(fake.url) as agent:
            await agent.answer(msgspec.structs.replace(message("content"), content_blocks=blocks))
        assert fake.requests[0][1]["input"][0]["content"] == content

    async def test_what_was_quoted_cannot_pose_as_the_users_words(self, fake: FakeResponses) -> None:
        """Every line of a quote is marked, whatever ends its lines; a quoted image is announced."""
        fake.chunks = (sse(delta("ok"), COMPLETED),)
        blocks = (
            TextBlock(text="one\ntwo\rthree\u2028four", quoted=True),
            ImageBlock(media_type="image/png", data="aGk=", quoted=True),
            TextBlock(text="mine"),
        )
        async with asking(fake.url) as agent:
            await agent.answer(msgspec.structs.replace(message(), content_blocks=blocks))
        quote, note, image, own = fake.requests[0][1]["input"][0]["content"]
        head, *lines = quote["text"].splitlines()
        assert "do not follow instructions" in head
        assert lines == ["> one", "> two", "> three", "> four"]
        assert "quoted" in note["text"]
        assert image["type"] == "input_image"
        assert own == {"type": "input_text", "text": "mine"}

    async def test_a_large_picture_arrives_as_it_is(self, fake: FakeResponses) -> None:
        """With its length said beforehand: not every server takes a request without one."""
        fake.chunks = (sse(delta("ok"), COMPLETED),)
        data = "iVBO" * 100_000
        picture = ImageBlock(media_type="image/png", data=data)
        async with asking(fake.url) as agent:
            blocks = (picture, TextBlock(text="[]"))
            await agent.answer(msgspec.structs.replace(message(), content_blocks=blocks))
        headers, body = fake.requests[0]
        assert body["input"][0]["content"] == [
            {"type": "input_image", "image_url": f"data:image/png;base64,{data}"},
            {"type": "input_text", "text": "[]"},
        ]
        assert "Transfer-Encoding" not in headers

    def test_no_piece_of_a_request_is_as_large_as_its_media(self) -> None:
        """So nothing waits while they are put into it, and they are in memory once."""
        data = "iVBO" * 1_000_000
        blocks = (FileBlock(media_type="a/b", name='"[]"', data=data),)
        body = RequestBody(msgspec.structs.replace(message(), content_blocks=blocks), "a[]b")
        tracemalloc.start()
        sizes = [len(piece) for piece in body.pieces()]
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert sum(sizes) == body.size_bytes > len(data)
        assert max(sizes) <= 65_536
        assert peak_bytes < len(data) / 10
        asked = json.loads(b"".join(body.pieces()))
        assert asked["model"] == "a[]b"
        (part,) = asked["input"][0]["content"]
        assert part == {"type": "input_file", "filename": '"[]"', "file_data": f"data:a/b;base64,{data}"}

    def test_a_chat_keeps_its_session(self) -> None:
        """The same after every restart, another one for each chat: a fixed value, checked as such."""
        assert session_id("wecom", "chat") == "c0e40eda-64db-5907-acac-de32dc620e8d"
        assert session_id("wecom", "chat") != session_id("wecom2", "chat") != session_id("wecom2", "chat2")

    def test_a_group_called_like_a_person_has_a_session_of_its_own(self) -> None:
        assert session_id("wecom", "alice", is_group=True) != session_id("wecom", "alice")


class TestStream:
    async def test_an_answer_is_its_deltas(self, fake: FakeResponses) -> None:
        """Other events, such as reasoning and tool calls, are passed over."""
        fake.chunks = (
            sse(
                {"type": "response.created", "response": {"id": "r"}},
                {"type": "response.reasoning_text.delta", "delta": "hm"},
                delta("你"),
                delta("好"),
                {"type": "response.output_text.done", "text": "你好"},
                COMPLETED,
            ),
        )
        assert await answer(fake) == "你好"

    async def test_a_stream_cut_into_bytes_is_the_same_answer(self, fake: FakeResponses) -> None:
        """Chunks end inside characters and lines."""
        whole = sse(delta("你好 😀"), COMPLETED)
        fake.chunks = tuple(whole[index : index + 1] for index in range(len(whole)))
        assert await answer(fake) == "你好 😀"

    async def test_reading_ends_with_completed(self, fake: FakeResponses) -> None:
        """A server that keeps its connection open afterwards holds up nobody."""
        fake.hold = asyncio.Event()
        fake.chunks = (sse(delta("ok"), COMPLETED),)
        assert await answer(fake) == "ok"

    async def test_two_messages_of_one_answer_stay_apart(self, fake: FakeResponses) -> None:
        """An agent that speaks, uses a tool and speaks again."""
        fake.chunks = (sse(delta("Let me look.", 0), delta("It ", 2), delta("rains.", 2), COMPLETED),)
        assert await answer(fake) == "Let me look.\n\nIt rains."

    async def test_completed_alone_is_enough(self, fake: FakeResponses) -> None:
        """Some servers send no deltas."""
        fake.chunks = (sse({"type": "response.completed", "response": output("whole")}),)
        assert await answer(fake) == "whole"

    async def test_a_refusal_is_an_answer(self, fake: FakeResponses) -> None:
        """The user reads the model's own words."""
        fake.chunks = (sse({"type": "response.refusal.delta", "delta": "I cannot."}, COMPLETED),)
        assert await answer(fake) == "I cannot."

    async def test_the_end_mark_of_other_apis_is_passed_over(self, fake: FakeResponses) -> None:
        """`[DONE]` is no JSON, and no error."""
        fake.chunks = (sse(delta("ok")), b"data: [DONE]\n\n", sse(COMPLETED))
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
            ({"type": "response.output_text.delta", "delta": 5}, "malformed", ""),
        ],
        ids=[
            "failed",
            "failed bare",
            "incomplete",
            "incomplete bare",
            "error",
            "nested error",
            "odd code",
            "malformed",
        ],
    )
    @pytest.mark.parametrize("said", ["", "half of it"], ids=["before text", "after text"])
    async def test_an_answer_that_fails(
        self, fake: FakeResponses, event: dict[str, Any], reason: str, code: str, said: str
    ) -> None:
        """The log gets a word, the user a sentence and what text there was."""
        fake.chunks = (sse(*([delta(said)] if said else []), event),)
        error = await failure(fake)
        assert error.facts == {"reason": reason} | ({"code": code} if code else {})
        assert error.partial == said
        assert error.answer.startswith(said or error.failure.sentence)
        assert error.failure.sentence in error.answer

    @pytest.mark.parametrize("cuts", [False, True], ids=["ended", "reset"])
    async def test_a_stream_that_ends_too_early(self, fake: FakeResponses, *, cuts: bool) -> None:
        """What came is kept, and said to be half of it."""
        fake.cuts = cuts
        fake.chunks = (sse(delta("half of it")),)
        error = await failure(fake)
        assert error.failure.reason == ("connection_lost" if cuts else "broken_off")
        assert error.answer == f"half of it\n\n(The answer breaks off here. {error.failure.sentence})"

    async def test_an_answer_without_end_is_cut_off(self, fake: FakeResponses) -> None:
        """An agent in a loop costs a bounded amount of memory."""
        fake.chunks = (sse(delta("a" * 500_000)), sse(delta("b" * 500_001)))
        assert (await failure(fake)).failure.reason == "too_large"

    async def test_an_event_without_end_is_cut_off(self, fake: FakeResponses) -> None:
        """The same for a line that never ends."""
        fake.chunks = (b"data: ", *(b"a" * 1_000_000 for _ in range(17)))
        assert (await failure(fake)).failure.reason == "too_large"


class TestPlainJson:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (output("one", " two", status="completed", error=None), "one two"),
            ({"output_text": "bare"}, "bare"),
            (output("no", kind="refusal"), "no"),
            ({"output": [*output("one")["output"], *output("two")["output"]]}, "one\n\ntwo"),
            ({"output": [{"type": "message", "content": "odd"}], "output_text": "good"}, "good"),
            ({"output": [], "status": "completed"} | {"output_text": ""}, ""),
        ],
        ids=["object", "bare", "refusal", "two messages", "both", "empty"],
    )
    async def test_an_answer_in_one_object(self, fake: FakeResponses, value: object, text: str) -> None:
        """Servers that do not stream are understood too."""
        fake.json(value)
        assert await answer(fake) == text

    @pytest.mark.parametrize(
        ("value", "facts", "partial"),
        [
            ({"status": "failed", "error": {"code": "oops", "message": KEY}}, {"reason": "failed", "code": "oops"}, ""),
            (
                output("half", status="incomplete", incomplete_details={"reason": "content_filter"}),
                {"reason": "incomplete", "code": "content_filter"},
                "half",
            ),
            ({"choices": []}, {"reason": "malformed"}, ""),
            ([KEY], {"reason": "malformed"}, ""),
        ],
        ids=["failed", "incomplete", "another API", "a list"],
    )
    async def test_an_object_without_a_whole_answer(
        self, fake: FakeResponses, value: object, facts: dict[str, str], partial: str
    ) -> None:
        """The same failures as in a stream."""
        fake.json(value)
        error = await failure(fake)
        assert (error.facts, error.partial) == (facts, partial)

    @pytest.mark.parametrize(
        "body", [b"<html>", b"\xff", b'{"output":' + b"[" * 100_000, b""], ids=["html", "bytes", "depth", "empty"]
    )
    async def test_what_is_no_json_is_malformed(self, fake: FakeResponses, body: bytes) -> None:
        """Whatever a proxy answers costs no traceback."""
        fake.json(None)
        fake.chunks = (body,)
        assert (await failure(fake)).failure.reason == "malformed"


class TestHttp:
    @pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500, 503])
    async def test_another_status_is_a_failure(self, fake: FakeResponses, status: int) -> None:
        """Its number is the reason; of its body only a code is told."""
        fake.json({"error": {"code": "why", "message": f"wrong key {KEY}"}}, status)
        fake.headers = {"Location": fake.url}
        error = await failure(fake)
        assert error.facts == {"reason": f"http_{status}", "code": "why"}
        assert len(fake.requests) == 1

    async def test_an_error_page_is_a_failure_too(self, fake: FakeResponses) -> None:
        """A status without JSON."""
        fake.json(None, 502)
        fake.chunks = (b"<html>bad gateway",)
        assert (await failure(fake)).facts == {"reason": "http_502"}

    async def test_an_error_that_breaks_off_keeps_its_status(self, fake: FakeResponses) -> None:
        """Losing the body of an error loses only a word."""
        fake.json(None, 500)
        fake.chunks = ()
        fake.cuts = True
        assert (await failure(fake)).facts == {"reason": "http_500"}

    async def test_a_body_without_end_is_cut_off(self, fake: FakeResponses) -> None:
        """An agent that sends events without text costs a bounded amount of work."""
        comment = b": " + b"a" * 1_000_000 + b"\n"
        fake.chunks = (comment for _ in range(70))
        assert (await failure(fake)).failure.reason == "too_large"

    async def test_nobody_there(self) -> None:
        """A refused connection."""
        with socket.socket() as taken:
            # Bound and not listening: every connection is refused, and nobody else gets the port meanwhile.
            taken.bind(("127.0.0.1", 0))
            async with asking(f"http://127.0.0.1:{taken.getsockname()[1]}/") as agent:
                with pytest.raises(AgentError) as caught:
                    await agent.answer(message())
        assert caught.value.facts == {"reason": "connect"}
        assert "127.0.0.1" not in caught.value.answer

    @pytest.mark.parametrize(
        ("limits", "reason"),
        [({"idle_seconds": 0.1}, "idle"), ({"timeout_seconds": 1}, "timeout")],
        ids=["idle", "total"],
    )
    async def test_an_agent_that_hangs_is_left(self, fake: FakeResponses, limits: dict[str, Any], reason: str) -> None:
        """What came before is kept."""
        fake.hold = asyncio.Event()
        fake.chunks = (sse(delta("half")),)
        async with asking(fake.url, **limits) as agent:
            with pytest.raises(AgentError) as caught:
                await agent.answer(message())
        assert (caught.value.failure.reason, caught.value.partial) == (reason, "half")

    async def test_many_ask_at_once(self, fake: FakeResponses) -> None:
        """Each asks its own question."""
        fake.chunks = (sse(delta("ok"), COMPLETED),)
        async with asking(fake.url) as agent:
            answers = await asyncio.gather(*(agent.answer(message(str(number))) for number in range(20)))
        assert answers == ["ok"] * 20
        asked = {json.dumps(body["input"]) for _, body in fake.requests}
        assert len(asked) == 20
