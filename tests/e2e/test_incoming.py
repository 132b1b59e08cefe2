"""Everything a user can send, from WeCom's callback to the agent and back."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.contract.messages import FileBlock, ImageBlock, TextBlock, UnavailableBlock
from maven_channel_wecom.simulator.messages import File, Image, Mixed, Text, Video, Voice
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.agents import Listener
from tests.e2e.deployment import Deployment

if TYPE_CHECKING:
    from maven_channel_wecom.contract.messages import ContentBlock
    from tests.e2e.watch import Watch

PNG = draw_png(24, 16)
PDF = b"%PDF-1.7\n" + bytes(range(256))
FILE_BYTES = 10 * 1024 * 1024


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def test_the_console_can_save_the_callback_url(watch: Watch) -> None:
    """The bare plaintext within a second, counted as a check and not as a message."""
    async with Deployment(watch) as deployment:
        assert (await deployment.wecom.check_url()).passed
        assert await deployment.metric("callbacks_total", kind="verify", outcome="accepted") == 1
        assert await deployment.metric("callbacks_total", kind="message", outcome="accepted") == 0
        assert watch.logged("wecom callback url checked") == [{"channel": "wecom"}]


async def test_a_receive_id_is_given_back_in_every_answer(watch: Watch) -> None:
    """The simulator complains when the acknowledgement carries another one."""
    async with Deployment(watch, receive_id="ww1234567890") as deployment:
        assert (await deployment.wecom.check_url()).passed
        assert await deployment.ask("for this receiver only") == "for this receiver only"


async def test_a_text_reaches_the_agent_and_its_answer_the_user(watch: Watch) -> None:
    """With sender, chat and id; the acknowledgement is the sealed word of the original."""
    agent = Listener(lambda _message: "the train leaves at **nine**")
    async with Deployment(watch, agent=agent) as deployment:
        sent = await deployment.send(Text("when does the train leave?"), user="zhangsan")
        assert (await sent.reply()).content == "the train leaves at **nine**"
        assert sent.acknowledgement == b'"success"'
    (message,) = agent.heard
    assert (message.channel, message.sender_id, message.chat_id) == ("wecom", "zhangsan", "zhangsan")
    assert message.message_id == sent.message_id
    assert message.content == "when does the train leave?"
    assert message.content_blocks == (TextBlock(text="when does the train leave?"),)
    assert message.transport_meta["chat_type"] == "single"


async def test_a_text_in_a_group_belongs_to_the_chat_of_the_group(watch: Watch) -> None:
    """The sender stays who wrote it."""
    agent = Listener()
    async with Deployment(watch, agent=agent) as deployment:
        assert await deployment.ask("hello everybody here", user="lisi", group="wrGroup") == "hello everybody here"
    assert (agent.heard[0].sender_id, agent.heard[0].chat_id) == ("lisi", "wrGroup")
    assert agent.heard[0].transport_meta["chat_type"] == "group"


async def test_text_of_every_script_comes_back_unchanged(watch: Watch) -> None:
    """Raw UTF-8 all the way: WeCom refuses unicode escapes."""
    words = '你好，世界 🧑‍🔬 "quoted" \\u4f60 <b>&amp;</b>\n\tشكرا'
    async with Deployment(watch) as deployment:
        assert await deployment.ask(words) == words


async def test_a_voice_message_is_its_transcript(watch: Watch) -> None:
    """A text block like any other."""
    agent = Listener()
    async with Deployment(watch, agent=agent) as deployment:
        assert await deployment.ask(Voice("remind me about the tickets")) == "remind me about the tickets"
        await deployment.settled()
        assert await deployment.metric("inbound_messages_total", type="voice", outcome="published") == 1
    assert agent.blocks == (TextBlock(text="remind me about the tickets"),)


async def test_an_image_is_decrypted_and_typed_by_its_bytes(watch: Watch) -> None:
    """Whatever the name in the header of the download claims."""
    agent = Listener()
    async with Deployment(watch, agent=agent) as deployment:
        answer = await deployment.ask(Image(PNG, name="photo.jpg"))
        assert await deployment.metric("media_fetches_total", outcome="opened") == 1
    assert agent.blocks == (ImageBlock(media_type="image/png", data=base64_of(PNG)),)
    assert answer == f"[image image/png, {len(PNG)} bytes]"


async def test_a_mixed_message_keeps_its_texts_in_order_and_its_images(watch: Watch) -> None:
    """All of it in one message, as it was sent."""
    agent = Listener()
    other = draw_png(8, 8)
    async with Deployment(watch, agent=agent) as deployment:
        await deployment.ask(
            Mixed((Text("left is before"), Image(PNG), Text("right is after"), Image(other))), group="g"
        )
    assert agent.blocks == (
        TextBlock(text="left is before"),
        ImageBlock(media_type="image/png", data=base64_of(PNG)),
        TextBlock(text="right is after"),
        ImageBlock(media_type="image/png", data=base64_of(other)),
    )
    assert agent.heard[0].content == "left is before\nright is after"


@pytest.mark.parametrize(
    ("content", "name", "media_type"),
    [(PDF, "年度报告 2026.pdf", "application/pdf"), (b"name,price\n" * 30, "prices.csv", "application/octet-stream")],
    ids=["known bytes", "unknown bytes"],
)
async def test_a_file_is_a_block_with_name_and_type(watch: Watch, content: bytes, name: str, media_type: str) -> None:
    """The name comes from the header of the download, the type from the bytes."""
    agent = Listener()
    async with Deployment(watch, agent=agent) as deployment:
        await deployment.ask(File(content, name))
    assert agent.blocks == (FileBlock(media_type=media_type, name=name, data=base64_of(content)),)


@pytest.mark.parametrize("extra_bytes", [0, 1], ids=["exactly 10 MiB", "one byte more"])
async def test_a_file_may_have_ten_mebibytes(watch: Watch, extra_bytes: int) -> None:
    """One byte more and the agent is told that there was a file."""
    agent = Listener(lambda _message: "received, thank you")
    content = PDF + bytes(FILE_BYTES + extra_bytes - len(PDF))
    async with Deployment(watch, agent=agent) as deployment:
        assert await deployment.ask(File(content, "big-plans.pdf")) == "received, thank you"
    (block,) = agent.blocks
    if extra_bytes:
        assert block == UnavailableBlock(kind="file", reason="too_large")
    else:
        assert isinstance(block, FileBlock)
        assert len(base64.b64decode(block.data)) == FILE_BYTES


async def test_a_video_is_said_to_be_unavailable(watch: Watch) -> None:
    """It is not even fetched, and the user is answered."""
    agent = Listener()
    async with Deployment(watch, agent=agent) as deployment:
        assert await deployment.ask(Video(bytes(4096))) == "[video unavailable: unsupported]"
        assert deployment.wecom.recorded.media_requests == {}
    assert agent.blocks == (UnavailableBlock(kind="video", reason="unsupported"),)


@pytest.mark.parametrize(
    ("quote", "quoted"),
    [
        (Text("the meeting is on Friday"), (TextBlock(text="the meeting is on Friday", quoted=True),)),
        (Voice("call me back tonight"), (TextBlock(text="call me back tonight", quoted=True),)),
        (Image(PNG), (ImageBlock(media_type="image/png", data=base64_of(PNG), quoted=True),)),
        (
            File(PDF, "contract-draft.pdf"),
            (FileBlock(media_type="application/pdf", name="contract-draft.pdf", data=base64_of(PDF), quoted=True),),
        ),
        (Video(bytes(64)), (UnavailableBlock(kind="video", reason="unsupported", quoted=True),)),
        (
            Mixed((Text("see the plan"), Image(PNG))),
            (
                TextBlock(text="see the plan", quoted=True),
                ImageBlock(media_type="image/png", data=base64_of(PNG), quoted=True),
            ),
        ),
    ],
    ids=["text", "voice", "image", "file", "video", "mixed"],
)
async def test_a_quote_comes_as_blocks_that_are_marked(
    watch: Watch, quote: Text | Voice | Image | File | Video | Mixed, quoted: tuple[ContentBlock, ...]
) -> None:
    """First what was quoted, then the user's own words, which alone are the content."""
    agent = Listener()
    async with Deployment(watch, agent=agent) as deployment:
        await deployment.ask("is this still true?", quote=quote)
    (message,) = agent.heard
    assert message.content == "is this still true?"
    assert message.content_blocks == (*quoted, TextBlock(text="is this still true?"))


async def test_the_echo_shows_a_quote_apart_from_the_words(watch: Watch) -> None:
    """As a markdown quotation above them."""
    async with Deployment(watch) as deployment:
        answer = await deployment.ask("which one?", quote=Text("first line of it\nsecond line of it"))
    assert answer == "> first line of it\n> second line of it\n\nwhich one?"
