"""Media items on their way to blocks, and the budget of bytes they use."""

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


def fetcher(
    storage: Storage | MediaClient,
    recorder: Recorder | None = None,
    *,
    keys: Sequence[bytes] = (KEY,),
    budget: MediaBudget | None = None,
) -> MediaFetcher:
    return MediaFetcher(
        cast("MediaClient", storage),
        keys,
        budget=budget or MediaBudget(20 * BLOCK_BYTES),
        emit=recorder or Recorder(),
        clock=FakeClock(),
    )


def image(aes_key: str = "") -> MediaItem:
    return MediaItem(kind="image", url="https://canary/", aes_key=aes_key)


async def test_places_for_downloads_come_back() -> None:
    """However many messages with pictures there were before."""
    storage = Storage(cipher.encrypt(KEY, PNG))
    media = fetcher(storage)
    for _ in range(50):
        block = await media.fetch(image(), MediaUse(), received_at=FakeClock().now(), message_id="m")
        assert isinstance(block, ImageBlock)
    assert storage.downloads == 50


async def test_a_key_of_its_own_opens_an_item_and_a_wrong_one_does_not_matter() -> None:
    """The bot's key is tried as well."""
    own = fetcher(Storage(cipher.encrypt(ITEM_KEY, PNG)))
    other = fetcher(Storage(cipher.encrypt(KEY, PNG)))
    for media, key in ((own, ITEM_KEY.hex()), (other, ITEM_KEY.hex()), (other, "nonsense")):
        block = await media.fetch(image(key), MediaUse(), received_at=FakeClock().now(), message_id="m")
        assert isinstance(block, ImageBlock)


async def test_a_file_has_the_name_storage_gives_it() -> None:
    """From the header of the download."""
    media = fetcher(Storage(cipher.encrypt(KEY, b"a,b\n")))
    item = MediaItem(kind="file", url="https://canary/")
    block = await media.fetch(item, MediaUse(), received_at=FakeClock().now(), message_id="m")
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
    block = await fetcher(storage, keys=keys).fetch(item, MediaUse(), received_at=FakeClock().now(), message_id="m")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(block, ImageBlock | FileBlock)
    assert block.data == base64.b64encode(content).decode()
    assert peak_bytes <= 2.2 * len(block.data)


async def test_a_bug_met_by_a_picture_costs_the_picture_alone() -> None:
    """It is reported by its kind; what it says is not."""
    recorder = Recorder()
    media = fetcher(Storage(b"", RuntimeError("canary")), recorder)
    block = await media.fetch(image(), MediaUse(), received_at=FakeClock().now(), message_id="m")
    assert block == UnavailableBlock(kind="image", reason="error")
    assert recorder.of(events.MediaFailed) == [events.MediaFailed(message_id="m", error="RuntimeError")]
    assert [event.outcome for event in recorder.of(events.MediaEnded)] == ["error"]


async def test_an_item_of_which_only_an_id_came_says_so() -> None:
    recorder = Recorder()
    item = MediaItem(kind="image", url="", media_id="1")
    block = await fetcher(Storage(b""), recorder).fetch(item, MediaUse(), received_at=FakeClock().now(), message_id="m")
    assert block == UnavailableBlock(kind="image", reason="no_url")
    assert recorder.of(events.MediaEnded) == [
        events.MediaEnded(message_id="m", kind="image", outcome="no_url", only_id=True)
    ]


async def test_a_message_of_ten_thousand_pictures_fetches_a_few() -> None:
    """The others are said to be too many."""
    storage = Storage(cipher.encrypt(KEY, PNG))
    items = [image()] * 10_000
    blocks = await fetcher(storage).fetch_all(items, MediaUse(), received_at=FakeClock().now(), message_id="m")
    assert storage.downloads == MAX_ITEMS
    assert len(blocks) == 10_000
    assert blocks[-1] == UnavailableBlock(kind="image", reason="too_many")


async def test_an_item_takes_up_room_for_its_base64_until_its_message_leaves() -> None:
    """What could not be had takes up none."""
    budget, use = MediaBudget(2 * BLOCK_BYTES), MediaUse()
    media = fetcher(Storage(cipher.encrypt(KEY, PNG)), budget=budget)
    blocks = await media.fetch_all([image()] * 3, use, received_at=FakeClock().now(), message_id="m")
    assert budget.used_bytes == sum(len(block.data) for block in blocks if isinstance(block, ImageBlock)) > 0
    broken = fetcher(Storage(b"", RuntimeError()), budget=budget)
    await broken.fetch(image(), MediaUse(), received_at=FakeClock().now(), message_id="m")
    budget.release(use)
    assert budget.used_bytes == 0


async def test_an_item_for_which_there_is_no_room_in_its_five_minutes_is_expired() -> None:
    """Others hold everything, and nobody leaves; what its own message holds is no reason to wait at all."""
    budget, others, use = MediaBudget(2 * BLOCK_BYTES), MediaUse(), MediaUse()
    await budget.reserve(others)
    budget.charge(others, BLOCK_BYTES)
    media = fetcher(Storage(cipher.encrypt(KEY, PNG)), budget=budget)
    almost_over = FakeClock().now() - 299.9
    blocks = await media.fetch_all([image()] * 2, use, received_at=almost_over, message_id="m")
    assert isinstance(blocks[0], ImageBlock)
    assert blocks[1] == UnavailableBlock(kind="image", reason="no_room")
    late = await media.fetch(image(), MediaUse(), received_at=almost_over, message_id="m")
    assert late == UnavailableBlock(kind="image", reason="expired")


async def test_the_five_minutes_of_an_item_are_over_at_their_end() -> None:
    """To the second; there may be room enough."""
    storage = Storage(cipher.encrypt(KEY, PNG))
    long_ago = FakeClock().now() - limits.MEDIA_URL_SECONDS
    block = await fetcher(storage).fetch(image(), MediaUse(), received_at=long_ago, message_id="m")
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
    budget, use, storage = MediaBudget(2 * BLOCK_BYTES), MediaUse(), Stuck(cipher.encrypt(KEY, PNG))
    opening = asyncio.create_task(
        fetcher(storage, budget=budget).fetch_all([image()] * 3, use, received_at=FakeClock().now(), message_id="m")
    )
    await both_came.wait()
    assert budget.used_bytes == 2 * BLOCK_BYTES
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    budget.release(use)
    await asyncio.sleep(0)
    assert budget.used_bytes == 0


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
            block = await fetcher(MediaClient(egress)).fetch(
                item, MediaUse(), received_at=FakeClock().now(), message_id="m"
            )
    finally:
        held.set()
        await egress.close()
    assert isinstance(block, ImageBlock)


async def waiting(budget: MediaBudget, use: MediaUse) -> asyncio.Task[None]:
    """Ask for room and come to where the answer is waited for."""
    task = asyncio.create_task(budget.reserve(use))
    await asyncio.sleep(0)
    return task


async def test_a_download_takes_up_the_largest_size_and_then_its_own() -> None:
    """Until its message leaves."""
    budget, use = MediaBudget(3 * BLOCK_BYTES), MediaUse()
    await budget.reserve(use)
    await budget.reserve(use)
    assert budget.used_bytes == 2 * BLOCK_BYTES
    budget.charge(use, 1_000)
    budget.charge(use, 0)
    assert budget.used_bytes == 1_000
    budget.release(use)
    assert budget.used_bytes == 0


async def test_who_does_not_fit_waits_and_whoever_came_first_goes_first() -> None:
    """A message that leaves makes budget, and so does an item smaller than it might have been."""
    budget = MediaBudget(2 * BLOCK_BYTES)
    large, small, first, second = (MediaUse() for _ in range(4))
    await budget.reserve(large)
    await budget.reserve(small)
    tasks = [await waiting(budget, first), await waiting(budget, second)]
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


async def test_downloads_at_once_are_limited_too() -> None:
    """However much room there is."""
    budget, use = MediaBudget(1_000 * BLOCK_BYTES), MediaUse()
    for _ in range(MAX_DOWNLOADS):
        await budget.reserve(use)
    next_one = await waiting(budget, use)
    assert not next_one.done()
    budget.charge(use, 10)
    await next_one


async def test_a_message_with_something_in_hand_waits_for_downloads_alone() -> None:
    """What others hold may depend on what it holds itself; a download always ends."""
    budget = MediaBudget(2 * BLOCK_BYTES)
    one, other = MediaUse(), MediaUse()
    await budget.reserve(one)
    budget.charge(one, 1)
    await budget.reserve(other)
    holder, next_one = await waiting(budget, one), await waiting(budget, MediaUse())
    assert not holder.done()
    budget.charge(other, BLOCK_BYTES)
    with pytest.raises(MediaUnavailable) as caught:
        await holder
    assert caught.value.reason == "no_room"
    with pytest.raises(MediaUnavailable):
        await budget.reserve(one)
    assert not next_one.done()
    budget.release(other)
    await next_one


async def test_a_message_that_left_holds_nothing_of_what_still_comes() -> None:
    """Its downloads may end after it."""
    budget, use = MediaBudget(BLOCK_BYTES), MediaUse()
    await budget.reserve(use)
    budget.release(use)
    assert budget.used_bytes == BLOCK_BYTES
    budget.charge(use, 1_000)
    assert budget.used_bytes == 0


async def test_a_message_leaves_once_however_often_it_is_said() -> None:
    """What others hold is theirs."""
    budget, use, other = MediaBudget(2 * BLOCK_BYTES), MediaUse(), MediaUse()
    for each in (use, other):
        await budget.reserve(each)
        budget.charge(each, 1_000)
    budget.release(use)
    budget.release(use)
    assert budget.used_bytes == 1_000


@pytest.mark.parametrize("granted", [False, True])
async def test_who_gives_up_waiting_takes_nothing(granted: bool) -> None:  # noqa: FBT001 - pytest names it
    """Even in the instant in which there was room."""
    budget, first, second = MediaBudget(BLOCK_BYTES), MediaUse(), MediaUse()
    await budget.reserve(first)
    cancelled, next_one = await waiting(budget, second), await waiting(budget, second)
    if granted:
        budget.charge(first, 0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    if not granted:
        budget.charge(first, 0)
    await next_one
    assert budget.used_bytes == BLOCK_BYTES


async def test_who_gives_up_in_the_instant_of_a_refusal_takes_nothing_either() -> None:
    """And gives nothing back that was never taken."""
    budget, holder, other = MediaBudget(2 * BLOCK_BYTES), MediaUse(), MediaUse()
    await budget.reserve(holder)
    budget.charge(holder, 1)
    await budget.reserve(other)
    cancelled = await waiting(budget, holder)
    budget.charge(other, BLOCK_BYTES)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert budget.used_bytes == BLOCK_BYTES + 1


async def test_those_who_gave_up_do_not_pile_up() -> None:
    """A room that stays full for hours forgets who waited in front of it."""
    budget, holder = MediaBudget(BLOCK_BYTES), MediaUse()
    await budget.reserve(holder)
    budget.charge(holder, BLOCK_BYTES)
    for _ in range(100):
        cancelled = await waiting(budget, MediaUse())
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
    assert len(budget._waiting) <= 1


@given(
    st.integers(1, 4),
    st.lists(st.lists(st.integers(0, BLOCK_BYTES), min_size=1, max_size=6), min_size=1, max_size=8),
    st.lists(st.integers(0, 5), min_size=8, max_size=8),
)
def test_every_message_comes_to_its_end(blocks: int, messages: list[list[int]], turns: list[int]) -> None:
    """Whatever they bring and in whatever order they end; what is taken never exceeds the limit."""
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
        use = MediaUse()
        outcomes = await asyncio.gather(*(download(use, size) for size in sizes))
        # The first one never fails.
        assert "opened" in outcomes
        for _ in range(turn):
            await asyncio.sleep(0)
        budget.release(use)

    async def run_all() -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            await asyncio.gather(*(message(sizes, turn) for sizes, turn in zip(messages, turns, strict=False)))

    asyncio.run(run_all())
    assert budget.used_bytes == 0
