"""The writer of the state file: shared commits, the order of operations, and cancelled callers."""

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
    """An operation that blocks the writer's thread until the gate is opened."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def operation(self, _entries: Entries) -> None:
        self.entered.set()
        self.opened.wait()


@contextlib.asynccontextmanager
async def blocked(writer: Writer) -> AsyncIterator[None]:
    """Block the writer's thread inside a transaction."""
    gate = Gate()
    result = writer.submit(gate.operation)
    await asyncio.to_thread(gate.entered.wait)
    try:
        yield
    finally:
        gate.opened.set()
        await result


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


async def test_operations_run_in_the_order_of_their_submission(opened: Writer) -> None:
    names: list[str] = []
    numbers = [str(number) for number in range(600)]
    results = await asyncio.gather(*(opened.run(appending(names, number)) for number in numbers))
    assert results == names == numbers


async def test_operations_queued_during_a_commit_share_the_next_commit(path: Path, tmp_path: Path) -> None:
    """The size of the WAL shows the number of commits, as each one appends the pages it changes."""
    sizes = []
    for together in (True, False):
        writer = Writer(tmp_path / f"{together}.db")
        await writer.open()
        admissions = [writer.run(admitting(f"m{number}")) for number in range(64)]
        if together:
            await asyncio.gather(*admissions)
        else:
            for each in admissions:
                await each
        sizes.append((tmp_path / f"{together}.db-wal").stat().st_size)
        await writer.close()
    assert sizes[0] < sizes[1] / 4


async def test_a_deferrable_operation_runs_before_one_submitted_later(opened: Writer) -> None:
    names: list[str] = []
    async with blocked(opened):
        first = opened.submit(appending(names, "first"), may_wait=True)
        second = opened.submit(appending(names, "second"))
    await asyncio.gather(first, second)
    assert names == ["first", "second"]


async def test_a_deferrable_operation_runs_without_a_later_one(opened: Writer) -> None:
    names: list[str] = []
    async with asyncio.timeout(10):
        await opened.run(appending(names, "alone"), may_wait=True)
    assert names == ["alone"]


async def test_an_operation_that_fails_does_not_fail_the_others(opened: Writer) -> None:
    """A lone surrogate cannot be stored; the messages that share its commit can."""
    names = ("m1", "m\ud800", "m2")
    results = await asyncio.gather(*(opened.run(admitting(name)) for name in names), return_exceptions=True)
    assert results[0] == results[2] == [True]
    assert isinstance(results[1], StateUnavailable)
    assert str(results[1]) == "the state cannot store an entry with this content"
    assert opened.open_windows == 2


async def test_an_operation_with_undo_is_skipped_if_its_caller_is_cancelled_before_it_starts(
    opened: Writer,
) -> None:
    names: list[str] = []
    undone: list[str] = []
    async with blocked(opened):
        undoable = asyncio.create_task(opened.run(appending(names, "undoable"), undo=undone.append))
        without_undo = asyncio.create_task(opened.run(appending(names, "without undo")))
        await asyncio.sleep(0)
        undoable.cancel()
        without_undo.cancel()
    await opened.run(appending(names, "last"))
    assert names == ["without undo", "last"]
    assert undone == []


async def test_an_operation_of_a_cancelled_caller_is_undone_before_queued_operations(opened: Writer) -> None:
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


async def test_an_operation_whose_caller_is_cancelled_after_its_result_was_set_is_undone_first(opened: Writer) -> None:
    names: list[str] = []
    caller: asyncio.Task[Any]

    def cancel_caller(_: object) -> None:
        caller.cancel()
        opened.submit(appending(names, "next"))

    caller = asyncio.create_task(
        opened.run(
            appending(names, "claim"), undo=lambda window: opened.submit_next(appending(names, f"restore {window}"))
        )
    )
    # It shares the commit of the claim, and its future is resolved first.
    before = opened.submit(appending(names, "before"))
    before.add_done_callback(cancel_caller)
    with pytest.raises(asyncio.CancelledError):
        await caller
    await opened.run(appending(names, "last"))
    assert names == ["before", "claim", "restore claim", "next", "last"]


async def test_closing_runs_all_queued_operations_and_later_ones_are_refused(path: Path) -> None:
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


async def test_closing_undoes_an_operation_of_a_cancelled_caller(path: Path) -> None:
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


async def test_a_file_whose_opening_was_cancelled_is_closed(path: Path) -> None:
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
