"""WeCom's media storage: files encrypted with the bot's key (100719), at signed URLs that expire after five minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import msgspec
from aiohttp import web

from maven_channel_wecom.protocol import cipher, limits
from maven_channel_wecom.simulator.faults import FaultScript
from maven_channel_wecom.simulator.media_faults import InterceptedDownload, MediaFault, expired

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.simulator.recorded import Recorded

MEDIA_PATH = "/aibot-img/{object_id}"


class _StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    content: bytes
    name: str
    key: bytes
    url: str
    expires_at: float

    def __repr__(self) -> str:
        return f"<_StoredFile {len(self.content)} bytes>"


class MediaStore:
    """Stores files in memory and serves them.

    Attributes:
        faults: the faults of coming downloads.
    """

    def __init__(self, recorded: Recorded, *, clock: Callable[[], float], random: Callable[[int], bytes]) -> None:
        self.faults: FaultScript[MediaFault] = FaultScript()
        self._recorded = recorded
        self._clock = clock
        self._random = random
        self._stored: dict[str, _StoredFile] = {}

    def put(self, base_url: str, content: bytes, *, name: str, message_id: str, key: bytes) -> str:
        """Store a file of a message and return its signed URL, with `sign` percent-encoded as by WeCom."""
        self._delete_expired()
        object_id = str(int.from_bytes(self._random(8), "big"))
        now = int(self._clock())
        period = f"{now};{now + limits.MEDIA_URL_SECONDS}"
        sign = (
            f"q-sign-algorithm=sha1&q-ak={self._random(18).hex()}&q-sign-time={period}&q-key-time={period}"
            f"&q-header-list=host&q-url-param-list=&q-signature={self._random(20).hex()}"
        )
        url = f"{base_url}{MEDIA_PATH.format(object_id=object_id)}?sign={quote(sign, safe='')}"
        self._stored[object_id] = _StoredFile(
            message_id=message_id,
            content=content,
            name=name,
            key=key,
            url=url,
            expires_at=self._clock() + limits.MEDIA_URL_SECONDS,
        )
        return url

    def _delete_expired(self) -> None:
        """Delete the content of files that nobody can download any more. Their URLs are answered as before."""
        now = self._clock()
        for object_id, stored in self._stored.items():
            if stored.content and now >= stored.expires_at:
                self._stored[object_id] = msgspec.structs.replace(stored, content=b"")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request to `MEDIA_PATH`."""
        stored = self._stored.get(request.match_info["object_id"])
        if stored is None:
            return web.Response(status=404, text="NoSuchKey", content_type="application/xml")
        self._recorded.media_requests[stored.message_id] += 1
        parts = urlsplit(stored.url)
        if request.raw_path != f"{parts.path}?{parts.query}":
            self._recorded.offence("altered_media_url", stored.message_id)
            return web.Response(status=403, text="SignatureDoesNotMatch", content_type="application/xml")

        async def serve() -> web.Response:
            return self._serve(stored)

        fault = self.faults.take(stored.message_id)
        if fault is None:
            return self._serve(stored)
        return await fault(InterceptedDownload(request, serve, serve, stored.content, stored.key))

    def _serve(self, stored: _StoredFile) -> web.Response:
        if self._clock() >= stored.expires_at:
            return expired()
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(stored.name, safe='')}"}
        body = cipher.encrypt(stored.key, stored.content)
        return web.Response(body=body, headers=headers, content_type="application/octet-stream")
