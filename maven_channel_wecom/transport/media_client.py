"""Downloads one media item, capped in bytes and time. What the bytes mean, and where they go, is not known here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from maven_channel_wecom.errors import AnswerLost, MediaUnavailable, RequestNotSent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from maven_channel_wecom.transport.egress import Egress

_SENTENCES: Final = {
    "forbidden_address": "the media lies at an address that is not public; set allowPrivateNetwork if it is meant",
    "connect": "no connection to the media storage could be made",
    "timeout": "the download did not end in time",
    "reset": "the connection broke during the download",
    "http_status": "the media storage refused the download",
    "too_large": "the media is larger than the limit",
    "bad_url": "the URL of the media is not a plain http or https URL",
}
REASONS: Final = tuple(_SENTENCES)

# WeCom's storage answers 503 and resets connections now and then; the URL lives five minutes.
_PAUSES_SECONDS: Final = (0.25, 1.0)
_CHUNK_BYTES: Final = 64 * 1024


class _Transient(MediaUnavailable):
    """Worth another attempt."""


class Sink(Protocol):
    """Takes the bytes as they come, and raises nothing but MediaUnavailable."""

    def write(self, content: bytes, /) -> object:
        """Take the next bytes: 64 KiB at most, in a small part of a millisecond."""
        ...


_Sink = TypeVar("_Sink", bound=Sink)


@dataclass(frozen=True, slots=True, repr=False)
class Download(Generic[_Sink]):
    """Where the bytes went, and the header `Content-Disposition` as sent, empty when there was none."""

    sink: _Sink
    content_disposition: str


class MediaClient:
    """Fetches through `egress`, up to three times; `sleep` waits the given seconds between attempts."""

    def __init__(self, egress: Egress, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._egress = egress
        self._sleep = sleep
        self._turn = asyncio.Lock()

    async def get(
        self, url: str, new_sink: Callable[[], _Sink], *, limit_bytes: int, timeout_seconds: float
    ) -> Download[_Sink]:
        """Download at most `limit_bytes`, in at most `timeout_seconds` for all attempts and pauses together.

        Each attempt writes into a sink of its own; the one that got everything is returned.

        Raises:
            MediaUnavailable: with a `reason` out of `REASONS`, or what the sink raised.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._get_patiently(url, new_sink, limit_bytes, timeout_seconds)
        except TimeoutError:
            failure = _unavailable(reason="timeout")
        raise failure

    async def _get_patiently(
        self, url: str, new_sink: Callable[[], _Sink], limit_bytes: int, timeout_seconds: float
    ) -> Download[_Sink]:
        for pause_seconds in _PAUSES_SECONDS:
            try:
                return await self._get_once(url, new_sink(), limit_bytes, timeout_seconds)
            except _Transient:
                pass
            await self._sleep(pause_seconds)
        return await self._get_once(url, new_sink(), limit_bytes, timeout_seconds)

    async def _get_once(self, url: str, sink: _Sink, limit_bytes: int, timeout_seconds: float) -> Download[_Sink]:
        async def read(response: aiohttp.ClientResponse) -> Download[_Sink]:
            await self._pour(response, sink, limit_bytes)
            return Download(sink, response.headers.get("Content-Disposition", ""))

        try:
            return await self._egress.exchange("GET", url, read=read, timeout_seconds=timeout_seconds)
        except RequestNotSent as error:
            reason = error.reason if error.reason in {"forbidden_address", "bad_url"} else "connect"
        except AnswerLost as error:
            reason = error.reason
        raise _unavailable(reason=reason, transient=reason in {"connect", "reset"})

    async def _pour(self, response: aiohttp.ClientResponse, sink: Sink, limit_bytes: int) -> None:
        if response.status != HTTPStatus.OK:
            raise _unavailable(reason="http_status", transient=response.status == HTTPStatus.SERVICE_UNAVAILABLE)
        if response.content_length is not None and response.content_length > limit_bytes:
            raise _unavailable(reason="too_large")
        received_bytes = 0
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            received_bytes += len(chunk)
            if received_bytes > limit_bytes:
                raise _unavailable(reason="too_large")
            # One chunk of all downloads in each turn of the event loop, however many there are and however fast.
            async with self._turn:
                sink.write(chunk)
                await asyncio.sleep(0)


def _unavailable(*, reason: str, transient: bool = False) -> MediaUnavailable:
    return (_Transient if transient else MediaUnavailable)(_SENTENCES[reason], reason=reason)
