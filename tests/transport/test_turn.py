"""The callbacks of one turn of the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from maven_channel_wecom.later import Later
from maven_channel_wecom.transport.callback_answer import CallbackAnswer
from maven_channel_wecom.transport.connection import TURN_CALLBACKS, Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.transport.connection import Connection

ANSWER = CallbackAnswer(status=200)


class Waiting:
    """Somebody who waits for an answer; notes when it came."""

    broken: frozenset[int] = frozenset()

    def __init__(self, number: int, steps: list[str]) -> None:
        self.number = number
        self.transport = self
        self._steps = steps

    def answer(self, answer: object) -> None:
        assert answer is ANSWER
        if self.number in self.broken:
            raise ValueError
        self._steps.append(f"answered {self.number}")

    def abort(self) -> None:
        self._steps.append(f"hung up on {self.number}")


def turn_of(steps: list[str]) -> Turn:
    def receive(query: bytes, body: bytes) -> CallbackAnswer:
        assert body == b"{}"
        steps.append(f"taken {query.decode()}")
        return ANSWER

    return Turn(receive)


async def test_all_of_a_turn_are_taken_before_the_first_is_answered() -> None:
    """In the order they came, and not before the turn is over."""
    steps: list[str] = []
    turn = turn_of(steps)
    for number in range(3):
        turn.add(cast("Connection", Waiting(number, steps)), b"%d" % number, b"{}")
    assert steps == []
    await asyncio.sleep(0)
    assert steps == ["taken 0", "taken 1", "taken 2", "answered 0", "answered 1", "answered 2"]


async def test_a_turn_with_too_many_lets_the_event_loop_do_something_else_in_between() -> None:
    """Nobody is forgotten, and nobody answered twice."""
    steps: list[str] = []
    turn = turn_of(steps)
    for number in range(TURN_CALLBACKS * 2 + 1):
        turn.add(cast("Connection", Waiting(number, steps)), b"%d" % number, b"{}")
    answered = []
    while len(steps) < 2 * (TURN_CALLBACKS * 2 + 1):
        await asyncio.sleep(0)
        answered.append(len(steps) // 2)
    assert answered == [TURN_CALLBACKS, TURN_CALLBACKS * 2, TURN_CALLBACKS * 2 + 1]
    assert [step for step in steps if step.startswith("answered")] == [
        f"answered {number}" for number in range(TURN_CALLBACKS * 2 + 1)
    ]


async def test_what_one_connection_meets_costs_the_others_nothing() -> None:
    """It is hung up on, so that its callback is sent again, and the loop is told."""
    steps: list[str] = []
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    turn = turn_of(steps)
    for number in range(3):
        waiting = Waiting(number, steps)
        waiting.broken = frozenset({1})
        turn.add(cast("Connection", waiting), b"%d" % number, b"{}")
    await turn.settle(1)
    assert steps[3:] == ["answered 0", "hung up on 1", "answered 2"]
    assert [context["message"] for context in told] == ["a callback was not answered"]


async def test_callers_who_never_end_do_not_hold_up_a_stop() -> None:
    """A flood brings some in every turn of the event loop."""
    steps: list[str] = []
    turn = turn_of(steps)

    class Again(Waiting):
        def answer(self, answer: object) -> None:
            super().answer(answer)
            turn.add(cast("Connection", self), b"0", b"{}")

    turn.add(cast("Connection", Again(0, steps)), b"0", b"{}")
    async with asyncio.timeout(5):
        await turn.settle(0.01)
    assert "answered 0" in steps


async def test_what_waited_for_the_same_is_answered_together() -> None:
    """All are concluded before the first is answered, and nobody is forgotten at a stop."""
    steps: list[str] = []
    committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def receive(query: bytes, body: bytes) -> Later[CallbackAnswer]:
        assert body == b"{}"

        def conclude(result: Callable[[], None]) -> CallbackAnswer:
            result()
            steps.append(f"concluded {query.decode()}")
            return ANSWER

        return Later(committed).then(conclude)

    turn = Turn(receive)
    for number in range(3):
        turn.add(cast("Connection", Waiting(number, steps)), b"%d" % number, b"{}")
    asyncio.get_running_loop().call_later(0.01, committed.set_result, None)
    await turn.settle(1)
    assert steps == ["concluded 0", "concluded 1", "concluded 2", "answered 0", "answered 1", "answered 2"]
