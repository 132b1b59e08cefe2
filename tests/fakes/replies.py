"""A fake Egress with scripted answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from maven_channel_wecom.errors import AnswerLost, RequestNotSent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maven_channel_wecom.egress.egress import SendProgress

Step = int | tuple[int, bytes] | RequestNotSent | AnswerLost


class ScriptedEgress:
    """Uses one step for each request, and repeats the last: an errcode, a status with a body, or an error to raise.

    `posts` contains the URL and the markdown of each request, `timeouts` its limit in seconds,
    `feedback_ids` its id for feedback.
    """

    def __init__(self, steps: Sequence[Step] = (0,)) -> None:
        self._steps = list(steps)
        self.posts: list[tuple[str, str]] = []
        self.timeouts: list[float] = []
        self.feedback_ids: list[str] = []

    async def post(
        self, url: str, body: bytes, *, timeout_seconds: float, progress: SendProgress | None = None
    ) -> tuple[int, bytes]:
        sent: dict[str, Any] = json.loads(body)
        self.posts.append((url, sent["markdown"]["content"]))
        self.feedback_ids.append(sent["markdown"].get("feedback", {}).get("id", ""))
        self.timeouts.append(timeout_seconds)
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        if progress is not None:
            progress.left = not isinstance(step, RequestNotSent)
        if isinstance(step, RequestNotSent | AnswerLost):
            raise step
        return (200, b'{"errcode":%d}' % step) if isinstance(step, int) else step
