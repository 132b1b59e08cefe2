"""Downloads: they are complete and within their limits, or fail with a reason."""

from __future__ import annotations

import asyncio
import gc
import gzip
import io
import traceback
import weakref
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.egress.egress import Egress
from maven_channel_wecom.egress.media_client import SENTENCES, Download, MediaClient
from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.transport.answer_limit import READ_BYTES
from tests.fakes.connecting import Diversion
from tests.fakes.names import Names
from tests.fakes.sites import Site, answer, hang_up, in_turn, reset, silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from maven_channel_wecom.errors import DownloadFailure

    Script = Callable[[asyncio.StreamWriter], Awaitable[None]]

CANARY = "canary-signature"


class RecordedSleep:
    """A `sleep` that records its arguments and returns at once."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@asynccontextmanager
async def storage(script: Script, recorded: RecordedSleep | None = None) -> AsyncIterator[tuple[Site, MediaClient]]:
    egress = Egress(allow_private_network=True)
    async with Site(script) as site:
        try:
            yield site, MediaClient(egress, sleep=recorded or RecordedSleep())
        finally:
            await egress.close()


async def fetch(
    site: Site, media: MediaClient, *, limit_bytes: int = 1_000, timeout_seconds: float = 5
) -> Download[io.BytesIO]:
    url = f"{site.url}f?sign={CANARY}%3D%26x%3dy"
    return await media.get(url, io.BytesIO, limit_bytes=limit_bytes, timeout_seconds=timeout_seconds)


async def content(site: Site, media: MediaClient, *, limit_bytes: int = 1_000) -> bytes:
    return (await fetch(site, media, limit_bytes=limit_bytes)).sink.getvalue()


async def test_a_download_has_the_bytes_and_the_content_disposition() -> None:
    """The URL is requested verbatim, as its signature covers every byte of it."""
    header = "attachment; filename*=UTF-8''%E4%BD%A0.png"
    script = answer(b"\x00cipher", headers=f"Content-Disposition: {header}\r\n")
    async with storage(script) as (site, media):
        download = await fetch(site, media)
    assert (download.sink.getvalue(), download.content_disposition) == (b"\x00cipher", header)
    assert site.requests[0].line == f"GET /f?sign={CANARY}%3D%26x%3dy HTTP/1.1"
    assert site.requests[0].headers["accept-encoding"] == "identity"
    assert "cipher" not in repr(download)
    assert "filename" not in repr(download)


async def test_without_the_header_the_content_disposition_is_empty() -> None:
    async with storage(answer(b"")) as (site, media):
        download = await fetch(site, media)
    assert (download.sink.getvalue(), download.content_disposition) == (b"", "")


async def test_a_download_of_exactly_the_limit_passes() -> None:
    async with storage(answer(b"x" * 1_000)) as (site, media):
        assert len(await content(site, media)) == 1_000


async def announced(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")  # no body: refused before reading
    await silence(writer)


async def unannounced(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_001)
    await hang_up(writer)


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize("script", [announced, unannounced, endless])
async def test_a_download_past_the_limit_is_refused(script: Script) -> None:
    """The size may be announced, unannounced or endless. The download is not retried."""
    recorded = RecordedSleep()
    async with storage(script, recorded) as (site, media):
        with pytest.raises(MediaUnavailable) as caught:
            await fetch(site, media)
    assert caught.value.reason == "too_large"
    assert (len(site.requests), recorded.seconds) == (1, [])


def in_chunks(body: bytes) -> Script:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 300):
            part = body[start : start + 300]
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    return script


async def test_a_download_without_a_length_may_have_exactly_the_limit() -> None:
    """One byte more is too much, even if it arrives long after the first."""
    async with storage(in_turn(in_chunks(b"x" * 200_000), in_chunks(b"x" * 200_001))) as (site, media):
        assert len(await content(site, media, limit_bytes=200_000)) == 200_000
        with pytest.raises(MediaUnavailable) as caught:
            await fetch(site, media, limit_bytes=200_000)
    assert caught.value.reason == "too_large"


async def test_an_answer_longer_than_announced_is_retried() -> None:
    async with storage(in_turn(answer(b"whole and more", length=5), answer(b"whole"))) as (site, media):
        assert await content(site, media) == b"whole"
    assert len(site.requests) == 2


async def test_a_large_download_is_written_in_small_parts() -> None:
    """Decrypting a larger part would block the event loop."""
    sizes = []

    class RecordingSink(io.BytesIO):
        def write(self, part: bytes, /) -> int:  # type: ignore[override]
            sizes.append(len(part))
            return super().write(part)

    async with storage(answer(b"x" * 1_000_000)) as (site, media):
        download = await media.get(site.url, RecordingSink, limit_bytes=1_000_000, timeout_seconds=5)
    assert len(download.sink.getvalue()) == sum(sizes) == 1_000_000
    assert max(sizes) <= 64 * 1024


async def test_downloads_write_one_part_per_loop_iteration() -> None:
    """Between two parts of any downloads, all other tasks that are ready run."""
    order = []

    class RecordingSink(io.BytesIO):
        def write(self, part: bytes, /) -> int:  # type: ignore[override]
            order.append("part")
            return super().write(part)

    async def other_task() -> None:
        while True:
            order.append("others")
            await asyncio.sleep(0)

    async with storage(answer(b"x" * 1_000_000)) as (site, media):
        others = asyncio.create_task(other_task())
        await asyncio.gather(
            *(media.get(site.url, RecordingSink, limit_bytes=1_000_000, timeout_seconds=5) for _ in range(4))
        )
        others.cancel()
    assert ("part", "part") not in set(pairwise(order))


async def test_other_tasks_run_while_chunks_of_one_byte_arrive() -> None:
    """A hostile host can send forty thousand of them at once, which take a tenth of a second to parse."""
    chunks = 40_000
    iterations = 0

    async def send_chunks(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * chunks + b"0\r\n\r\n")
        await writer.drain()

    async def other_task() -> None:
        nonlocal iterations
        while True:
            iterations += 1
            await asyncio.sleep(0)

    async with storage(send_chunks) as (site, media):
        other = asyncio.create_task(other_task())
        assert len(await content(site, media, limit_bytes=chunks)) == chunks
        other.cancel()
    assert iterations >= 6 * chunks // READ_BYTES


async def test_a_canceled_download_frees_its_bytes_and_closes_its_connection() -> None:
    closed = asyncio.Event()
    sinks: list[weakref.ref[ReportingSink]] = []
    arrived = asyncio.Event()

    class ReportingSink(io.BytesIO):
        def __init__(self) -> None:
            super().__init__()
            sinks.append(weakref.ref(self))

        def write(self, part: bytes, /) -> int:  # type: ignore[override]
            arrived.set()
            return super().write(part)

    async def endless_until_closed(writer: asyncio.StreamWriter) -> None:
        try:
            await endless(writer)
        except ConnectionError:
            closed.set()
            raise

    async with storage(endless_until_closed) as (site, media):
        downloading = asyncio.create_task(media.get(site.url, ReportingSink, limit_bytes=10**9, timeout_seconds=5))
        async with asyncio.timeout(5):
            await arrived.wait()
            downloading.cancel()
            await asyncio.gather(downloading, return_exceptions=True)
            await closed.wait()
        del downloading
        gc.collect()
        assert [sink() for sink in sinks] == [None]


async def test_a_compressed_answer_is_not_decompressed() -> None:
    """Compression was not requested, and a small answer must not expand in memory."""
    bomb = gzip.compress(bytes(1_000_000))
    async with storage(answer(bomb, headers="Content-Encoding: gzip\r\n")) as (site, media):
        assert await content(site, media, limit_bytes=len(bomb)) == bomb


async def cut(writer: asyncio.StreamWriter) -> None:
    await answer(b"half", length=8)(writer)


async def torn(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
    await writer.drain()
    await reset(writer)


async def stalled(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
    await silence(writer)


@pytest.mark.parametrize(
    "broken",
    [
        *(reset, hang_up, cut, torn),
        *(answer(b"", status=f"{code} x") for code in (500, 502, 503, 504, 507, 520, 599, 408, 425, 429)),
    ],
    ids=["reset", "hang_up", "cut", "torn", *("500", "502", "503", "504", "507", "520", "599", "408", "425", "429")],
)
async def test_after_a_transient_failure_there_are_three_attempts_in_all(broken: Script) -> None:
    """Each attempt is one request, which aiohttp does not retry, and has a new sink."""
    recorded = RecordedSleep()
    async with storage(in_turn(broken, broken, answer(b"whole")), recorded) as (site, media):
        assert await content(site, media) == b"whole"
    assert len(site.requests) == 3
    assert recorded.seconds == [0.25, 1.0]


@pytest.mark.parametrize(
    ("script", "reason", "requests"),
    [
        (reset, "reset", 3),
        (hang_up, "reset", 3),
        (cut, "reset", 3),
        (answer(b"", status="503 Busy"), "http_status", 3),
        (answer(b"", status="404 Gone"), "http_status", 1),
        (answer(b"", status="403 Expired"), "http_status", 1),
        (answer(b"", status="204 Nothing"), "http_status", 1),
        (answer(b"x", status="206 Part"), "http_status", 1),
        (answer(b"", status="302 Found", headers="Location: /elsewhere\r\n"), "http_status", 1),
        (silence, "timeout", 1),
        (stalled, "timeout", 1),
    ],
    ids=["reset", "hang_up", "cut", "503", "404", "403", "204", "206", "302", "silence", "stalled"],
)
async def test_a_permanent_failure_has_its_reason(script: Script, reason: DownloadFailure, requests: int) -> None:
    """The error contains neither the URL nor its signature."""
    async with storage(script) as (site, media):
        with pytest.raises(MediaUnavailable) as caught:
            await fetch(site, media, timeout_seconds=0.2 if reason == "timeout" else 5)
    assert (caught.value.reason, len(site.requests)) == (reason, requests)
    assert str(caught.value) == SENTENCES[reason]
    assert_url_not_exposed(caught.value)


@pytest.mark.parametrize(
    ("url", "reason", "attempts"),
    [
        (f"http://files.example/{CANARY}", "connect", 3),
        (f"ftp://files.example/{CANARY}", "bad_url", 0),
        (f"http://[{CANARY}/", "bad_url", 0),
        (f"http://10.0.0.1/{CANARY}", "forbidden_address", 0),
    ],
)
async def test_a_download_that_made_no_connection_has_its_reason(url: str, reason: str, attempts: int) -> None:
    names = Names({})
    egress = Egress(resolver=names, socket_factory=Diversion())
    with pytest.raises(MediaUnavailable) as caught:
        await MediaClient(egress, sleep=RecordedSleep()).get(url, io.BytesIO, limit_bytes=1, timeout_seconds=5)
    await egress.close()
    assert (caught.value.reason, len(names.asked)) == (reason, attempts)
    assert_url_not_exposed(caught.value)


async def test_the_time_limit_includes_the_delays_between_attempts() -> None:
    """A delay that exceeds the limit ends the download."""

    async def forever(seconds: float) -> None:
        await asyncio.Event().wait()

    egress = Egress(allow_private_network=True)
    async with Site(reset) as site:
        with pytest.raises(MediaUnavailable) as caught:
            await fetch(site, MediaClient(egress, sleep=forever), timeout_seconds=0.2)
        await egress.close()
    assert (caught.value.reason, len(site.requests)) == ("timeout", 1)


def assert_url_not_exposed(error: BaseException) -> None:
    rendered = "".join(traceback.format_exception(error)) + repr(error)
    assert CANARY not in rendered
    assert "127.0.0.1" not in str(error)
