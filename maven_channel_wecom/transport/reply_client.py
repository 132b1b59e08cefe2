"""POSTs one reply and reads the short answer. What the answer means, and whether to try again, is decided elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maven_channel_wecom.transport.failures import LOST_REASONS, NOT_SENT_REASONS

if TYPE_CHECKING:
    from maven_channel_wecom.transport.egress import Egress
    from maven_channel_wecom.transport.passage import Passage

__all__ = ["LOST_REASONS", "NOT_SENT_REASONS", "ReplyClient"]

_ANSWER_BYTES: Final = 64 * 1024  # WeCom's own answer is below 1 KiB; a longer one is some proxy's page


class ReplyClient:
    """Speaks to a `response_url` through `egress`."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def post(
        self, url: str, body: bytes, *, timeout_seconds: float, passage: Passage | None = None
    ) -> tuple[int, bytes]:
        """POST JSON once and return the HTTP status and at most 64 KiB of the answer.

        Who is canceled meanwhile finds in `passage` whether the request left.

        Raises:
            RequestNotSent: nothing of the request left this machine; `reason` is one of `NOT_SENT_REASONS`.
            AnswerLost: it left, or may have; `reason` is one of `LOST_REASONS`.
        """
        return await self._egress.post(
            url, body, limit_bytes=_ANSWER_BYTES, timeout_seconds=timeout_seconds, passage=passage
        )
