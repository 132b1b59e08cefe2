"""Tests for the fetching of media items and for the budget of bytes they use."""

from __future__ import annotations

import asyncio
import base64
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maven_channel_wecom.contract.messages import FileBlock, ImageBlock, UnavailableBlock
from maven_channel_wecom.egress.egress import Egress
from maven_channel_wecom.egress.media_client import Download, MediaClient
from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.media import MAX_DOWNLOADS, MAX_ITEMS, MediaBudget, MediaFetcher, MediaUse
from maven_channel_wecom.policy.media_blocks import BLOCK_BYTES, MEDIA_BYTES
from maven_channel_wecom.protocol import cipher, limits
from maven_channel_wecom.protocol.callback import MediaItem
from maven_channel_wecom.telemetry import events
from tests.fakes.clock import FakeClock
from tests.fakes.recorder import Recorder
from tests.fakes.sites import Site, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maven_channel_wecom.egress.media_client import Sink
    from maven_channel_wecom.protocol.callback import MediaKind

KEY, ITEM_KEY = bytes(range(32)), bytes(range(32, 64))
WAIT_SECONDS = 5

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


class FakeMediaClient:
    """Returns the same content for every URL, or raises an error."""

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


def fetcher(
    client: FakeMediaClient | MediaClient,
    recorder: Recorder | None = None,
    *,
    keys: Sequence[bytes] = (KEY,),
    budget: MediaBudget | None = None,
) -> MediaFetcher:
    return MediaFetcher(
        cast("MediaClient", client),
        keys,
        budget=budget or MediaBudget(20 * BLOCK_BYTES),
        emit=recorder or Recorder(),
        clock=FakeClock(),
    )


def image(aes_key: str = "") -> MediaItem:
    return MediaItem(kind="image", url="https://canary/", aes_key=aes_key)


async def test_finished_downloads_do_not_count_towards_the_limit() -> None:
    client = FakeMediaClient(cipher.encrypt(KEY, PNG))
    media = fetcher(client)
    for _ in range(50):
        block = await media.fetch(image(), MediaUse("chat"), received_at=FakeClock().now(), message_id="m")
        assert isinstance(block, ImageBlock)
    assert client.downloads == 50


async def test_an_item_is_opened_with_its_own_key_or_else_with_the_key_of_the_bot() -> None:
    with_item_key = fetcher(FakeMediaClient(cipher.encrypt(ITEM_KEY, PNG)))
    with_bot_key = fetcher(FakeMediaClient(cipher.encrypt(KEY, PNG)))
    for media, key in ((with_item_key, ITEM_KEY.hex()), (with_bot_key, ITEM_KEY.hex()), (with_bot_key, "nonsense")):
        block = await media.fetch(image(key), MediaUse("chat"), received_at=FakeClock().now(), message_id="m")
        assert isinstance(block, ImageBlock)


async def test_a_file_is_named_by_the_content_disposition_header() -> None:
    media = fetcher(FakeMediaClient(cipher.encrypt(KEY, b"a,b\n")))
    item = MediaItem(kind="file", url="https://canary/")
    block = await media.fetch(item, MediaUse("chat"), received_at=FakeClock().now(), message_id="m")
    assert isinstance(block, FileBlock)
    assert block.name == "a.bin"


@pytest.mark.parametrize(
    ("kind", "beginning", "keys"),
    [
        pytest.param("image", PNG, [KEY], id="image"),
        pytest.param("file", b"a,b\n", [ITEM_KEY, KEY], id="file whose key is decided at its end"),
    ],
)
async def test_the_largest_item_is_decrypted_and_encoded_without_a_second_copy(
    kind: MediaKind, beginning: bytes, keys: list[bytes]
) -> None:
    content = beginning + bytes(MEDIA_BYTES - len(beginning))
    client = FakeMediaClient(cipher.encrypt(KEY, content))
    item = MediaItem(kind=kind, url="https://canary/")
    tracemalloc.start()
    block = await fetcher(client, keys=keys).fetch(
        item, MediaUse("chat"), received_at=FakeClock().now(), message_id="m"
    )
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(block, ImageBlock | FileBlock)
    assert block.data == base64.b64encode(content).decode()
    assert peak_bytes <= 2.2 * len(block.data)


async def test_the_type_of_an_image_that_models_do_not_take_is_told_to_the_agent_and_the_log() -> None:
    recorder = Recorder()
    heic = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
    media = fetcher(FakeMediaClient(cipher.encrypt(KEY, heic)), recorder)
    block = await media.fetch(image(), MediaUse("chat"), received_at=FakeClock().now(), message_id="m")
    assert block == UnavailableBlock(kind="image", reason="not_an_image", media_type="image/heic")
    (ended,) = recorder.of(events.MediaEnded)
    assert ended.outcome == "not_an_image"
    assert "image/heic" in ended.detail


async def test_an_unexpected_error_makes_the_item_unavailable_and_is_reported_by_its_class() -> None:
    recorder = Recorder()
    media = fetcher(FakeMediaClient(b"", RuntimeError("canary")), recorder)
    block = await media.fetch(image(), MediaUse("chat"), received_at=FakeClock().now(), message_id="m")
    assert block == UnavailableBlock(kind="image", reason="error")
    assert recorder.of(events.MediaFailed) == [events.MediaFailed(message_id="m", error="RuntimeError")]
    assert [event.outcome for event in recorder.of(events.MediaEnded)] == ["error"]


async def test_an_item_with_an_id_and_no_url_is_unavailable_and_reported_as_such() -> None:
    recorder = Recorder()
    item = MediaItem(kind="image", url="", media_id="1")
    block = await fetcher(FakeMediaClient(b""), recorder).fetch(
        item, MediaUse("chat"), received_at=FakeClock().now(), message_id="m"
    )
    assert block == UnavailableBlock(kind="image", reason="no_url")
    assert recorder.of(events.MediaEnded) == [
        events.MediaEnded(message_id="m", kind="image", outcome="no_url", only_id=True)
    ]


async def test_the_number_of_items_fetched_for_one_message_is_limited() -> None:
    client, recorder = FakeMediaClient(cipher.encrypt(KEY, PNG)), Recorder()
    items = [image()] * 10_000
    blocks = await fetcher(client, recorder).fetch_all(
        items, MediaUse("chat"), received_at=FakeClock().now(), message_id="m"
    )
    assert client.downloads == MAX_ITEMS
    assert len(blocks) == 10_000
    assert blocks[-1] == UnavailableBlock(kind="image", reason="too_many")
    assert [event.outcome for event in recorder.of(events.MediaEnded)].count("too_many") == 10_000 - MAX_ITEMS


async def test_the_base64_size_of_an_item_is_charged_until_its_message_is_released() -> None:
    """An unavailable item is charged nothing."""
    budget, use = MediaBudget(2 * BLOCK_BYTES), MediaUse("chat")
    media = fetcher(FakeMediaClient(cipher.encrypt(KEY, PNG)), budget=budget)
    blocks = await media.fetch_all([image()] * 3, use, received_at=FakeClock().now(), message_id="m")
    assert budget.used_bytes == sum(len(block.data) for block in blocks if isinstance(block, ImageBlock)) > 0
    broken = fetcher(FakeMediaClient(b"", RuntimeError()), budget=budget)
    await broken.fetch(image(), MediaUse("chat"), received_at=FakeClock().now(), message_id="m")
    budget.release(use)
    assert budget.used_bytes == 0


async def test_an_item_that_does_not_fit_the_budget_before_its_url_expires_is_unavailable() -> None:
    """An item whose message already uses bytes does not wait for the expiry."""
    budget, other_use, use = MediaBudget(2 * BLOCK_BYTES), MediaUse("chat"), MediaUse("chat")
    await budget.reserve(other_use)
    budget.charge(other_use, BLOCK_BYTES)
    media = fetcher(FakeMediaClient(cipher.encrypt(KEY, PNG)), budget=budget)
    almost_expired = FakeClock().now() - 299.9
    blocks = await media.fetch_all([image()] * 2, use, received_at=almost_expired, message_id="m")
    assert isinstance(blocks[0], ImageBlock)
    assert blocks[1] == UnavailableBlock(kind="image", reason="no_room")
    block = await media.fetch(image(), MediaUse("chat"), received_at=almost_expired, message_id="m")
    assert block == UnavailableBlock(kind="image", reason="expired")


async def test_an_item_whose_url_has_expired_is_not_downloaded() -> None:
    client = FakeMediaClient(cipher.encrypt(KEY, PNG))
    received_at = FakeClock().now() - limits.MEDIA_URL_SECONDS
    block = await fetcher(client).fetch(image(), MediaUse("chat"), received_at=received_at, message_id="m")
    assert block == UnavailableBlock(kind="image", reason="expired")
    assert client.downloads == 0


async def test_a_cancelled_download_releases_its_reservation() -> None:
    """A download is cancelled when normalizing its message takes too long."""

    class HangingMediaClient(FakeMediaClient):
        async def get(
            self, url: str, new_sink: Callable[[], Sink], *, limit_bytes: int, timeout_seconds: float
        ) -> Download[Sink]:
            new_sink().write(self.content)
            self.downloads += 1
            if self.downloads == 2:
                both_started.set()
            await asyncio.Event().wait()
            raise AssertionError

    both_started = asyncio.Event()
    budget, use, client = MediaBudget(2 * BLOCK_BYTES), MediaUse("chat"), HangingMediaClient(cipher.encrypt(KEY, PNG))
    fetching = asyncio.create_task(
        fetcher(client, budget=budget).fetch_all([image()] * 3, use, received_at=FakeClock().now(), message_id="m")
    )
    await both_started.wait()
    assert budget.used_bytes == 2 * BLOCK_BYTES
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    budget.release(use)
    await asyncio.sleep(0)
    assert budget.used_bytes == 0


async def test_media_are_fetched_while_every_thread_of_the_default_executor_is_busy() -> None:
    """A slow disk or name server can occupy all threads."""
    finish = threading.Event()
    threads = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(threads)
    threads.submit(finish.wait)
    egress = Egress(allow_private_network=True)
    try:
        async with Site(answer(cipher.encrypt(KEY, PNG))) as site:
            item = MediaItem(kind="image", url=site.url)
            block = await fetcher(MediaClient(egress)).fetch(
                item, MediaUse("chat"), received_at=FakeClock().now(), message_id="m"
            )
    finally:
        finish.set()
        await egress.close()
    assert isinstance(block, ImageBlock)


async def start_reserving(budget: MediaBudget, use: MediaUse) -> asyncio.Task[None]:
    """Start a task that reserves bytes, and return it once it waits for them."""
    task = asyncio.create_task(budget.reserve(use))
    await asyncio.sleep(0)
    return task


async def test_a_download_reserves_the_largest_size_and_is_then_charged_its_own() -> None:
    budget, use = MediaBudget(3 * BLOCK_BYTES), MediaUse("chat")
    await budget.reserve(use)
    await budget.reserve(use)
    assert budget.used_bytes == 2 * BLOCK_BYTES
    budget.charge(use, 1_000)
    budget.charge(use, 0)
    assert budget.used_bytes == 1_000
    budget.release(use)
    assert budget.used_bytes == 0


async def test_downloads_that_exceed_the_budget_wait_in_order() -> None:
    """A released message and an item smaller than its reservation both free bytes."""
    budget = MediaBudget(2 * BLOCK_BYTES)
    large, small, first, second = (MediaUse("chat") for _ in range(4))
    await budget.reserve(large)
    await budget.reserve(small)
    tasks = [await start_reserving(budget, first), await start_reserving(budget, second)]
    budget.charge(large, BLOCK_BYTES)
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [False, False]
    budget.charge(small, 0)
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [True, False]
    budget.release(large)
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [True, True]
    assert budget.used_bytes == 2 * BLOCK_BYTES


async def test_the_number_of_simultaneous_downloads_is_limited_even_if_the_budget_allows_more() -> None:
    budget = MediaBudget(1_000 * BLOCK_BYTES)
    uses = [MediaUse(f"chat {number}") for number in range(MAX_DOWNLOADS)]
    for use in uses:
        await budget.reserve(use)
    next_one = await start_reserving(budget, MediaUse("another chat"))
    assert not next_one.done()
    budget.charge(uses[0], 10)
    await next_one


async def test_a_busy_chat_leaves_memory_for_the_media_of_another() -> None:
    """The busy chat holds half of the memory; its further items wait, and another chat's item does not."""
    budget, uses = MediaBudget(8 * BLOCK_BYTES), [MediaUse("busy") for _ in range(8)]
    waiting = [await start_reserving(budget, use) for use in uses]
    assert [task.done() for task in waiting] == [True] * 5 + [False] * 3
    for use in uses[:5]:
        budget.charge(use, BLOCK_BYTES)
    await budget.reserve(MediaUse("quiet"))
    assert budget.used_bytes == 6 * BLOCK_BYTES
    budget.release(uses[0])
    budget.release(uses[1])
    await asyncio.gather(waiting[5])
    for task in waiting[6:]:
        task.cancel()


async def test_a_message_alone_uses_the_budget_except_for_one_item_of_another_chat() -> None:
    """While another chat waits, the message gets no more than its share."""
    budget, use = MediaBudget(19 * BLOCK_BYTES), MediaUse("busy")

    async def fetch() -> str:
        try:
            await budget.reserve(use)
        except MediaUnavailable as unavailable:
            return unavailable.reason
        await asyncio.sleep(0)
        budget.charge(use, BLOCK_BYTES)
        return "opened"

    outcomes = await asyncio.gather(*(fetch() for _ in range(20)))
    assert outcomes == ["opened"] * 18 + ["no_room"] * 2
    await budget.reserve(MediaUse("quiet"))
    assert budget.used_bytes == 19 * BLOCK_BYTES


async def test_a_message_gets_no_more_than_its_share_while_another_chat_waits() -> None:
    budget, use, other_use = MediaBudget(8 * BLOCK_BYTES), MediaUse("busy"), MediaUse("other")
    for _ in range(4):
        await budget.reserve(use)
    await budget.reserve(other_use)
    await budget.reserve(other_use)
    waiting = [await start_reserving(budget, each) for each in (use, other_use, MediaUse("other"))]
    assert [task.done() for task in waiting] == [False, True, False]
    for each in (use, use, use, use, other_use, other_use, other_use):
        budget.charge(each, BLOCK_BYTES)
    assert [type(result) for result in await asyncio.gather(*waiting[:2], return_exceptions=True)] == [
        MediaUnavailable,
        type(None),
    ]
    waiting[2].cancel()


async def test_a_busy_chat_leaves_downloads_for_another() -> None:
    budget = MediaBudget(1_000 * BLOCK_BYTES)
    waiting = [await start_reserving(budget, MediaUse("busy")) for _ in range(2 * MAX_DOWNLOADS)]
    assert sum(task.done() for task in waiting) == MAX_DOWNLOADS // 2 + 1
    await budget.reserve(MediaUse("quiet"))
    for task in waiting:
        task.cancel()


async def test_a_message_that_uses_bytes_waits_only_while_downloads_are_running() -> None:
    """Two messages that both use bytes could wait for each other; a download always ends."""
    budget = MediaBudget(2 * BLOCK_BYTES)
    use, other_use = MediaUse("chat"), MediaUse("chat")
    await budget.reserve(use)
    budget.charge(use, 1)
    await budget.reserve(other_use)
    second_item, new_message = await start_reserving(budget, use), await start_reserving(budget, MediaUse("chat"))
    assert not second_item.done()
    budget.charge(other_use, BLOCK_BYTES)
    with pytest.raises(MediaUnavailable) as caught:
        await second_item
    assert caught.value.reason == "no_room"
    with pytest.raises(MediaUnavailable):
        await budget.reserve(use)
    assert not new_message.done()
    budget.release(other_use)
    await new_message


async def test_a_download_that_ends_after_its_message_is_charged_nothing() -> None:
    budget, use = MediaBudget(BLOCK_BYTES), MediaUse("chat")
    await budget.reserve(use)
    budget.release(use)
    assert budget.used_bytes == BLOCK_BYTES
    budget.charge(use, 1_000)
    assert budget.used_bytes == 0


async def test_releasing_a_message_twice_has_no_further_effect() -> None:
    budget, use, other = MediaBudget(2 * BLOCK_BYTES), MediaUse("chat"), MediaUse("chat")
    for each in (use, other):
        await budget.reserve(each)
        budget.charge(each, 1_000)
    budget.release(use)
    budget.release(use)
    assert budget.used_bytes == 1_000


@pytest.mark.parametrize("granted", [False, True])
async def test_a_cancelled_reservation_uses_no_bytes(granted: bool) -> None:  # noqa: FBT001 - pytest names it
    """This holds even if it was granted in the same loop iteration."""
    budget, first, second = MediaBudget(BLOCK_BYTES), MediaUse("chat"), MediaUse("chat")
    await budget.reserve(first)
    cancelled, next_one = await start_reserving(budget, second), await start_reserving(budget, second)
    if granted:
        budget.charge(first, 0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    if not granted:
        budget.charge(first, 0)
    await next_one
    assert budget.used_bytes == BLOCK_BYTES


async def test_a_reservation_cancelled_in_the_loop_iteration_of_its_refusal_changes_nothing() -> None:
    budget, use, other_use = MediaBudget(2 * BLOCK_BYTES), MediaUse("chat"), MediaUse("chat")
    await budget.reserve(use)
    budget.charge(use, 1)
    await budget.reserve(other_use)
    cancelled = await start_reserving(budget, use)
    budget.charge(other_use, BLOCK_BYTES)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert budget.used_bytes == BLOCK_BYTES + 1


async def test_cancelled_reservations_do_not_accumulate_while_the_budget_is_exhausted() -> None:
    budget, use = MediaBudget(BLOCK_BYTES), MediaUse("chat")
    await budget.reserve(use)
    budget.charge(use, BLOCK_BYTES)
    for _ in range(100):
        cancelled = await start_reserving(budget, MediaUse("chat"))
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
    assert budget._waiting == {}


@given(
    st.integers(1, 4),
    st.lists(st.lists(st.integers(0, BLOCK_BYTES), min_size=1, max_size=6), min_size=1, max_size=8),
    st.lists(st.integers(0, 5), min_size=8, max_size=8),
)
def test_the_budget_never_exceeds_its_limit_and_blocks_no_message_forever(
    blocks: int, messages: list[list[int]], turns: list[int]
) -> None:
    """`messages` has the item sizes of each message, `turns` how many loop iterations its turn takes."""
    budget = MediaBudget(blocks * BLOCK_BYTES)

    async def download(use: MediaUse, size: int) -> str:
        try:
            await budget.reserve(use)
        except MediaUnavailable as unavailable:
            return unavailable.reason
        assert budget.used_bytes <= blocks * BLOCK_BYTES
        await asyncio.sleep(0)
        budget.charge(use, size)
        assert budget.used_bytes <= blocks * BLOCK_BYTES
        return "opened"

    async def message(sizes: list[int], turn: int) -> None:
        use = MediaUse(f"chat {len(sizes) % 3}")
        outcomes = await asyncio.gather(*(download(use, size) for size in sizes))
        # The first download of a message is never refused.
        assert "opened" in outcomes
        for _ in range(turn):
            await asyncio.sleep(0)
        budget.release(use)

    async def run_all() -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            await asyncio.gather(*(message(sizes, turn) for sizes, turn in zip(messages, turns, strict=False)))

    asyncio.run(run_all())
    assert budget.used_bytes == 0
