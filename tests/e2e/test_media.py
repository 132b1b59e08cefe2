"""Media that cannot be had or opened: the agent is told, a warning says why, and the user is still answered."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.contract.messages import FileBlock, ImageBlock, UnavailableBlock
from maven_channel_wecom.policy.media_blocks import BLOCK_BYTES
from maven_channel_wecom.simulator.faults import CutBody, ResetBeforeReading, Stall, Status
from maven_channel_wecom.simulator.media_faults import Endless, Expired, Garbage, Plain, WrongKey, WrongLength
from maven_channel_wecom.simulator.messages import File, Image, ImageById, Mixed, Text
from maven_channel_wecom.simulator.picture import draw_png
from maven_channel_wecom.telemetry.trail import trail_id
from tests.e2e.agents import Listener
from tests.e2e.deployment import Deployment
from tests.e2e.hand_clock import HandClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from maven_channel_wecom.contract.messages import InboundMessage
    from maven_channel_wecom.simulator.media_faults import MediaFault
    from tests.e2e.watch import Watch

PNG = draw_png(24, 16)

BROKEN: dict[str, tuple[tuple[MediaFault, ...], str]] = {
    "another key": ((WrongKey(),), "undecipherable"),
    "noise of a plausible length": ((Garbage(1024),), "undecipherable"),
    "noise of no plausible length": ((Garbage(1001),), "undecipherable"),
    "a byte too few": ((WrongLength(),), "undecipherable"),
    "nothing at all": ((Garbage(0),), "undecipherable"),
    "expired": ((Expired(),), "http_status"),
    "not found": ((Status(404),), "http_status"),
    "busy three times": ((Status(503), Status(503), Status(503)), "http_status"),
    "reset three times": ((ResetBeforeReading(), ResetBeforeReading(), ResetBeforeReading()), "reset"),
    "cut short three times": ((CutBody(), CutBody(), CutBody()), "reset"),
    "bytes without end": ((Endless(),), "too_large"),
}


class Procrastinator:
    """Lets a media URL grow old before the fetch begins."""

    def __init__(self, clock: HandClock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds

    @hookimpl(wrapper=True)
    def maven_inbound_normalize(
        self,
    ) -> Generator[None, Awaitable[InboundMessage | None], Awaitable[InboundMessage | None]]:
        normalizing = yield
        self._clock.pass_seconds(self._seconds)
        return normalizing


@pytest.mark.parametrize(("faults", "reason"), BROKEN.values(), ids=list(BROKEN))
async def test_an_image_that_cannot_be_had_is_said_so_and_answered(
    watch: Watch, faults: tuple[MediaFault, ...], reason: str
) -> None:
    """An `unavailable` block for the agent, a warning for the operator, an answer for the user."""
    agent = Listener()
    async with Deployment(watch, agent=agent, clock=HandClock()) as deployment:
        message_id = deployment.wecom.new_message_id()
        deployment.wecom.media_faults.add(*faults, message_id=message_id)
        answer = await deployment.ask(Image(PNG), message_id=message_id)
        assert await deployment.metric("media_fetches_total", outcome=reason) == 1
        assert deployment.wecom.recorded.media_requests[message_id] == len(faults)
    assert agent.blocks == (UnavailableBlock(kind="image", reason=reason),)
    assert answer == f"[image unavailable: {reason}]"
    assert watch.logged("wecom media unavailable") == [
        {"channel": "wecom", "trail": trail_id("wecom", message_id), "kind": "image", "reason": reason}
    ]
    assert any("WARNING wecom media unavailable" in line for line in watch.lines)


async def test_pictures_wait_while_those_in_hand_leave_no_room(watch: Watch) -> None:
    """Words do not; and when the first picture has been answered, the second one is fetched."""
    agent = Listener()
    gate = agent.hold("holds its picture")
    async with Deployment(watch, {"mediaLimitBytes": BLOCK_BYTES}, agent=agent) as deployment:
        first = await deployment.send(Mixed((Text("holds its picture"), Image(PNG))), user="alice")
        await agent.hears("holds its picture")
        assert await deployment.metric("media_bytes") == len(base64.b64encode(PNG))
        second = await deployment.send(Mixed((Text("waits"), Image(PNG))), user="bob")
        assert await deployment.ask(Text("only words"), user="carol") == "only words"
        assert agent.words == ["holds its picture", "only words"]
        gate.set()
        await first.reply()
        await second.reply()
        await deployment.settled()
        assert await deployment.metric("media_bytes") == 0
        assert await deployment.metric("media_fetches_total", outcome="opened") == 2


@pytest.mark.parametrize("fault", [Status(503), ResetBeforeReading(), CutBody()], ids=["busy", "reset", "cut"])
async def test_a_hiccup_of_the_storage_is_tried_again(watch: Watch, fault: MediaFault) -> None:
    """Twice wrong and then right is an image like any other."""
    clock = HandClock()
    async with Deployment(watch, clock=clock) as deployment:
        deployment.wecom.media_faults.add(fault, fault)
        assert await deployment.ask(Image(PNG)) == f"[image image/png, {len(PNG)} bytes]"
    assert clock.slept == [0.25, 1.0]


async def test_a_plain_image_is_taken_as_it_is(watch: Watch) -> None:
    """Bytes with a known beginning need no key."""
    agent = Listener()
    async with Deployment(watch, agent=agent) as deployment:
        deployment.wecom.media_faults.add(Plain())
        await deployment.ask(Image(PNG))
    assert agent.blocks == (ImageBlock(media_type="image/png", data=base64.b64encode(PNG).decode()),)


async def test_an_image_that_is_something_else_is_unavailable(watch: Watch) -> None:
    """A model that is promised an image gets one."""
    async with Deployment(watch) as deployment:
        assert await deployment.ask(Image(b"%PDF-1.7\n" + bytes(64))) == "[image unavailable: not_an_image]"


async def test_a_file_under_another_key_is_not_passed_on_encrypted(watch: Watch) -> None:
    """What does not open is unavailable."""
    agent = Listener()
    async with Deployment(watch, agent=agent) as deployment:
        deployment.wecom.media_faults.add(Garbage(1001))
        await deployment.ask(File(b"some words in a file", "notes-of-mine.txt"))
    assert agent.blocks == (UnavailableBlock(kind="file", reason="undecipherable"),)


async def test_one_lost_image_does_not_cost_the_rest_of_a_message(watch: Watch) -> None:
    """Texts and the other image stay, in their places."""
    agent = Listener()
    async with Deployment(watch, agent=agent) as deployment:
        deployment.wecom.media_faults.add(Expired())
        await deployment.ask(Mixed((Image(PNG), Text("compare the two"), Image(PNG))))
    assert sorted(type(block).__name__ for block in agent.blocks) == ["ImageBlock", "TextBlock", "UnavailableBlock"]
    assert agent.words == ["compare the two"]


async def test_a_media_id_without_a_url_is_unavailable_and_the_log_says_why(watch: Watch) -> None:
    """There is nothing to fetch it with."""
    agent = Listener()
    async with Deployment(watch, agent=agent) as deployment:
        assert await deployment.ask(ImageById("MEDIA-ID-1")) == "[image unavailable: no_url]"
    assert agent.blocks == (UnavailableBlock(kind="image", reason="no_url"),)
    (fields,) = watch.logged("wecom media unavailable")
    assert fields["reason"] == "no_url"
    assert "media_id" in str(fields["detail"])
    assert "access token" in str(fields["detail"])


async def test_an_item_with_a_key_of_its_own_is_opened_with_it(watch: Watch) -> None:
    """Undocumented for callbacks, seen in the field; the bot's key does not open it."""
    agent = Listener()
    async with Deployment(watch, agent=agent) as deployment:
        deployment.wecom.media_faults.add(WrongKey())
        stranger = bytes(byte ^ 0xFF for byte in deployment.wecom.credentials.key)
        watch.keep("a media key", base64.b64encode(stranger).decode())
        stored = await deployment.send(File(b"%PDF-1.7\n own key", "own-key.pdf"), message_id="first")
        await stored.reply()
        deployment.wecom.media_faults.add(WrongKey())
        callback = json.loads(stored.plaintext) | {"msgid": "second"}
        # The first message was answered, and nobody answers the second.
        del callback["response_url"]
        callback["file"]["aeskey"] = base64.b64encode(stranger).decode()
        await deployment.wecom.send_plaintext(json.dumps(callback).encode(), message_id="second")
        await deployment.auditor.receipt_for("second")
    (block,) = agent.blocks
    assert isinstance(block, FileBlock)
    assert base64.b64decode(block.data) == b"%PDF-1.7\n own key"


async def test_a_download_that_stalls_ends_with_the_life_of_its_url(watch: Watch) -> None:
    """Five minutes after the callback nothing more can come, so no fetch waits longer."""
    clock = HandClock()
    async with Deployment(watch, clock=clock, plugins=[Procrastinator(clock, 299.8)]) as deployment:
        deployment.wecom.media_faults.add(Stall())
        assert await deployment.ask(Image(PNG)) == "[image unavailable: timeout]"


async def test_a_url_that_is_too_old_is_not_asked(watch: Watch) -> None:
    """Its signature has expired."""
    clock = HandClock()
    async with Deployment(watch, clock=clock, plugins=[Procrastinator(clock, 301)]) as deployment:
        assert await deployment.ask(Image(PNG)) == "[image unavailable: expired]"
        assert deployment.wecom.recorded.media_requests == {}
