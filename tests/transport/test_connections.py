"""How many connections there may be, and who goes when there are too many or when one stays too long."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.later import Later
from maven_channel_wecom.transport.callback_answer import UNTAKEN, CallbackAnswer, dull_answer
from maven_channel_wecom.transport.callback_server import CallbackServer
from maven_channel_wecom.transport.connections import IDLE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

WAIT_SECONDS = 10


def post(query: bytes) -> bytes:
    return b"POST /wecom/bot?" + query + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


_ANSWERS = {b"genuine": CallbackAnswer(status=200), b"untaken": UNTAKEN}


class Receiver:
    """Takes what says `genuine`; what says `slow` waits for `gate`."""

    gate: asyncio.Event | None = None

    async def receive(
        self, method: str, query: Mapping[str, str], read_body: Callable[[], Awaitable[bytes]]
    ) -> CallbackAnswer:
        await read_body()
        return _ANSWERS.get(next(iter(query)).encode(), dull_answer(401))

    def receive_ordinary(self, query: bytes, body: bytes) -> CallbackAnswer | Later[CallbackAnswer]:
        if self.gate and query == b"slow":
            return Later(asyncio.ensure_future(self._answer_later(self.gate)))
        return _ANSWERS.get(query, dull_answer(401))

    async def _answer_later(self, gate: asyncio.Event) -> CallbackAnswer:
        await gate.wait()
        return dull_answer(401)


class Port:
    """A server that lets few in, and what it said about those it closed."""

    def __init__(
        self,
        *,
        most: int = 3,
        stranger_seconds: float = 60.0,
        idle_seconds: float = IDLE_SECONDS,
        short_path: bool = True,
    ) -> None:
        self.number = 0
        self.dropped: list[str] = []
        self.callers: list[asyncio.StreamWriter] = []
        self.receiver = Receiver()
        self.server = CallbackServer(
            self.receiver,
            host="127.0.0.1",
            port=0,
            path="/wecom/bot",
            dropped=self.dropped.append,
            short_path=short_path,
            most_connections=most,
            stranger_seconds=stranger_seconds,
            idle_seconds=idle_seconds,
        )

    async def connect(self, sending: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, send something, and see that it was taken in."""
        before = len(self.server.connections), len(self.dropped)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        self.callers.append(writer)
        writer.write(sending)
        while (len(self.server.connections), len(self.dropped)) == before:  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0)
        return reader, writer

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, query: bytes) -> int:
        writer.write(post(query))
        async with asyncio.timeout(WAIT_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
        return int(head.split(b" ")[1])


@asynccontextmanager
async def listening(port: Port) -> AsyncIterator[Port]:
    port.number = await port.server.start()
    try:
        yield port
    finally:
        for writer in port.callers:
            writer.close()
        await port.server.stop()


async def ended(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(WAIT_SECONDS):
        with suppress(ConnectionError):
            await reader.read()
    return True


async def test_the_newcomer_gets_in_and_the_oldest_stranger_goes() -> None:
    """Whoever connects and does nothing shuts nobody out."""
    async with listening(Port(most=3)) as port:
        idlers = [await port.connect() for _ in range(3)]
        newcomer = await port.connect()
        assert await port.ask(*newcomer, b"genuine") == 200
        assert await ended(idlers[0][0])
        assert port.dropped == ["limit"]
        assert len(port.server.connections) == 3


@pytest.mark.parametrize("short_path", [True, False], ids=["short", "long"])
async def test_whoever_brought_a_genuine_callback_stays_when_strangers_come(*, short_path: bool) -> None:
    """However many: they push out each other."""
    async with listening(Port(most=3, short_path=short_path)) as port:
        known = await port.connect()
        assert await port.ask(*known, b"genuine") == 200
        for _ in range(10):
            stranger = await port.connect()
            assert await port.ask(*stranger, b"forged") == 401
        assert await port.ask(*known, b"genuine") == 200
        assert port.dropped == ["limit"] * 8


async def test_among_known_ones_the_longest_idle_goes() -> None:
    """A newcomer is never turned away."""
    async with listening(Port(most=2)) as port:
        first, second = await port.connect(), await port.connect()
        for each in (first, second, first):
            assert await port.ask(*each, b"genuine") == 200
        third = await port.connect()
        assert await ended(second[0])
        assert await port.ask(*first, b"genuine") == 200
        assert await port.ask(*third, b"genuine") == 200


@pytest.mark.parametrize("short_path", [True, False], ids=["short", "long"])
@pytest.mark.parametrize(
    "sending",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"POST /wecom/bot?gen", id="half-a-line"),
        pytest.param(b"POST /wecom/bot?genuine HTTP/1.1\r\nHost: x\r\nX-A: ", id="half-a-head"),
        pytest.param(post(b"genuine").replace(b": 2", b": 9"), id="half-a-body"),
        pytest.param(post(b"forged"), id="a-forged-callback"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="another-path"),
    ],
)
async def test_a_stranger_is_hung_up_on_after_its_time(sending: bytes, *, short_path: bool) -> None:
    """Whatever it did with it."""
    async with listening(Port(stranger_seconds=0.1, short_path=short_path)) as port:
        reader, _ = await port.connect(sending)
        assert await ended(reader)
        assert port.dropped == ["slow"]
        assert len(port.server.connections) == 0


@pytest.mark.parametrize("short_path", [True, False], ids=["short", "long"])
async def test_a_genuine_caller_who_is_turned_away_is_known(*, short_path: bool) -> None:
    """While the state is away WeCom and proxies come back on the connections they have."""
    async with listening(Port(stranger_seconds=0.1, short_path=short_path)) as port:
        known = await port.connect()
        assert await port.ask(*known, b"untaken") == 503
        stranger, _ = await port.connect()
        assert await ended(stranger)
        assert await port.ask(*known, b"untaken") == 503


@pytest.mark.parametrize("short_path", [True, False], ids=["short", "long"])
async def test_a_known_one_may_be_idle_for_longer(*, short_path: bool) -> None:
    """A stranger that connected later goes before it."""
    async with listening(Port(stranger_seconds=0.1, short_path=short_path)) as port:
        known = await port.connect()
        assert await port.ask(*known, b"genuine") == 200
        stranger, _ = await port.connect()
        assert await ended(stranger)
        assert await port.ask(*known, b"genuine") == 200


async def test_nobody_is_hung_up_on_while_being_answered() -> None:
    """Neither for the time it takes, which is ours, nor for those who come meanwhile."""
    async with listening(Port(most=2, stranger_seconds=0.1)) as port:
        port.receiver.gate = asyncio.Event()
        waiting = await port.connect(post(b"slow"))
        reader, _ = await port.connect()
        assert await ended(reader)
        for _ in range(3):
            await port.connect()
        port.receiver.gate.set()
        async with asyncio.timeout(WAIT_SECONDS):
            assert (await waiting[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401 ")


async def test_a_known_one_is_not_hung_up_on_while_being_answered_either() -> None:
    """It was idle for long when it brought this callback, and others come meanwhile."""
    async with listening(Port(most=2, stranger_seconds=0.1, idle_seconds=0.1)) as port:
        reader, writer = await port.connect()
        assert await port.ask(reader, writer, b"genuine") == 200
        port.receiver.gate = asyncio.Event()
        asked = asyncio.create_task(port.ask(reader, writer, b"slow"))
        stranger, _ = await port.connect()
        assert await ended(stranger)
        for _ in range(2):
            other = await port.connect()
            assert await port.ask(*other, b"genuine") == 200
        port.receiver.gate.set()
        assert await asked == 401
