"""Generates steady traffic of users, and counts the outcomes of the messages."""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from maven_channel_wecom.simulator.messages import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maven_channel_wecom.simulator.sent import SentCallback
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom

# WeCom does not document the delay before it repeats a callback. A short delay is the harder case.
_REPEAT_SECONDS = 0.3
_REPEATS = 2


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Outcomes of the messages; `lost` and `answered_twice` are message ids."""

    acknowledged: int
    answered: int
    lost: list[str] = field(default_factory=list)
    answered_twice: list[str] = field(default_factory=list)
    repeated_posts: int = 0
    most_posts: int = 0

    def __str__(self) -> str:
        return (
            f"{self.acknowledged} acknowledged, {self.answered} answered, {len(self.lost)} lost, "
            f"{len(self.answered_twice)} answered twice, {self.repeated_posts} POSTs repeated "
            f"(at most {self.most_posts} for one message)"
        )


class Traffic:
    """Context manager that sends numbered texts at a steady rate to random replicas.

    A callback that was not acknowledged is repeated, like WeCom does. At the end it stops sending, and waits for the
    deliveries in progress.
    """

    def __init__(self, wecom: SimulatedWeCom, urls: Callable[[], Sequence[str]], *, per_second: float) -> None:
        self.sent: list[tuple[float, SentCallback]] = []
        """Each callback with the time of its answer, on the clock of the event loop."""
        self._wecom = wecom
        self._urls = urls
        self._interval_seconds = 1 / per_second
        self._deliveries: set[asyncio.Task[None]] = set()
        self._sending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._sending = asyncio.create_task(self._send_steadily())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._sending is not None
        self._sending.cancel()
        if self._deliveries:
            await asyncio.wait(self._deliveries)

    async def _send_steadily(self) -> None:
        for number in itertools.count():
            delivery = asyncio.create_task(self._deliver(f"message {number}", f"user{number % 50}"))
            self._deliveries.add(delivery)
            delivery.add_done_callback(self._deliveries.discard)
            await asyncio.sleep(self._interval_seconds)

    async def _deliver(self, text: str, user: str) -> None:
        sent = await self._wecom.send(Text(text), user=user, at=self._any_url())
        self._record(sent)
        for _ in range(_REPEATS):
            if sent.acknowledged:
                return
            await asyncio.sleep(_REPEAT_SECONDS)
            sent = await self._wecom.redeliver(sent, at=self._any_url())
            self._record(sent)

    def _record(self, sent: SentCallback) -> None:
        self.sent.append((asyncio.get_running_loop().time(), sent))

    def _any_url(self) -> str:
        return random.choice(self._urls())  # noqa: S311 - load balancing, not a secret


async def tally(wecom: SimulatedWeCom, *, within_seconds: float) -> Tally:
    """Wait until every acknowledged message is answered or `within_seconds` have passed, then count the outcomes."""
    recorded = wecom.recorded
    deadline = asyncio.get_running_loop().time() + within_seconds
    answered = {reply.message_id for reply in recorded.replies}
    while recorded.acknowledged_ids - answered and asyncio.get_running_loop().time() < deadline:
        # There is no event to wait for: more messages may be acknowledged at any time.
        await asyncio.sleep(0.1)
        answered = {reply.message_id for reply in recorded.replies}
    accepted = [reply.message_id for reply in recorded.replies]
    return Tally(
        acknowledged=len(recorded.acknowledged_ids),
        answered=len(recorded.acknowledged_ids & answered),
        lost=sorted(recorded.acknowledged_ids - answered),
        answered_twice=sorted({message_id for message_id in accepted if accepted.count(message_id) > 1})
        if len(accepted) != len(set(accepted))
        else [],
        repeated_posts=sum(posts - 1 for posts in recorded.posts.values() if posts > 1),
        most_posts=max(recorded.posts.values(), default=0),
    )
