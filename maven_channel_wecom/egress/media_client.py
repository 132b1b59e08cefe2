"""Downloads media items within limits of size and time, and writes their bytes to a sink without interpreting them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from maven_channel_wecom.errors import AnswerLost, MediaUnavailable, RequestNotSent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from maven_channel_wecom.egress.egress import Egress
    from maven_channel_wecom.errors import DownloadFailure

RETRY_DELAYS_SECONDS: Final = (0.25, 1.0)
"""Delays between attempts; there is one more attempt than delays. WeCom's storage occasionally answers 5xx or resets a
connection. Fewer: such an item is lost. More: a message waits longer for an item that does not exist."""

SENTENCES: Final[dict[DownloadFailure, str]] = {
    "forbidden_address": "the media is at an address that is not public; set allowPrivateNetwork if that is intended. A"
    " local proxy that answers names with addresses of 198.18.0.0/15 is no such case: set proxy to its port",
    "connect": "no connection to the media storage could be made",
    "timeout": "the download did not finish in time",
    "reset": "the connection broke during the download",
    "http_status": "the media storage refused the download",
    "too_large": "the media is larger than the limit",
    "bad_url": "the URL of the media is not a plain http or https URL",
}

_CHUNK_BYTES: Final = 64 * 1024
# For all other reasons of a RequestNotSent, the connection could not be made.
_NOT_TRIED_REASONS: Final[dict[str, DownloadFailure]] = {
    "forbidden_address": "forbidden_address",
    "bad_url": "bad_url",
}


# Statuses below 500 after which the same request may succeed (RFC 9110 15.5.9, RFC 8470, RFC 6585). The others are
# permanent: the storage has refused the URL, or redirects, which is not followed.
_TRANSIENT_STATUSES: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


class _Transient(MediaUnavailable):
    """A failure after which another attempt may succeed."""


class Sink(Protocol):
    """Receives the bytes of a download as they arrive. Raises no exception but MediaUnavailable."""

    def write(self, content: bytes, /) -> object:
        """Write the next bytes, at most 64 KiB, in a fraction of a millisecond."""
        ...


_Sink = TypeVar("_Sink", bound=Sink)


@dataclass(frozen=True, slots=True, repr=False)
class Download(Generic[_Sink]):
    """The sink that received the bytes, and the `Content-Disposition` header as sent, empty if there was none."""

    sink: _Sink
    content_disposition: str


class MediaClient:
    """Downloads through `egress` in up to three attempts. `sleep` waits the given number of seconds between them."""

    def __init__(self, egress: Egress, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._egress = egress
        self._sleep = sleep
        self._one_write_per_iteration = asyncio.Lock()

    async def get(
        self, url: str, new_sink: Callable[[], _Sink], *, limit_bytes: int, timeout_seconds: float
    ) -> Download[_Sink]:
        """Download at most `limit_bytes`, in at most `timeout_seconds` including all attempts and delays.

        Each attempt writes to a new sink. The sink of the successful attempt is returned.

        Raises:
            MediaUnavailable: with a DownloadFailure as its reason, unless the sink raised it.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                for delay_seconds in RETRY_DELAYS_SECONDS:
                    try:
                        return await self._get_once(url, new_sink(), limit_bytes, timeout_seconds)
                    except _Transient:
                        pass
                    await self._sleep(delay_seconds)
                return await self._get_once(url, new_sink(), limit_bytes, timeout_seconds)
        except TimeoutError:
            failure = _unavailable(reason="timeout")
        raise failure

    async def _get_once(self, url: str, sink: _Sink, limit_bytes: int, timeout_seconds: float) -> Download[_Sink]:
        async def read(response: aiohttp.ClientResponse) -> Download[_Sink]:
            await self._receive(response, sink, limit_bytes)
            return Download(sink, response.headers.get("Content-Disposition", ""))

        reason: DownloadFailure
        try:
            return await self._egress.get(url, read=read, timeout_seconds=timeout_seconds)
        except RequestNotSent as error:
            reason = _NOT_TRIED_REASONS.get(error.reason, "connect")
        except AnswerLost as error:
            reason = "timeout" if error.reason == "timeout" else "reset"
        raise _unavailable(reason=reason, transient=reason in {"connect", "reset"})

    async def _receive(self, response: aiohttp.ClientResponse, sink: Sink, limit_bytes: int) -> None:
        if response.status != HTTPStatus.OK:
            # 5xx includes codes of a CDN that HTTPStatus does not know, such as 520.
            transient = response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status in _TRANSIENT_STATUSES
            raise _unavailable(reason="http_status", transient=transient)
        if response.content_length is not None and response.content_length > limit_bytes:
            raise _unavailable(reason="too_large")
        received_bytes = 0
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            received_bytes += len(chunk)
            if received_bytes > limit_bytes:
                raise _unavailable(reason="too_large")
            # All downloads together write one chunk per loop iteration, however many and however fast they are.
            async with self._one_write_per_iteration:
                sink.write(chunk)
                await asyncio.sleep(0)


def _unavailable(*, reason: DownloadFailure, transient: bool = False) -> MediaUnavailable:
    return (_Transient if transient else MediaUnavailable)(SENTENCES[reason], reason=reason)
