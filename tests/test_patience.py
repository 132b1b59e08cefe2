"""Waiting no longer than one has patience."""

from __future__ import annotations

import asyncio

from maven_channel_wecom.patience import TimeLimit


async def test_what_is_not_done_in_time_is_canceled() -> None:
    """In the order it was begun; what is done in time, also behind one that is not, is left alone."""
    loop = asyncio.get_running_loop()
    limit = TimeLimit(0.01)
    first, second, third = (loop.create_future() for _ in range(3))
    for future in (first, second, third):
        limit.put_on(future)
    second.set_result(None)
    await asyncio.wait([first, third])
    assert [future.cancelled() for future in (first, second, third)] == [True, False, True]


async def test_a_limit_holds_for_what_is_begun_after_others_ended() -> None:
    """The one timer is set again, also when it found nothing to cancel."""
    loop = asyncio.get_running_loop()
    limit = TimeLimit(0.01)
    early = loop.create_future()
    limit.put_on(early)
    early.set_result(None)
    for _ in range(2):
        late = loop.create_future()
        limit.put_on(late)
        await asyncio.wait([late])
        assert late.cancelled()
