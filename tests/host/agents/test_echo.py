"""The agent that repeats each message."""

from __future__ import annotations

import base64

import msgspec
import pytest

from maven_channel_wecom.contract.messages import ContentBlock, FileBlock, ImageBlock, TextBlock, UnavailableBlock
from maven_channel_wecom.host.agents.echo import EchoAgent
from tests.host.fake_channel import message, turn


def b64(size: int) -> str:
    return base64.b64encode(b"x" * size).decode()


@pytest.mark.parametrize(
    ("blocks", "answer"),
    [
        ((TextBlock(text="hello\nthere"),), "hello\nthere"),
        ((ImageBlock(media_type="image/png", data=b64(1234)),), "[image image/png, 1234 bytes]"),
        ((ImageBlock(media_type="image/png", data=b64(1235)),), "[image image/png, 1235 bytes]"),
        ((ImageBlock(media_type="image/png", data=""),), "[image image/png, 0 bytes]"),
        (
            (FileBlock(media_type="application/pdf", name="report.pdf", data=b64(1236)),),
            "[file report.pdf application/pdf, 1236 bytes]",
        ),
        ((FileBlock(media_type="application/pdf", name="", data=b64(1)),), "[file application/pdf, 1 bytes]"),
        ((UnavailableBlock(kind="video", reason="unsupported"),), "[video unavailable: unsupported]"),
        (
            (
                TextBlock(text="old\nwords", quoted=True),
                ImageBlock(media_type="image/png", data=b64(2), quoted=True),
                TextBlock(text="mine"),
            ),
            "> old\n> words\n> [image image/png, 2 bytes]\n\nmine",
        ),
        ((), "content"),
    ],
    ids=["text", "image", "padded", "empty", "file", "nameless", "unavailable", "quote", "no blocks"],
)
async def test_text_is_repeated_and_every_other_block_becomes_one_line(
    blocks: tuple[ContentBlock, ...], answer: str
) -> None:
    incoming = msgspec.structs.replace(message("content"), content_blocks=blocks)
    agent = EchoAgent()
    assert (await agent.answer(turn(incoming))).text == answer
    await agent.close()
