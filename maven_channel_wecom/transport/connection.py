"""A connection while it takes the short path, and the turn in which what came is answered."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from maven_channel_wecom.later import Later

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.transport.callback_answer import CallbackAnswer, Wire
    from maven_channel_wecom.transport.connections import Connections

    Answer = CallbackAnswer | Later[CallbackAnswer] | None

SEGMENT_BYTES: Final = 64 * 1024
"""What is read at once. A genuine callback has a few kilobytes; of a larger one this is the beginning."""

TURN_CALLBACKS: Final = 64
"""Taken before the event loop may do something else: some two milliseconds."""


class Turn:
    """The ordinary callbacks that came in one turn of the event loop: all are read, then all taken, then all answered.

    One after the other from end to end, each cost half as much again: between its system calls the processor forgets
    what the last one taught it.

    `receive` takes the raw query and the body of a callback and does not raise; it returns the answer, or None when it
    is not that ordinary after all.
    """

    def __init__(self, receive: Callable[[bytes, bytes], Answer]) -> None:
        self._receive = receive
        self._came: list[tuple[Connection, bytes, bytes]] = []
        self._waiting: set[asyncio.Future[Any]] = set()
        self._concluded: list[tuple[Connection, CallbackAnswer]] = []

    def add(self, connection: Connection, query: bytes, body: bytes) -> None:
        """Have a callback answered at the end of this turn."""
        if not self._came:
            self._end_soon()
        self._came.append((connection, query, body))

    async def settle(self, seconds: float) -> None:
        """Wait until everything that came is answered, at most that long: more may come all the time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._came or self._waiting or self._concluded:
                    await (asyncio.wait(self._waiting) if self._waiting else asyncio.sleep(0))

    def _end_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        now, self._came = self._came[:TURN_CALLBACKS], self._came[TURN_CALLBACKS:]
        if self._came:
            self._end_soon()
        answers = [self._receive(query, body) for _, query, body in now]
        for (connection, _, _), answer in zip(now, answers, strict=True):
            if isinstance(answer, Later):
                self._waiting.add(answer.done)
                answer.tell(partial(self._give_later, connection, answer.done))
            else:
                self._give(connection, answer)

    def _give_later(
        self, connection: Connection, done: asyncio.Future[Any], result: Callable[[], CallbackAnswer]
    ) -> None:
        self._waiting.discard(done)
        # Those that waited for the same commit, or the same round trip, are answered together as well.
        if not self._concluded:
            asyncio.get_running_loop().call_soon(self._answer_concluded)
        self._concluded.append((connection, result()))

    def _answer_concluded(self) -> None:
        concluded, self._concluded = self._concluded, []
        for connection, answer in concluded:
            self._give(connection, answer)

    def _give(self, connection: Connection, answer: CallbackAnswer | None) -> None:
        try:
            connection.answer(answer)
        except Exception as error:  # noqa: BLE001 - what one connection meets must not cost the others their answers
            connection.transport.abort()
            context = {"message": "a callback was not answered", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


class Connection(asyncio.BufferedProtocol):
    """One connection until it brings something that is not ordinary.

    All read into one buffer, and each takes its bytes out before another reads. A plain protocol is given new bytes
    each time, for which asyncio asks the system for 256 KiB, and gives nearly all of it back.

    Args:
        connections: keeps count of it.
        read: tells an ordinary callback from the rest.
        turn: has ordinary callbacks answered.
        hand_over: takes the connection, with the bytes that came, for good.
        wire: writes answers.
        buffer: SEGMENT_BYTES of room, shared.
    """

    def __init__(
        self,
        connections: Connections,
        read: Callable[[bytes], tuple[bytes, bytes] | None],
        turn: Turn,
        hand_over: Callable[[Connection, bytes], None],
        wire: Wire,
        buffer: memoryview,
    ) -> None:
        self._connections = connections
        self._read = read
        self._turn = turn
        self._hand_over = hand_over
        self._wire = wire
        self._buffer = buffer
        # The request that is being answered, and what came behind it.
        self._request = b""
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See BaseProtocol."""
        # Of TCP, whatever class the event loop gives it.
        self.transport = cast("asyncio.Transport", transport)
        self.peer = self._connections.add(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why does not matter
        """See BaseProtocol. A callback being admitted is admitted all the same."""
        self._connections.remove(self.peer)

    def pause_writing(self) -> None:
        """See BaseProtocol. Whoever leaves a hundred answers unread is no genuine caller."""
        self._connections.drop(self.peer, "slow")

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - it is as large as it is
        """See BufferedProtocol."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See BufferedProtocol."""
        self._take(bytes(self._buffer[:nbytes]))

    def _take(self, data: bytes) -> None:
        if self._request:
            # Somebody does not wait for answers. What comes next is read when this one is answered.
            self._early += data
            self.transport.pause_reading()
        elif ordinary := self._read(data):
            self._request = data
            self.peer.answering = True
            self._turn.add(self, *ordinary)
        else:
            self._hand_over(self, data)

    def answer(self, answer: CallbackAnswer | None) -> None:
        """Write the answer to what came; None when it is not that ordinary after all."""
        self.peer.answering = False
        if answer is None:
            if not self.transport.is_closing():
                # Whoever has it next pauses it as they like.
                self.transport.resume_reading()
                self._hand_over(self, self._request + self._early)
            return
        if answer.trusts:
            self._connections.trust(self.peer)
        # Whoever asked may be gone, and not every loop lets that pass.
        if not self.transport.is_closing():
            self.transport.write(self._wire.bytes_of(answer))
        self._request = b""
        if self._early:
            self._go_on()

    def _go_on(self) -> None:
        if not self.transport.is_closing():
            early, self._early = self._early, b""
            self.transport.resume_reading()
            self._take(early)
