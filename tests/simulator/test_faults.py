"""Each scripted fault over real sockets, as a bot sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest
from yarl import URL

from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.protocol import limits
from maven_channel_wecom.protocol.callback import MediaItem
from maven_channel_wecom.protocol.reply import markdown_body
from maven_channel_wecom.simulator import faults, media_faults
from maven_channel_wecom.simulator.messages import Image, Text
from maven_channel_wecom.simulator.picture import draw_png
from tests.fakes.decrypted import decrypted
from tests.simulator.bots import JSON, Bot, Posted

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.conftest import HandClock

BODY = markdown_body("hello")
PICTURE = draw_png(4, 4)


@pytest.fixture
async def response_url(wecom: SimulatedWeCom, bot: Bot) -> str:
    bot.replies = False
    await wecom.send(Text("x"))
    return bot.seen[0].response_url


@pytest.fixture
async def media_url(wecom: SimulatedWeCom, bot: Bot) -> str:
    bot.replies = False
    await wecom.send(Image(PICTURE, "p.png"))
    item = bot.seen[0].items[0]
    assert isinstance(item, MediaItem)
    return item.url


async def test_a_bot_may_repeat_what_failed_for_now(wecom: SimulatedWeCom, bot: Bot) -> None:
    """Three POSTs, one accepted reply, no offence."""
    message_id = wecom.new_message_id()
    wecom.reply_faults.add(faults.Errcode(-1), faults.Errcode(6000), message_id=message_id)
    sent = await wecom.send(Text("try"), message_id=message_id)
    assert (await sent.reply()).content == "try"
    assert (wecom.recorded.posts[message_id], len(wecom.recorded.replies)) == (3, 1)
    assert wecom.recorded.offences == []


async def test_a_fault_of_one_message_leaves_the_others_alone(wecom: SimulatedWeCom, bot: Bot) -> None:
    """Scripted for a message id, it waits for that one."""
    wecom.reply_faults.add(faults.Errcode(45002), message_id="other")
    assert (await (await wecom.send(Text("x"))).reply()).accepted


async def test_none_in_a_script_is_an_honest_answer(wecom: SimulatedWeCom, bot: Bot) -> None:
    """Only the second POST fails."""
    bot.replies = False
    wecom.reply_faults.add(None, faults.Status(503))
    for expected in (Posted(200, 0), Posted(503, None)):
        await wecom.send(Text("x"))
        assert await bot.post(bot.seen[-1].response_url, BODY) == expected


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.Errcode(45009), Posted(200, 45009)),
        (faults.Status(502), Posted(502, None)),
        (faults.Status(403), Posted(403, None)),
        (faults.HtmlPage(), Posted(200, None)),
        (faults.ResetBeforeReading(), Posted(0, None)),
    ],
    ids=repr,
)
async def test_a_refusing_fault_does_not_spend_the_url(
    wecom: SimulatedWeCom, bot: Bot, response_url: str, fault: faults.Fault, expected: Posted
) -> None:
    """Nothing was carried out, so the next POST is accepted."""
    wecom.reply_faults.add(fault)
    assert await bot.post(response_url, BODY) == expected
    assert wecom.recorded.replies == []
    assert await bot.post(response_url, BODY) == Posted(200, 0)


@pytest.mark.parametrize("fault", [faults.ResetAfterReading(), faults.CutBody()], ids=repr)
async def test_a_fault_after_the_deed_spends_the_url(
    wecom: SimulatedWeCom, bot: Bot, response_url: str, fault: faults.Fault
) -> None:
    """The reply arrived though the bot cannot know, so a repeat is a second use."""
    wecom.reply_faults.add(fault)
    assert await bot.post(response_url, BODY) == Posted(0, None)
    assert [reply.content for reply in wecom.recorded.replies] == ["hello"]
    assert await bot.post(response_url, BODY) == Posted(200, 60140)
    assert [offence.kind for offence in wecom.recorded.offences] == ["second_use"]


async def test_a_delay_lasts_until_the_test_ends_it(wecom: SimulatedWeCom, bot: Bot, response_url: str) -> None:
    """No clock is involved."""
    delay = faults.Delay()
    wecom.reply_faults.add(delay)
    async with asyncio.timeout(30):
        posting = asyncio.create_task(bot.post(response_url, BODY))
        await delay.reached.wait()
        assert (len(wecom.recorded.replies), posting.done()) == (1, False)
        delay.release.set()
        assert await posting == Posted(200, 0)


async def test_a_stall_leaves_the_bot_with_half_an_answer(wecom: SimulatedWeCom, bot: Bot, response_url: str) -> None:
    """The head and a part of the body come, the rest never does, and stopping the simulator does not wait for it."""
    wecom.reply_faults.add(faults.Stall())
    async with (
        asyncio.timeout(30),
        aiohttp.ClientSession() as session,
        session.post(response_url, data=BODY, headers=JSON) as response,
    ):
        received = await response.content.readany()
        assert response.status == 200
        assert 0 < len(received) < (response.content_length or 0)
        assert not response.content.at_eof()


async def test_offences_are_found_under_faults_too(wecom: SimulatedWeCom, bot: Bot, response_url: str) -> None:
    """An empty reply is empty whatever the answer to it."""
    wecom.reply_faults.add(faults.Errcode(-1))
    assert await bot.post(response_url, markdown_body("")) == Posted(200, -1)
    assert [offence.kind for offence in wecom.recorded.offences] == ["empty"]


@pytest.mark.parametrize(
    ("fault", "status", "opens_to"),
    [
        (None, 200, PICTURE),
        (faults.Status(404), 404, None),
        (faults.Status(503), 503, None),
        (faults.HtmlPage(), 200, None),
        (media_faults.Plain(), 200, PICTURE),
        (media_faults.WrongKey(), 200, None),
        (media_faults.Garbage(), 200, None),
        (media_faults.WrongLength(), 200, None),
        (media_faults.Expired(), 403, None),
    ],
    ids=repr,
)
async def test_a_download_fails_as_scripted(
    wecom: SimulatedWeCom,
    bot: Bot,
    media_url: str,
    fault: media_faults.MediaFault | None,
    status: int,
    opens_to: bytes | None,
) -> None:
    """What is served either opens to the picture or does not open, and the next download is honest again."""
    wecom.media_faults.add(fault)
    found, body, _ = await bot.fetch(media_url)
    assert found == status
    assert opened(body, bot) == opens_to
    assert opened((await bot.fetch(media_url))[1], bot) == PICTURE


@pytest.mark.parametrize("fault", [faults.ResetAfterReading(), faults.CutBody()], ids=repr)
async def test_a_download_breaks_off(wecom: SimulatedWeCom, bot: Bot, media_url: str, fault: faults.Fault) -> None:
    """The bot sees a broken connection, not a short file."""
    # A client may repeat a GET on a fresh connection by itself, so the fault is there twice.
    wecom.media_faults.add(fault, fault)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await bot.fetch(media_url)


async def test_an_endless_download_has_no_end(wecom: SimulatedWeCom, media_url: str) -> None:
    """More comes than the file has, for as long as somebody listens."""
    wecom.media_faults.add(media_faults.Endless())
    async with (
        asyncio.timeout(30),
        aiohttp.ClientSession() as session,
        session.get(URL(media_url, encoded=True)) as response,
    ):
        assert response.content_length is None
        assert len(await response.content.readexactly(1_000_000)) == 1_000_000


async def test_a_media_url_lives_exactly_five_minutes(bot: Bot, media_url: str, clock: HandClock) -> None:
    """By the simulator's clock."""
    clock.now += limits.MEDIA_URL_SECONDS - 1
    assert (await bot.fetch(media_url))[0] == 200
    clock.now += 1
    assert (await bot.fetch(media_url))[0] == 403


async def test_media_that_was_never_stored_is_not_found(wecom: SimulatedWeCom, bot: Bot) -> None:
    """A made-up URL is nobody's message."""
    status, _, _ = await bot.fetch(f"{wecom.base_url}/aibot-img/1?sign=x")
    assert (status, dict(wecom.recorded.media_requests)) == (404, {})


def opened(body: bytes, bot: Bot) -> bytes | None:
    try:
        return decrypted(body, [bot.credentials.key], "image")
    except MediaUnavailable:
        return None
