"""The thread that owns the state file: shared commits, their order, and callers that are cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.sqlite.writer import Writer
from tests.state.messages import NOW, admission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from maven_channel_wecom.state.sqlite.entries import Entries


class Gate:
    """An operation that holds the thread until it is opened."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def operation(self, _entries: Entries) -> None:
        self.entered.set()
        self.opened.wait()


@contextlib.asynccontextmanager
async def held(writer: Writer) -> AsyncIterator[None]:
    """Hold the thread in the middle of a transaction."""
    gate = Gate()
    held_up = writer.submit(gate.operation)
    await asyncio.to_thread(gate.entered.wait)
    try:
        yield
    finally:
        gate.opened.set()
        await held_up


@pytest.fixture
async def opened(writer: Writer) -> Writer:
    await writer.open()
    return writer


def appending(names: list[str], name: str) -> Callable[[Entries], str]:
    def operation(_entries: Entries) -> str:
        names.append(name)
        return name

    return operation


def admitting(name: str) -> Callable[[Entries], list[bool]]:
    return lambda entries: entries.admit([admission(name)], NOW)


async def test_operations_are_carried_out_in_their_order(opened: Writer) -> None:
    names: list[str] = []
    numbers = [str(number) for number in range(600)]
    results = await asyncio.gather(*(opened.run(appending(names, number)) for number in numbers))
    assert results == names == numbers


async def test_what_gathers_during_a_commit_shares_the_next_one(path: Path, tmp_path: Path) -> None:
    """The WAL shows it: it repeats a page for each commit that changes the page."""
    sizes = []
    for together in (True, False):
        writer = Writer(tmp_path / f"{together}.db")
        await writer.open()
        admissions = [writer.run(admitting(f"m{number}")) for number in range(64)]
        if together:
            await asyncio.gather(*admissions)
        else:
            for one in admissions:
                await one
        sizes.append((tmp_path / f"{together}.db-wal").stat().st_size)
        await writer.close()
    assert sizes[0] < sizes[1] / 4


async def test_an_operation_that_may_wait_is_carried_out_with_the_next_one(opened: Writer) -> None:
    """It keeps its place before it."""
    names: list[str] = []
    async with held(opened):
        first = opened.submit(appending(names, "first"), may_wait=True)
        second = opened.submit(appending(names, "second"))
    await asyncio.gather(first, second)
    assert names == ["first", "second"]


async def test_an_operation_that_may_wait_is_carried_out_without_another(opened: Writer) -> None:
    names: list[str] = []
    async with asyncio.timeout(10):
        await opened.run(appending(names, "alone"), may_wait=True)
    assert names == ["alone"]


async def test_an_operation_that_fails_does_not_fail_the_others(opened: Writer) -> None:
    """Half a surrogate pair cannot be stored; what shares its commit can."""
    names = ("m1", "m\ud800", "m2")
    results = await asyncio.gather(*(opened.run(admitting(name)) for name in names), return_exceptions=True)
    assert results[0] == results[2] == [True]
    assert isinstance(results[1], StateUnavailable)
    assert str(results[1]) == "the state cannot store an entry with this content"
    assert opened.open_windows == 2


async def test_an_operation_whose_caller_is_cancelled_early_is_not_carried_out(opened: Writer) -> None:
    """If it could be undone; a fact that is to be recorded is recorded."""
    names: list[str] = []
    undone: list[str] = []
    async with held(opened):
        undoable = asyncio.create_task(opened.run(appending(names, "undoable"), undo=undone.append))
        fact = asyncio.create_task(opened.run(appending(names, "fact")))
        await asyncio.sleep(0)
        undoable.cancel()
        fact.cancel()
    await opened.run(appending(names, "last"))
    assert names == ["fact", "last"]
    assert undone == []


async def test_what_is_committed_for_a_cancelled_caller_is_undone_before_what_has_gathered(opened: Writer) -> None:
    """So that the next caller finds it undone."""
    names: list[str] = []
    gate = Gate()

    def claim(entries: Entries) -> str:
        gate.operation(entries)
        names.append("claim")
        return "window"

    caller = asyncio.create_task(
        opened.run(claim, undo=lambda window: opened.submit_next(appending(names, f"restore {window}")))
    )
    await asyncio.to_thread(gate.entered.wait)
    caller.cancel()
    following = [opened.submit(appending(names, "next")), opened.submit(appending(names, "last"))]
    gate.opened.set()
    await asyncio.gather(*following)
    assert names == ["claim", "restore window", "next", "last"]


async def test_a_caller_cancelled_in_the_moment_its_result_came_is_undone_first(opened: Writer) -> None:
    """The result is there, and the caller has not been woken yet."""
    names: list[str] = []
    caller: asyncio.Task[Any]

    def leave(_: object) -> None:
        caller.cancel()
        opened.submit(appending(names, "next"))

    caller = asyncio.create_task(
        opened.run(
            appending(names, "claim"), undo=lambda window: opened.submit_next(appending(names, f"restore {window}"))
        )
    )
    # It shares the commit of the claim and is told before it.
    before = opened.submit(appending(names, "before"))
    before.add_done_callback(leave)
    with pytest.raises(asyncio.CancelledError):
        await caller
    await opened.run(appending(names, "last"))
    assert names == ["before", "claim", "restore claim", "next", "last"]


async def test_closing_carries_out_what_has_gathered(path: Path) -> None:
    """It can be done twice; afterwards nothing is promised."""
    writer = Writer(path)
    await writer.open()
    names: list[str] = []
    callers = [asyncio.create_task(writer.run(appending(names, str(number)))) for number in range(10)]
    waiting = asyncio.create_task(writer.run(appending(names, "waiting"), may_wait=True))
    await asyncio.sleep(0)
    await writer.close()
    await writer.close()
    await asyncio.gather(*callers, waiting)
    assert len(names) == 11
    with pytest.raises(StateUnavailable, match="the state is closed"):
        await writer.run(appending(names, "late"))


async def test_closing_undoes_what_was_committed_for_a_cancelled_caller(path: Path) -> None:
    writer = Writer(path)
    await writer.open()
    names: list[str] = []
    gate = Gate()
    caller = asyncio.create_task(
        writer.run(gate.operation, undo=lambda _: writer.submit_next(appending(names, "undone")))
    )
    await asyncio.to_thread(gate.entered.wait)
    caller.cancel()
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    gate.opened.set()
    await closing
    assert names == ["undone"]


async def test_opening_can_be_cancelled(path: Path) -> None:
    """What was opened for nobody is closed."""
    opening = asyncio.create_task(Writer(path).open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with asyncio.timeout(10):
        while True:
            writer = Writer(path)
            with contextlib.suppress(StateUnavailable):
                await writer.open()
                break
    await writer.close()
