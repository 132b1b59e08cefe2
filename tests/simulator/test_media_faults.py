"""Each scripted fault of a download, as a bot sees it over a real connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest
from yarl import URL

from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.protocol.callback import MediaItem
from maven_channel_wecom.simulator import faults, media_faults
from maven_channel_wecom.simulator.messages import Image
from maven_channel_wecom.simulator.picture import draw_png
from tests.fakes.decrypted import decrypted

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.bots import Bot

PICTURE = draw_png(4, 4)


@pytest.fixture
async def media_url(wecom: SimulatedWeCom, bot: Bot) -> str:
    bot.replies = False
    await wecom.send(Image(PICTURE, "p.png"))
    item = bot.received[0].items[0]
    assert isinstance(item, MediaItem)
    return item.url


@pytest.mark.parametrize(
    ("fault", "status", "plaintext"),
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
    plaintext: bytes | None,
) -> None:
    """The next download is a regular one again."""
    wecom.media_faults.add(fault)
    found, body, _ = await bot.fetch(media_url)
    assert found == status
    assert opened(body, bot) == plaintext
    assert opened((await bot.fetch(media_url))[1], bot) == PICTURE


@pytest.mark.parametrize("fault", [faults.ResetAfterReading(), faults.CutBody()], ids=repr)
async def test_a_broken_download_is_not_mistaken_for_a_short_file(
    wecom: SimulatedWeCom, bot: Bot, media_url: str, fault: faults.Fault
) -> None:
    # The HTTP client may retry a GET on a new connection by itself, so the fault is scripted twice.
    wecom.media_faults.add(fault, fault)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await bot.fetch(media_url)


async def test_an_endless_download_exceeds_the_size_of_the_file(wecom: SimulatedWeCom, media_url: str) -> None:
    wecom.media_faults.add(media_faults.Endless())
    async with (
        asyncio.timeout(30),
        aiohttp.ClientSession() as session,
        session.get(URL(media_url, encoded=True)) as response,
    ):
        assert response.content_length is None
        assert len(await response.content.readexactly(1_000_000)) == 1_000_000


def opened(body: bytes, bot: Bot) -> bytes | None:
    try:
        return decrypted(body, [bot.credentials.key], "image")
    except MediaUnavailable:
        return None
