"""Lets a command clean up when a signal ends it, which is never in a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import FrameType

_Result = TypeVar("_Result")

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command. Closing a terminal sends SIGHUP. SIGQUIT ends a process at once, for one that hangs."""

_SIGNALLED: Final = 128
"""What shells add to the number of the signal that ended a program."""


class Stopped(SystemExit):
    """A signal ended a command, which has cleaned up. Shells report the same exit code for a death by that signal."""


def run_async(
    main: Callable[[], Coroutine[Any, Any, _Result]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _Result:
    """Run a coroutine as `asyncio.run` does. SIGINT, SIGTERM or SIGHUP cancels it, and it cleans up undisturbed.

    asyncio raises KeyboardInterrupt anywhere in its own code at a second Ctrl-C, and at the first while it makes the
    loop; SIGTERM and SIGHUP would leave the coroutine's subprocesses and files behind.

    Args:
        main: returns the coroutine. It may replace the signal handlers of the loop.
        loop_factory: makes the event loop; None for asyncio's default.

    Raises:
        Stopped: a signal cancelled the coroutine.
    """
    before = signal.getsignal(signal.SIGINT)
    received: list[signal.Signals] = []
    try:
        # Without a loop there is nothing to clean up: Ctrl-C ends the process silently.
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(_until_signal(main, received))
    except asyncio.CancelledError:
        if not received:
            raise
        raise Stopped(_SIGNALLED + received[0]) from None
    finally:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def raise_stopped() -> Iterator[None]:
    """Raise Stopped at a signal that would end the process at once, so that code without a coroutine can clean up.

    At Ctrl-C Python raises KeyboardInterrupt anyway. Only the main thread receives signals: in others nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [each for each in STOP_SIGNALS if signal.getsignal(each) == signal.SIG_DFL]

    def on_signal(number: int, _: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(_SIGNALLED + number)

    for number in numbers:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


async def _until_signal(main: Callable[[], Coroutine[Any, Any, _Result]], received: list[signal.Signals]) -> _Result:
    """Run a coroutine, and cancel it at the first signal. Adds each signal to `received`."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def on_signal(number: signal.Signals) -> None:
        received.append(number)
        if task is not None and len(received) == 1:
            task.cancel()

    for number in STOP_SIGNALS:
        # A shell starts background jobs with SIGINT ignored, nohup ignores SIGHUP, and so it stays.
        if signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, on_signal, number)
    try:
        return await main()
    finally:
        # From here on only threads are waited for, and a further signal ends that silently.
        for number in STOP_SIGNALS:
            if loop.remove_signal_handler(number):
                signal.signal(number, signal.SIG_DFL)
