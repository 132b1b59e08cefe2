"""Tests for every kind of message a user can send, from WeCom's callback to the agent and back."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, cast

import pytest

from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.contract.messages import FileBlock, ImageBlock, TextBlock, UnavailableBlock
from maven_channel_wecom.sentences import MESSAGE_EMPTY, VOICE_EMPTY, Sentence
from maven_channel_wecom.simulator.messages import File, Image, Mixed, Text, Video, Voice
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.deployment import Deployment
from tests.e2e.recording_agent import RecordingAgent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from maven_channel_wecom.contract.messages import ContentBlock
    from maven_channel_wecom.simulator.messages import Message
    from tests.e2e.watch import Watch

PNG = draw_png(24, 16)
PDF = b"%PDF-1.7\n" + bytes(range(256))
FILE_BYTES = 10 * 1024 * 1024


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def test_the_url_check_passes_and_is_counted_as_verify(watch: Watch) -> None:
    """WeCom's console sends this check when the callback URL is saved."""
    async with Deployment(watch) as deployment:
        assert (await deployment.wecom.check_url()).passed
        assert await deployment.metric("callbacks_total", kind="verify", outcome="accepted") == 1
        assert await deployment.metric("callbacks_total", kind="message", outcome="accepted") == 0
        assert watch.logged("wecom callback url checked") == [{"channel": "wecom"}]


async def test_every_sealed_answer_carries_the_receive_id(watch: Watch) -> None:
    """The simulator records an offence if the acknowledgement carries another one."""
    async with Deployment(watch, receive_id="ww1234567890") as deployment:
        assert (await deployment.wecom.check_url()).passed
        assert await deployment.ask("for this receiver only") == "for this receiver only"


async def test_a_text_reaches_the_agent_and_its_answer_the_user(watch: Watch) -> None:
    agent = RecordingAgent(lambda _message: "the train leaves at **nine**")
    async with Deployment(watch, agent=agent) as deployment:
        sent = await deployment.send(Text("when does the train leave?"), user="zhangsan")
        assert (await sent.reply()).content == "the train leaves at **nine**"
        assert sent.acknowledgement == b'"success"'
    (message,) = agent.messages
    assert (message.channel, message.sender_id, message.chat_id) == ("wecom", "zhangsan", "zhangsan")
    assert message.message_id == sent.message_id
    assert message.content == "when does the train leave?"
    assert message.content_blocks == (TextBlock(text="when does the train leave?"),)
    assert message.transport_meta["chat_type"] == "single"


async def test_a_text_in_a_group_has_the_group_as_its_chat(watch: Watch) -> None:
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent) as deployment:
        assert await deployment.ask("hello to the group", user="lisi", group="wrGroup") == "hello to the group"
    assert (agent.messages[0].sender_id, agent.messages[0].chat_id) == ("lisi", "wrGroup")
    assert agent.messages[0].transport_meta["chat_type"] == "group"


async def test_text_in_any_script_is_echoed_unchanged(watch: Watch) -> None:
    """A reply is raw UTF-8, because WeCom refuses unicode escapes."""
    words = '你好，世界 🧑‍🔬 "quoted" \\u4f60 <b>&amp;</b>\n\tشكرا'
    async with Deployment(watch) as deployment:
        assert await deployment.ask(words) == words


async def test_a_voice_message_becomes_a_text_block_with_its_transcript(watch: Watch) -> None:
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent) as deployment:
        assert await deployment.ask(Voice("remind me about the tickets")) == "remind me about the tickets"
        await deployment.wait_until_idle()
        assert await deployment.metric("inbound_messages_total", type="voice", outcome="published") == 1
    assert agent.blocks == (TextBlock(text="remind me about the tickets"),)


async def test_an_image_is_decrypted_and_typed_by_its_content(watch: Watch) -> None:
    """The file name claims another type."""
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent) as deployment:
        answer = await deployment.ask(Image(PNG, name="photo.jpg"))
        assert await deployment.metric("media_fetches_total", outcome="opened") == 1
    assert agent.blocks == (ImageBlock(media_type="image/png", data=base64_of(PNG)),)
    assert answer == f"[image image/png, {len(PNG)} bytes]"


async def test_a_mixed_message_keeps_its_texts_and_images_in_order(watch: Watch) -> None:
    agent = RecordingAgent()
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
    assert agent.messages[0].content == "left is before\nright is after"


@pytest.mark.parametrize(
    ("content", "name", "media_type"),
    [(PDF, "年度报告 2026.pdf", "application/pdf"), (b"name,price\n" * 30, "prices.csv", "text/csv")],
    ids=["known bytes", "known name"],
)
async def test_a_file_becomes_a_block_with_name_and_type(
    watch: Watch, content: bytes, name: str, media_type: str
) -> None:
    """The name comes from the header of the download, the type from its content."""
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent) as deployment:
        await deployment.ask(File(content, name))
    assert agent.blocks == (FileBlock(media_type=media_type, name=name, data=base64_of(content)),)


@pytest.mark.parametrize("extra_bytes", [0, 1], ids=["exactly 10 MiB", "one byte more"])
async def test_a_file_of_ten_mebibytes_is_accepted_and_a_larger_one_unavailable(watch: Watch, extra_bytes: int) -> None:
    agent = RecordingAgent(lambda _message: "received, thank you")
    content = PDF + bytes(FILE_BYTES + extra_bytes - len(PDF))
    async with Deployment(watch, agent=agent) as deployment:
        assert await deployment.ask(File(content, "big-plans.pdf")) == "received, thank you"
    (block,) = agent.blocks
    if extra_bytes:
        assert block == UnavailableBlock(kind="file", reason="too_large")
    else:
        assert isinstance(block, FileBlock)
        assert len(base64.b64decode(block.data)) == FILE_BYTES


async def test_a_video_is_unavailable_and_not_fetched(watch: Watch) -> None:
    agent = RecordingAgent()
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
async def test_a_quote_becomes_marked_blocks_before_the_message(
    watch: Watch, quote: Text | Voice | Image | File | Video | Mixed, quoted: tuple[ContentBlock, ...]
) -> None:
    """The content of the message is the user's own text only."""
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent) as deployment:
        await deployment.ask("is this still true?", quote=quote)
    (message,) = agent.messages
    assert message.content == "is this still true?"
    assert message.content_blocks == (*quoted, TextBlock(text="is this still true?"))


async def test_the_echo_agent_shows_a_quote_as_a_markdown_quotation(watch: Watch) -> None:
    async with Deployment(watch) as deployment:
        answer = await deployment.ask("which one?", quote=Text("first line of it\nsecond line of it"))
    assert answer == "> first line of it\n> second line of it\n\nwhich one?"


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (Voice(""), VOICE_EMPTY),
        (Voice(" \n"), VOICE_EMPTY),
        (Text(" "), MESSAGE_EMPTY),
        (Text("\u200b"), MESSAGE_EMPTY),
    ],
    ids=["empty voice", "blank voice", "blank text", "invisible text"],
)
async def test_a_message_with_nothing_to_read_is_explained_and_the_agent_not_asked(
    watch: Watch, message: Message, sentence: Sentence
) -> None:
    """Chinese at first, then the language that the person last wrote in."""
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent) as deployment:
        assert await deployment.ask(message) == sentence.zh
        await deployment.ask("something to read")
        assert await deployment.ask(message) == sentence.en
        await deployment.wait_until_idle()
        assert await deployment.metric("explanations_total", reason="empty_message") == 2
    assert agent.texts == ["something to read"]
    assert [fields["reason"] for fields in watch.logged("wecom explanation sent")] == ["empty_message"] * 2


async def test_a_message_that_a_plugin_withholds_is_not_explained(watch: Watch) -> None:
    class Censor:
        @hookimpl(wrapper=True)
        def maven_inbound_normalize(self) -> Generator[None, object, Awaitable[None]]:
            normalizing = yield

            async def withhold() -> None:
                await cast("Awaitable[object]", normalizing)

            return withhold()

    async with Deployment(watch, agent=RecordingAgent(), plugins=[Censor()]) as deployment:
        await deployment.send(Text("not for the agent"))
        await deployment.wait_until_idle()
        assert deployment.wecom.recorded.posts == {}
        assert await deployment.metric("inbound_messages_total", type="text", outcome="unsupported") == 1


@pytest.mark.parametrize(("language", "sentence"), [("zh", VOICE_EMPTY.zh), ("en", VOICE_EMPTY.en)])
async def test_with_a_fixed_language_everybody_reads_it(watch: Watch, language: str, sentence: str) -> None:
    async with Deployment(watch, {"language": language}) as deployment:
        await deployment.ask("hello, 你好")
        assert await deployment.ask(Voice("")) == sentence
