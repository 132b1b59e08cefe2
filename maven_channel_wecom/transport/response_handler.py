"""What of an answer aiohttp handles itself: the protocol of a connection out, with patience for one answer only."""

from __future__ import annotations

from typing import Final

from aiohttp.client_proto import ResponseHandler

_MOST_UNREAD: Final = 16
"""Answers that came at once. Informational ones (RFC 9110 15.2) may precede the answer; a proxy sends one or two."""

# Taken apart before they are counted; it holds some seventy of the shortest, which take half a millisecond.
_PIECE_BYTES: Final = 1024

# Of a body, behind which they may come as well: two thousand, which take 5 ms. Smaller pieces make large media slower.
_BODY_PIECE_BYTES: Final = 32 * 1024


class ImpatientResponseHandler(ResponseHandler):
    """Hangs up on a server that does nothing but announce an answer.

    aiohttp takes apart at once whatever came, and of informational answers there may be ten thousand in it: nobody else
    would be served meanwhile, and then the next ten thousand are there.
    """

    def data_received(self, data: bytes) -> None:
        """See Protocol."""
        start = 0
        while True:
            in_body = self._payload is not None and not self._payload.is_eof()
            end = start + (_BODY_PIECE_BYTES if in_body else _PIECE_BYTES)
            # Nothing, too, is received: it has the parser go on.
            super().data_received(data[start:end])
            if self.transport is not None and len(self) > _MOST_UNREAD:
                self.transport.abort()
            if end >= len(data) or not self.is_connected():
                return
            start = end
