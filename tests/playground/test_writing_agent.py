"""The agent of the playground."""

from __future__ import annotations

import base64
from typing import Any

import aiohttp
import pytest

from maven_channel_wecom.playground.sample_picture import sample_picture
from maven_channel_wecom.playground.writing_agent import WritingAgent, answer, language_of, pieces


def text(words: str) -> dict[str, Any]:
    return {"type": "input_text", "text": words}


def data(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def test_it_repeats_a_text_in_its_language() -> None:
    assert answer([text("two\nlines")], "en").startswith("You wrote:\n\n> two\n> lines\n\nI am only a demo agent")
    assert answer([text("两行")], "zh").startswith("你写道：\n\n> 两行\n\n我只是一个演示智能体")


def test_without_a_text_it_answers_in_the_last_language() -> None:
    assert language_of([text("你好 world")], "en") == "zh"
    assert language_of([text("hello")], "zh") == "en"
    assert language_of([text("[Message from a]"), {"type": "input_image", "image_url": ""}], "zh") == "zh"
    assert language_of([{"type": "input_file", "filename": "报告.pdf"}], "en") == "zh"


def test_it_names_the_picture_and_the_file_it_got() -> None:
    picture = {"type": "input_image", "image_url": data("image/png", sample_picture())}
    file = {"type": "input_file", "filename": "a.txt", "file_data": data("text/plain", b"abc")}
    answered = answer([text("see"), picture, file], "en")
    assert f"- a picture: `image/png`, **320 × 200** pixels, {len(sample_picture()):,} bytes" in answered
    assert "- the file **a.txt**: `text/plain`, 3 bytes" in answered
    assert "- a picture: `image/gif`, 3 bytes" in answer(
        [{"type": "input_image", "image_url": data("image/gif", b"GIF")}], "en"
    )


def test_it_repeats_a_quote_apart() -> None:
    answered = answer([text("The user quoted the lines below.\n> old"), text("new")], "en")
    assert answered.startswith("You quoted:\n\n> old\n\nYou wrote:\n\n> new")


@pytest.mark.parametrize(
    ("words", "expected"), [("Hello", "demo agent"), ("你好", "演示智能体"), ("Markdown?", "| text |")]
)
def test_it_says_what_it_can_do_and_shows_markdown(words: str, expected: str) -> None:
    assert expected in answer([text(words)], "zh" if words == "你好" else "en")


@pytest.mark.parametrize("whole", ["one two\n\n- three", "你好，world 再见", ""])
def test_the_pieces_are_the_whole_text(whole: str) -> None:
    assert "".join(pieces(whole)) == whole
    assert all(len(piece) <= 8 for piece in pieces(whole))


async def test_it_answers_the_last_message_of_a_request() -> None:
    async with WritingAgent(writing_seconds=0.0) as agent, aiohttp.ClientSession() as session:
        request = {"input": [{"role": "user", "content": [text(words)]} for words in ("abc", "def")]}
        async with session.post(agent.url, json=request) as response:
            events = await response.text()
    assert events.count("event: response.output_text.delta\n") == len(pieces(answer([text("def")], "en")))
    assert '"delta": "def' in events
    assert "abc" not in events


def test_it_does_not_repeat_the_hosts_line_about_who_wrote() -> None:
    assert "You wrote:\n\n> good morning, Bob" in answer([text("[Message from member-1a2b]\ngood morning, Bob")], "en")
    assert "Message from" not in answer([text("[Message from member-1a2b]"), text("good morning, Bob")], "en")
