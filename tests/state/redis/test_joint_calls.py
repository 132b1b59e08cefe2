"""Calls of one script that are made together."""

from __future__ import annotations

import asyncio

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.redis.joint_calls import JointCalls
from tests.fakes.clock import settle


class SlowScript:
    """A script that returns each argument, once `answers` is set, and records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.answers = asyncio.Event()
        self.failure: Exception | None = None
        self.lost = 0

    async def run(self, *arguments: object) -> list[object]:
        self.calls.append(arguments)
        await self.answers.wait()
        if self.failure:
            raise self.failure
        return list(arguments)[self.lost :]


async def test_calls_that_come_while_one_is_under_way_are_made_together() -> None:
    script = SlowScript()
    joint = JointCalls(script.run, most=3)
    calls = [asyncio.create_task(joint.call(0))]
    await settle()
    calls += [asyncio.create_task(joint.call(number)) for number in range(1, 6)]
    await settle()
    assert script.calls == [(0,)]
    script.answers.set()
    assert await asyncio.gather(*calls) == [0, 1, 2, 3, 4, 5]
    assert script.calls == [(0,), (1, 2, 3), (4, 5)]
    assert await joint.call(6) == 6


async def test_calls_of_the_same_moment_are_made_together_at_once() -> None:
    script = SlowScript()
    script.answers.set()
    joint = JointCalls(script.run, most=10)
    assert await asyncio.gather(*(joint.call(number) for number in range(3))) == [0, 1, 2]
    assert script.calls == [(0, 1, 2)]


async def test_a_call_that_is_cancelled_before_it_was_sent_is_never_sent() -> None:
    script = SlowScript()
    joint = JointCalls(script.run, most=1)
    first, second, third = (asyncio.create_task(joint.call(number)) for number in range(3))
    await settle()
    first.cancel()
    second.cancel()
    await settle()
    script.answers.set()
    assert await third == 2
    assert script.calls == [(0,), (2,)]


async def test_each_caller_gets_the_failure_and_the_next_call_is_made() -> None:
    script = SlowScript()
    script.failure = StateUnavailable("Redis is full", reason="state_full")
    script.answers.set()
    joint = JointCalls(script.run, most=10)
    found = await asyncio.gather(*(joint.call(number) for number in range(3)), return_exceptions=True)
    assert [(type(each), str(each), getattr(each, "reason", "")) for each in found] == [
        (StateUnavailable, "Redis is full", "state_full")
    ] * 3
    assert len(set(map(id, found))) == 3
    script.failure = None
    assert await joint.call(4) == 4


async def test_a_bug_is_a_failure_of_all_and_leaves_no_caller_waiting() -> None:
    script = SlowScript()
    script.failure = RuntimeError("canary")
    script.answers.set()
    joint = JointCalls(script.run, most=10)
    async with asyncio.timeout(10):
        found = await asyncio.gather(*(joint.call(number) for number in range(2)), return_exceptions=True)
        assert [type(each) for each in found] == [StateUnavailable] * 2
        assert "canary" not in str(found)
        script.failure = None
        assert await joint.call(2) == 2


async def test_an_answer_with_too_few_results_is_a_failure_of_all() -> None:
    script = SlowScript()
    script.answers.set()
    script.lost = 1
    joint = JointCalls(script.run, most=10)
    for call in [asyncio.create_task(joint.call(number)) for number in range(2)]:
        with pytest.raises(StateUnavailable, match="that no script returns"):
            await call
