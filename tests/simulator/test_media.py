"""Media URLs of the simulator: encryption, signature, expiry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.protocol import limits
from maven_channel_wecom.protocol.callback import MediaItem
from maven_channel_wecom.simulator.messages import Image, Mixed, Text
from maven_channel_wecom.simulator.offences import Offence
from maven_channel_wecom.simulator.picture import draw_png

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.bots import Bot
    from tests.simulator.conftest import ManualClock


@pytest.fixture
async def media_url(wecom: SimulatedWeCom, bot: Bot) -> str:
    bot.replies = False
    await wecom.send(Image(draw_png(4, 4)))
    item = bot.received[0].items[0]
    assert isinstance(item, MediaItem)
    return item.url


async def test_a_picture_is_served_encrypted_with_the_key_of_the_bot(wecom: SimulatedWeCom, bot: Bot) -> None:
    picture = draw_png(8, 8)
    sent = await wecom.send(Mixed((Text("look"), Image(picture, "图.png"))))
    assert (await sent.reply()).content == f"look [image image/png, {len(picture)} bytes]"
    item = bot.received[0].items[1]
    assert isinstance(item, MediaItem)
    status, body, name = await bot.fetch(item.url)
    assert (status, name) == (200, "图.png")
    assert body != picture
    assert wecom.recorded.media_requests[sent.message_id] == 2
    assert wecom.recorded.offences == []


async def test_a_media_url_expires_after_exactly_five_minutes(bot: Bot, media_url: str, clock: ManualClock) -> None:
    clock.now += limits.MEDIA_URL_SECONDS - 1
    assert (await bot.fetch(media_url))[0] == 200
    clock.now += 1
    assert (await bot.fetch(media_url))[0] == 403


async def test_expired_media_are_deleted_when_new_ones_are_stored(
    wecom: SimulatedWeCom, bot: Bot, media_url: str, clock: ManualClock
) -> None:
    (stored,) = wecom._media._stored
    clock.now += limits.MEDIA_URL_SECONDS
    await wecom.send(Image(draw_png(4, 4)))
    assert [bool(each.content) for each in wecom._media._stored.values()] == [False, True]
    assert wecom._media._stored[stored].content == b""
    assert (await bot.fetch(media_url))[0] == 403


async def test_an_unknown_media_url_is_not_found_and_counts_for_no_message(wecom: SimulatedWeCom, bot: Bot) -> None:
    status, _, _ = await bot.fetch(f"{wecom.base_url}/aibot-img/1?sign=x")
    assert (status, dict(wecom.recorded.media_requests)) == (404, {})


@pytest.mark.parametrize(
    "alter", [lambda url: url + "+", lambda url: url.replace("%26", "&")], ids=["space", "decoded"]
)
async def test_an_altered_media_url_is_refused_and_an_offence(
    wecom: SimulatedWeCom, bot: Bot, alter: Callable[[str], str]
) -> None:
    bot.replies = False
    sent = await wecom.send(Image(draw_png(2, 2)))
    item = bot.received[0].items[0]
    assert isinstance(item, MediaItem)
    status, _, _ = await bot.fetch(alter(item.url))
    assert (status, wecom.recorded.offences) == (403, [Offence("altered_media_url", sent.message_id)])
