"""Cancellation of a reply at each of its suspensions, on every backend, followed by other replies."""

from __future__ import annotations

import asyncio
import itertools
import types
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from maven_channel_wecom.contract.messages import OutboundMessage
from maven_channel_wecom.errors import RequestNotSent
from maven_channel_wecom.outbound import Outbound
from maven_channel_wecom.policy.language import Languages
from maven_channel_wecom.policy.reply_window import chat_key
from maven_channel_wecom.protocol.limits import MARKDOWN_BYTES
from tests.fakes.clock import SuspendingClock
from tests.fakes.recorder import Recorder
from tests.fakes.streams import make_streams
from tests.state.backends import BACKENDS
from tests.state.messages import NOW, admit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from maven_channel_wecom.contract.messages import Receipt
    from maven_channel_wecom.egress.egress import SendProgress

_T = TypeVar("_T")

CHAT = chat_key("alice", is_group=False)

ENDLESS = 1_000


class SuspendingEgress:
    """Suspends before and after each request leaves. Requests from number `fails_from` on do not leave.

    Like WeCom, it accepts one request for each URL.
    """

    def __init__(self, fails_from: int = ENDLESS) -> None:
        self.fails_from = fails_from
        self._requests = 0
        self.left: list[str] = []
        """The URLs of the requests that left and were accepted."""

    async def post(self, url: str, body: bytes, *, timeout_seconds: float, progress: SendProgress) -> tuple[int, bytes]:
        del body, timeout_seconds
        self._requests += 1
        await asyncio.sleep(0)
        if self._requests >= self.fails_from:
            raise RequestNotSent
        progress.left = True
        is_spent = url in self.left
        if not is_spent:
            self.left.append(url)
        await asyncio.sleep(0)
        return 200, b'{"errcode":60140}' if is_spent else b'{"errcode":0}'


class ObservedCoroutine(Coroutine[Any, Any, _T]):
    """A coroutine that calls `suspended` each time it suspends."""

    def __init__(self, coroutine: Coroutine[Any, Any, _T], suspended: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._suspended = suspended

    def send(self, value: object) -> object:
        awaited: object = self._coroutine.send(value)
        self._suspended()
        return awaited

    def throw(self, *error: Any) -> object:  # noqa: ANN401 - the signature of the base class has three forms
        awaited: object = self._coroutine.throw(*error)
        self._suspended()
        return awaited

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, _T]:
        return self._coroutine.__await__()


class Suspensions:
    """A task factory that counts the suspensions of a reply, and sets `reached` at the one with the given number."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.reached = asyncio.Event()

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, _T] | Generator[Any, None, _T], /
    ) -> asyncio.Task[_T]:
        if isinstance(coroutine, types.CoroutineType) and coroutine.__qualname__ == "Outbound._send_and_report":
            return asyncio.Task(ObservedCoroutine(coroutine, self._count), loop=loop)
        return asyncio.Task(coroutine, loop=loop)

    def _count(self) -> None:
        if self._left == 0:
            self.reached.set()
        self._left -= 1


def send(outbound: Outbound, reply_to: str, content: str = "hello") -> Coroutine[Any, Any, Receipt]:
    message = OutboundMessage(
        channel="wecom", chat_id="alice", content=content, reply_to=reply_to, metadata={"chat_type": "single"}
    )
    return outbound.send(message)


REPLIES: dict[str, tuple[str, int, int]] = {
    "short": ("hello", 0, ENDLESS),
    "unreachable": ("hello", 0, 1),
    "long": ("x" * (3 * MARKDOWN_BYTES), 3, ENDLESS),
    "long, unreachable": ("x" * (3 * MARKDOWN_BYTES), 3, 1),
    "long, second part unreachable": ("x" * (3 * MARKDOWN_BYTES), 3, 2),
    "long, with spare windows left": ("x" * (MARKDOWN_BYTES + 10), 3, ENDLESS),
}
"""Text, number of spare windows, and the first request that fails."""


@pytest.mark.parametrize("cancels_again_after", [(), (1,), (2,), (1, 1)], ids=["once", "twice", "later", "thrice"])
@pytest.mark.parametrize("waits", [True, False], ids=["waits", "at once"])
@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.parametrize("backend", BACKENDS)
async def test_each_message_is_answered_once_after_a_reply_was_cancelled(
    backend: str,
    reply: str,
    *,
    waits: bool,
    cancels_again_after: Sequence[int],
    tmp_path: Path,
) -> None:
    """A reply follows the cancelled one, at once or after the cancelled one has ended, and one for each window."""
    content, spares, fails_from = REPLIES[reply]
    loop = asyncio.get_running_loop()
    async with BACKENDS[backend](tmp_path) as opened_backend:
        state = await opened_backend.open()
        for number in itertools.count():
            ids = [f"{number}-{window}" for window in range(spares + 1)]
            for message_id in ids:
                await admit(state, message_id, chat=CHAT)
            for message_id in ids[1:]:
                await state.finish(message_id, NOW)
            egress = SuspendingEgress(fails_from)
            outbound = Outbound(
                languages=Languages(None, ()),
                feedback_id=None,
                poster=egress,
                streams=make_streams(),
                state=state,
                emit=Recorder(),
                clock=SuspendingClock(NOW),
                random=lambda: 0.0,
                overflow="continue",
            )
            suspensions = Suspensions(number)
            loop.set_task_factory(suspensions)
            cancelled = loop.create_task(send(outbound, ids[0], content))
            reached = loop.create_task(suspensions.reached.wait())
            await asyncio.wait([cancelled, reached], return_when=asyncio.FIRST_COMPLETED)
            loop.set_task_factory(None)
            if cancelled.done():
                reached.cancel()
                assert number
                break
            egress.fails_from = ENDLESS
            cancelled.cancel()
            if not waits:
                await send(outbound, ids[0])
            for loop_iterations in cancels_again_after:
                for _ in range(loop_iterations):
                    await asyncio.sleep(0)
                cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            for message_id in ids:
                await send(outbound, message_id)
            answered = [url.partition("?")[0].rpartition("/")[2] for url in egress.left]
            assert sorted(answered) == ids, f"cancelled at suspension {number}"
