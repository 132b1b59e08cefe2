"""Tests for a plugin around the channel: it changes every message on its way in and every answer on its way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maven_channel_wecom.contract.messages import TextBlock
from maven_channel_wecom.simulator.messages import Image, Mixed, Text
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.deployment import Deployment
from tests.e2e.recording_agent import RecordingAgent
from tests.e2e.redactor import Redactor

if TYPE_CHECKING:
    from tests.e2e.watch import Watch

CARD = "4111 1111 1111 1111"
OTHER_CARD = "5500-0000-0000-0004"


async def test_a_card_number_does_not_reach_the_agent(watch: Watch) -> None:
    watch.register("a card number", CARD)
    agent = RecordingAgent(lambda _message: "thank you for that")
    async with Deployment(watch, agent=agent, plugins=[Redactor()]) as deployment:
        await deployment.ask(f"my card is {CARD}, charge it")
    assert agent.texts == ["my card is [card number], charge it"]
    assert agent.blocks == (TextBlock(text="my card is [card number], charge it"),)


async def test_every_text_block_is_redacted_and_images_are_kept(watch: Watch) -> None:
    agent = RecordingAgent(lambda _message: "thank you for that")
    async with Deployment(watch, agent=agent, plugins=[Redactor()]) as deployment:
        await deployment.ask(
            Mixed((Text(f"this one: {CARD}"), Image(draw_png(4, 4)))), quote=Text(f"which card? {OTHER_CARD}")
        )
    assert agent.blocks[0] == TextBlock(text="which card? [card number]", quoted=True)
    assert agent.blocks[1] == TextBlock(text="this one: [card number]")
    assert type(agent.blocks[2]).__name__ == "ImageBlock"


async def test_a_card_number_in_an_answer_does_not_reach_the_user(watch: Watch) -> None:
    watch.register("a card number", OTHER_CARD)
    agent = RecordingAgent(lambda _message: f"we have {OTHER_CARD} on file, and {CARD}")
    async with Deployment(watch, agent=agent, plugins=[Redactor()]) as deployment:
        sent = await deployment.send(Text("which cards do you know?"))
        assert (await sent.reply()).content == "we have [card number] on file, and [card number]"
        assert deployment.wecom.recorded.posts == {sent.message_id: 1}


async def test_a_message_without_a_card_number_is_unchanged(watch: Watch) -> None:
    """A number of nineteen digits is not a card number."""
    async with Deployment(watch, plugins=[Redactor()]) as deployment:
        assert await deployment.ask("order 1234567890123456789 please") == "order 1234567890123456789 please"


async def test_without_the_plugin_a_card_number_passes(watch: Watch) -> None:
    async with Deployment(watch) as deployment:
        assert await deployment.ask(f"my card is {CARD}") == f"my card is {CARD}"


async def test_a_wrapper_sees_the_receipt_of_every_answer(watch: Watch) -> None:
    async with Deployment(watch) as deployment:
        sent = await deployment.send(Text("audit this answer"))
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        assert (receipt.outcome, receipt.attempts) == ("delivered", 1)
        assert [message_id for message_id, _ in deployment.auditor.receipts] == [sent.message_id]
