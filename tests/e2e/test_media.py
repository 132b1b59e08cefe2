"""Tests for media that cannot be downloaded or decrypted: the agent is told, a warning logged, the user answered."""

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
from tests.e2e.deployment import Deployment
from tests.e2e.manual_clock import ManualClock
from tests.e2e.recording_agent import RecordingAgent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from maven_channel_wecom.contract.messages import InboundMessage
    from maven_channel_wecom.simulator.media_faults import MediaFault
    from tests.e2e.watch import Watch

PNG = draw_png(24, 16)

FAILURES: dict[str, tuple[tuple[MediaFault, ...], str]] = {
    "another key": ((WrongKey(),), "undecipherable"),
    "noise of a plausible length": ((Garbage(1024),), "undecipherable"),
    "noise of no plausible length": ((Garbage(1001),), "undecipherable"),
    "one byte missing": ((WrongLength(),), "undecipherable"),
    "nothing at all": ((Garbage(0),), "undecipherable"),
    "expired": ((Expired(),), "http_status"),
    "not found": ((Status(404),), "http_status"),
    "busy three times": ((Status(503), Status(503), Status(503)), "http_status"),
    "reset three times": ((ResetBeforeReading(), ResetBeforeReading(), ResetBeforeReading()), "reset"),
    "cut short three times": ((CutBody(), CutBody(), CutBody()), "reset"),
    "bytes without end": ((Endless(),), "too_large"),
}


class FetchDelay:
    """Plugin that advances the clock before the media of a message are fetched."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds

    @hookimpl(wrapper=True)
    def maven_inbound_normalize(
        self,
    ) -> Generator[None, Awaitable[InboundMessage | None], Awaitable[InboundMessage | None]]:
        normalizing = yield
        self._clock.pass_seconds(self._seconds)
        return normalizing


@pytest.mark.parametrize(("faults", "reason"), FAILURES.values(), ids=list(FAILURES))
async def test_an_image_that_cannot_be_fetched_or_decrypted_is_unavailable(
    watch: Watch, faults: tuple[MediaFault, ...], reason: str
) -> None:
    """The agent receives an `unavailable` block, the log a warning, the user an answer."""
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent, clock=ManualClock()) as deployment:
        message_id = deployment.wecom.new_message_id()
        deployment.wecom.media_faults.add(*faults, message_id=message_id)
        answer = await deployment.ask(Image(PNG), message_id=message_id)
        assert await deployment.metric("media_fetches_total", outcome=reason) == 1
        assert deployment.wecom.recorded.media_requests[message_id] == len(faults)
    assert agent.blocks == (UnavailableBlock(kind="image", reason=reason),)
    assert answer == f"[image unavailable: {reason}]"
    (line,) = watch.logged("wecom media unavailable")
    assert ("detail" in line) == (faults == (Garbage(0),) or reason != "undecipherable")
    expected = {"channel": "wecom", "trail": trail_id("wecom", message_id), "kind": "image", "reason": reason}
    assert {**line, "detail": ""} == {**expected, "detail": ""}
    assert any("WARNING wecom media unavailable" in line for line in watch.lines)


async def test_media_wait_while_the_media_budget_is_used_up(watch: Watch) -> None:
    """A message without media does not wait. The second image is fetched when the first has been answered."""
    agent = RecordingAgent()
    gate = agent.hold("keeps its image")
    async with Deployment(watch, {"mediaLimitBytes": BLOCK_BYTES}, agent=agent) as deployment:
        first = await deployment.send(Mixed((Text("keeps its image"), Image(PNG))), user="alice")
        await agent.received("keeps its image")
        assert await deployment.metric("media_bytes") == len(base64.b64encode(PNG))
        second = await deployment.send(Mixed((Text("waits"), Image(PNG))), user="bob")
        assert await deployment.ask(Text("only words"), user="carol") == "only words"
        assert agent.texts == ["keeps its image", "only words"]
        gate.set()
        await first.reply()
        await second.reply()
        await deployment.wait_until_idle()
        assert await deployment.metric("media_bytes") == 0
        assert await deployment.metric("media_fetches_total", outcome="opened") == 2


@pytest.mark.parametrize("fault", [Status(503), ResetBeforeReading(), CutBody()], ids=["busy", "reset", "cut"])
async def test_a_transient_download_failure_is_retried(watch: Watch, fault: MediaFault) -> None:
    clock = ManualClock()
    async with Deployment(watch, clock=clock) as deployment:
        deployment.wecom.media_faults.add(fault, fault)
        assert await deployment.ask(Image(PNG)) == f"[image image/png, {len(PNG)} bytes]"
    assert clock.slept == [0.25, 1.0]


async def test_an_unencrypted_image_is_accepted(watch: Watch) -> None:
    """Content with a known file signature is not decrypted."""
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent) as deployment:
        deployment.wecom.media_faults.add(Plain())
        await deployment.ask(Image(PNG))
    assert agent.blocks == (ImageBlock(media_type="image/png", data=base64.b64encode(PNG).decode()),)


async def test_an_image_item_with_other_content_is_unavailable(watch: Watch) -> None:
    async with Deployment(watch) as deployment:
        assert await deployment.ask(Image(b"%PDF-1.7\n" + bytes(64))) == "[image unavailable: not_an_image]"


async def test_a_file_that_cannot_be_decrypted_is_unavailable(watch: Watch) -> None:
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent) as deployment:
        deployment.wecom.media_faults.add(Garbage(1001))
        await deployment.ask(File(b"some words in a file", "notes-of-mine.txt"))
    assert agent.blocks == (UnavailableBlock(kind="file", reason="undecipherable"),)


async def test_an_unavailable_image_does_not_affect_the_rest_of_its_message(watch: Watch) -> None:
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent) as deployment:
        deployment.wecom.media_faults.add(Expired())
        await deployment.ask(Mixed((Image(PNG), Text("compare the two"), Image(PNG))))
    assert sorted(type(block).__name__ for block in agent.blocks) == ["ImageBlock", "TextBlock", "UnavailableBlock"]
    assert agent.texts == ["compare the two"]


async def test_a_media_id_without_a_url_is_unavailable_and_the_log_gives_the_reason(watch: Watch) -> None:
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent) as deployment:
        assert await deployment.ask(ImageById("MEDIA-ID-1")) == "[image unavailable: no_url]"
    assert agent.blocks == (UnavailableBlock(kind="image", reason="no_url"),)
    (fields,) = watch.logged("wecom media unavailable")
    assert fields["reason"] == "no_url"
    assert "media_id" in str(fields["detail"])
    assert "access token" in str(fields["detail"])


async def test_an_item_with_its_own_key_is_decrypted_with_it(watch: Watch) -> None:
    """WeCom does not document a key per item for callbacks, but it occurs; the bot's key does not open such an item."""
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent) as deployment:
        deployment.wecom.media_faults.add(WrongKey())
        other_key = bytes(byte ^ 0xFF for byte in deployment.wecom.credentials.key)
        watch.register("a media key", base64.b64encode(other_key).decode())
        stored = await deployment.send(File(b"%PDF-1.7\n own key", "own-key.pdf"), message_id="first")
        await stored.reply()
        deployment.wecom.media_faults.add(WrongKey())
        callback = json.loads(stored.plaintext) | {"msgid": "second"}
        # The reply window of this URL was spent by the first message.
        del callback["response_url"]
        callback["file"]["aeskey"] = base64.b64encode(other_key).decode()
        await deployment.wecom.send_plaintext(json.dumps(callback).encode(), message_id="second")
        await deployment.auditor.receipt_for("second")
    (block,) = agent.blocks
    assert isinstance(block, FileBlock)
    assert base64.b64decode(block.data) == b"%PDF-1.7\n own key"


async def test_a_stalled_download_ends_when_its_url_expires(watch: Watch) -> None:
    """A URL is valid for five minutes from the callback."""
    clock = ManualClock()
    async with Deployment(watch, clock=clock, plugins=[FetchDelay(clock, 299.8)]) as deployment:
        deployment.wecom.media_faults.add(Stall())
        assert await deployment.ask(Image(PNG)) == "[image unavailable: timeout]"


async def test_an_expired_url_is_not_requested(watch: Watch) -> None:
    clock = ManualClock()
    async with Deployment(watch, clock=clock, plugins=[FetchDelay(clock, 301)]) as deployment:
        assert await deployment.ask(Image(PNG)) == "[image unavailable: expired]"
        assert deployment.wecom.recorded.media_requests == {}
