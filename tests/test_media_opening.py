"""Media items on their way to blocks: bounded, and none of them can cost the message."""

from __future__ import annotations

import asyncio
import base64
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

import pytest
from prometheus_client import CollectorRegistry

from maven_channel_wecom.contract.messages import FileBlock, ImageBlock, UnavailableBlock
from maven_channel_wecom.media_opening import ITEMS, MediaOpener
from maven_channel_wecom.media_room import MediaRoom, MediaShare
from maven_channel_wecom.policy.media_blocks import BLOCK_BYTES, MEDIA_BYTES
from maven_channel_wecom.protocol import cipher, limits
from maven_channel_wecom.protocol.callback import MediaItem
from maven_channel_wecom.transport.egress import Egress
from maven_channel_wecom.transport.media_client import Download, MediaClient
from tests.fakes.clock import FakeClock
from tests.fakes.host import channel_metrics
from tests.fakes.sites import Site, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maven_channel_wecom.protocol.callback import MediaKind
    from maven_channel_wecom.transport.media_client import Sink

KEY, ITEM_KEY = bytes(range(32)), bytes(range(32, 64))
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


class Storage:
    """Serves one content for every URL, or raises."""

    def __init__(self, content: bytes, error: Exception | None = None) -> None:
        self.content = content
        self.error = error
        self.downloads = 0

    async def get(
        self, url: str, new_sink: Callable[[], Sink], *, limit_bytes: int, timeout_seconds: float
    ) -> Download[Sink]:
        self.downloads += 1
        if self.error:
            raise self.error
        sink = new_sink()
        for start in range(0, len(self.content), 65_536):
            sink.write(self.content[start : start + 65_536])
        return Download(sink, 'attachment; filename="a.bin"')


def opener(
    storage: Storage | MediaClient,
    registry: CollectorRegistry | None = None,
    *,
    keys: Sequence[bytes] = (KEY,),
    room: MediaRoom | None = None,
) -> MediaOpener:
    return MediaOpener(
        "wecom",
        cast("MediaClient", storage),
        keys,
        room=room or MediaRoom(20 * BLOCK_BYTES),
        metrics=channel_metrics(registry or CollectorRegistry()),
        clock=FakeClock(),
    )


def image(aes_key: str = "") -> MediaItem:
    return MediaItem(kind="image", url="https://canary/", aes_key=aes_key)


async def test_places_for_downloads_come_back() -> None:
    """However many messages with pictures there were before."""
    storage = Storage(cipher.encrypt(KEY, PNG))
    media = opener(storage)
    for _ in range(50):
        block = await media.open(image(), MediaShare(), received_at=FakeClock().now(), message_id="m")
        assert isinstance(block, ImageBlock)
    assert storage.downloads == 50


async def test_a_key_of_its_own_opens_an_item_and_a_wrong_one_does_not_matter() -> None:
    """The bot's key is tried as well."""
    own = opener(Storage(cipher.encrypt(ITEM_KEY, PNG)))
    other = opener(Storage(cipher.encrypt(KEY, PNG)))
    for media, key in ((own, ITEM_KEY.hex()), (other, ITEM_KEY.hex()), (other, "nonsense")):
        block = await media.open(image(key), MediaShare(), received_at=FakeClock().now(), message_id="m")
        assert isinstance(block, ImageBlock)


async def test_a_file_has_the_name_storage_gives_it() -> None:
    """From the header of the download."""
    media = opener(Storage(cipher.encrypt(KEY, b"a,b\n")))
    item = MediaItem(kind="file", url="https://canary/")
    block = await media.open(item, MediaShare(), received_at=FakeClock().now(), message_id="m")
    assert isinstance(block, FileBlock)
    assert block.name == "a.bin"


@pytest.mark.parametrize(
    ("kind", "beginning", "keys"),
    [
        pytest.param("image", PNG, [KEY], id="image"),
        pytest.param("file", b"a,b\n", [ITEM_KEY, KEY], id="file-whose-key-shows-at-its-end"),
    ],
)
async def test_ten_mebibytes_are_not_kept_twice(kind: MediaKind, beginning: bytes, keys: list[bytes]) -> None:
    """Opened and encoded as they come: the most in use at any time is little more than the block itself."""
    content = beginning + bytes(MEDIA_BYTES - len(beginning))
    storage = Storage(cipher.encrypt(KEY, content))
    item = MediaItem(kind=kind, url="https://canary/")
    tracemalloc.start()
    block = await opener(storage, keys=keys).open(item, MediaShare(), received_at=FakeClock().now(), message_id="m")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(block, ImageBlock | FileBlock)
    assert block.data == base64.b64encode(content).decode()
    assert peak_bytes <= 2.2 * len(block.data)


async def test_a_bug_met_by_a_picture_costs_the_picture_alone(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted and logged by its kind; what it says stays out of the log."""
    registry = CollectorRegistry()
    media = opener(Storage(b"", RuntimeError("canary")), registry)
    block = await media.open(image(), MediaShare(), received_at=FakeClock().now(), message_id="m")
    assert block == UnavailableBlock(kind="image", reason="error")
    labels = {"channel": "wecom", "outcome": "error"}
    assert registry.get_sample_value("maven_wecom_media_fetches_total", labels) == 1
    assert "canary" not in caplog.text


async def test_a_message_of_ten_thousand_pictures_fetches_a_few() -> None:
    """The others are said to be too many."""
    storage = Storage(cipher.encrypt(KEY, PNG))
    items = [image()] * 10_000
    blocks = await opener(storage).open_all(items, MediaShare(), received_at=FakeClock().now(), message_id="m")
    assert storage.downloads == ITEMS
    assert len(blocks) == 10_000
    assert blocks[-1] == UnavailableBlock(kind="image", reason="too_many")


async def test_an_item_takes_up_room_for_its_base64_until_its_message_leaves() -> None:
    """What could not be had takes up none."""
    room, share = MediaRoom(2 * BLOCK_BYTES), MediaShare()
    media = opener(Storage(cipher.encrypt(KEY, PNG)), room=room)
    blocks = await media.open_all([image()] * 3, share, received_at=FakeClock().now(), message_id="m")
    assert room.taken_bytes == sum(len(block.data) for block in blocks if isinstance(block, ImageBlock)) > 0
    broken = opener(Storage(b"", RuntimeError()), room=room)
    await broken.open(image(), MediaShare(), received_at=FakeClock().now(), message_id="m")
    room.leave(share)
    assert room.taken_bytes == 0


async def test_an_item_for_which_there_is_no_room_in_its_five_minutes_is_expired() -> None:
    """Others hold everything, and nobody leaves; what its own message holds is no reason to wait at all."""
    room, others, share = MediaRoom(2 * BLOCK_BYTES), MediaShare(), MediaShare()
    await room.take(others)
    room.settle(others, BLOCK_BYTES)
    media = opener(Storage(cipher.encrypt(KEY, PNG)), room=room)
    almost_over = FakeClock().now() - 299.9
    blocks = await media.open_all([image()] * 2, share, received_at=almost_over, message_id="m")
    assert isinstance(blocks[0], ImageBlock)
    assert blocks[1] == UnavailableBlock(kind="image", reason="no_room")
    late = await media.open(image(), MediaShare(), received_at=almost_over, message_id="m")
    assert late == UnavailableBlock(kind="image", reason="expired")


async def test_the_five_minutes_of_an_item_are_over_at_their_end() -> None:
    """To the second; there may be room enough."""
    storage = Storage(cipher.encrypt(KEY, PNG))
    long_ago = FakeClock().now() - limits.MEDIA_URL_SECONDS
    block = await opener(storage).open(image(), MediaShare(), received_at=long_ago, message_id="m")
    assert block == UnavailableBlock(kind="image", reason="expired")
    assert storage.downloads == 0


async def test_a_download_that_is_cancelled_gives_back_its_room() -> None:
    """As when normalizing a message takes too long."""

    class Stuck(Storage):
        async def get(
            self, url: str, new_sink: Callable[[], Sink], *, limit_bytes: int, timeout_seconds: float
        ) -> Download[Sink]:
            new_sink().write(self.content)
            self.downloads += 1
            if self.downloads == 2:
                both_came.set()
            await asyncio.Event().wait()
            raise AssertionError

    both_came = asyncio.Event()
    room, share, storage = MediaRoom(2 * BLOCK_BYTES), MediaShare(), Stuck(cipher.encrypt(KEY, PNG))
    opening = asyncio.create_task(
        opener(storage, room=room).open_all([image()] * 3, share, received_at=FakeClock().now(), message_id="m")
    )
    await both_came.wait()
    assert room.taken_bytes == 2 * BLOCK_BYTES
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    room.leave(share)
    await asyncio.sleep(0)
    assert room.taken_bytes == 0


async def test_media_open_while_every_thread_is_busy() -> None:
    """A slow disk or name server may hold them all; a picture needs none."""
    held = threading.Event()
    threads = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(threads)
    threads.submit(held.wait)
    egress = Egress(allow_private_network=True)
    try:
        async with Site(answer(cipher.encrypt(KEY, PNG))) as site:
            item = MediaItem(kind="image", url=site.url)
            block = await opener(MediaClient(egress)).open(
                item, MediaShare(), received_at=FakeClock().now(), message_id="m"
            )
    finally:
        held.set()
        await egress.close()
    assert isinstance(block, ImageBlock)
