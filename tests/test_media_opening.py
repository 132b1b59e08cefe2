"""Media items on their way to blocks: bounded, and none of them can cost the message."""

from __future__ import annotations

import base64
import tracemalloc
from typing import TYPE_CHECKING, cast

import pytest
from prometheus_client import CollectorRegistry

from maven_channel_wecom.contract.messages import FileBlock, ImageBlock, UnavailableBlock
from maven_channel_wecom.media_opening import ITEMS, MediaOpener
from maven_channel_wecom.policy.media_blocks import MEDIA_BYTES
from maven_channel_wecom.protocol import cipher
from maven_channel_wecom.protocol.callback import MediaItem
from maven_channel_wecom.transport.media_client import Download
from tests.fakes.clock import FakeClock
from tests.fakes.host import channel_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maven_channel_wecom.protocol.callback import MediaKind
    from maven_channel_wecom.transport.media_client import MediaClient, Sink

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
    storage: Storage, registry: CollectorRegistry | None = None, *, keys: Sequence[bytes] = (KEY,)
) -> MediaOpener:
    metrics = channel_metrics(registry or CollectorRegistry())
    return MediaOpener("wecom", cast("MediaClient", storage), keys, metrics=metrics, clock=FakeClock())


def image(aes_key: str = "") -> MediaItem:
    return MediaItem(kind="image", url="https://canary/", aes_key=aes_key)


async def test_places_for_downloads_come_back() -> None:
    """However many messages with pictures there were before."""
    storage = Storage(cipher.encrypt(KEY, PNG))
    media = opener(storage)
    for _ in range(50):
        block = await media.open(image(), received_at=FakeClock().now(), message_id="m")
        assert isinstance(block, ImageBlock)
    assert storage.downloads == 50


async def test_a_key_of_its_own_opens_an_item_and_a_wrong_one_does_not_matter() -> None:
    """The bot's key is tried as well."""
    own = opener(Storage(cipher.encrypt(ITEM_KEY, PNG)))
    other = opener(Storage(cipher.encrypt(KEY, PNG)))
    for media, key in ((own, ITEM_KEY.hex()), (other, ITEM_KEY.hex()), (other, "nonsense")):
        block = await media.open(image(key), received_at=FakeClock().now(), message_id="m")
        assert isinstance(block, ImageBlock)


async def test_a_file_has_the_name_storage_gives_it() -> None:
    """From the header of the download."""
    media = opener(Storage(cipher.encrypt(KEY, b"a,b\n")))
    item = MediaItem(kind="file", url="https://canary/")
    block = await media.open(item, received_at=FakeClock().now(), message_id="m")
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
    block = await opener(storage, keys=keys).open(item, received_at=FakeClock().now(), message_id="m")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(block, ImageBlock | FileBlock)
    assert block.data == base64.b64encode(content).decode()
    assert peak_bytes <= 2.2 * len(block.data)


async def test_a_bug_met_by_a_picture_costs_the_picture_alone(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted and logged by its kind; what it says stays out of the log."""
    registry = CollectorRegistry()
    media = opener(Storage(b"", RuntimeError("canary")), registry)
    block = await media.open(image(), received_at=FakeClock().now(), message_id="m")
    assert block == UnavailableBlock(kind="image", reason="error")
    labels = {"channel": "wecom", "outcome": "error"}
    assert registry.get_sample_value("maven_wecom_media_fetches_total", labels) == 1
    assert "canary" not in caplog.text


async def test_a_message_of_ten_thousand_pictures_fetches_a_few() -> None:
    """The others are said to be too many."""
    storage = Storage(cipher.encrypt(KEY, PNG))
    blocks = await opener(storage).open_all([image()] * 10_000, received_at=FakeClock().now(), message_id="m")
    assert storage.downloads == ITEMS
    assert len(blocks) == 10_000
    assert blocks[-1] == UnavailableBlock(kind="image", reason="too_many")
