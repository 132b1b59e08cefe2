"""The one connection to Redis: steps sent in batches, each answered or failed within a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import hiredis
from redis.asyncio import Connection, SSLConnection
from redis.exceptions import NoScriptError, ResponseError

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.redis import scripts
from maven_channel_wecom.state.redis.breaker import Breaker
from maven_channel_wecom.state.redis.failures import ServerTooOld, concerns_everyone, is_lost_answer, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from maven_channel_wecom.state.redis.address import RedisAddress

ANSWER_SECONDS: Final = 0.2
"""How long a batch may take, connecting included. Lower: a hiccup costs 503. Higher: a frozen Redis is felt longer."""

# In batches. A step waits for a failing batch and is sent once, or is in it and is sent once more; never for a third.
_BUDGET: Final = 2.1

_MOST_STEPS: Final = 128
"""In one batch. More would let a burst of callers run into the time limit together."""

_OLDEST_VERSION: Final = 7
_CLOSED: Final = "the state is closed"


def _pack(command: tuple[Any, ...]) -> bytes:
    # Their annotation says a tuple of one; it takes any number.
    return bytes(hiredis.pack_command(command))


_LOAD: Final = [_pack(("SCRIPT", "LOAD", script.text)) for script in scripts.ALL]


class _Step:
    """A command as it is sent, and who waits for its answer."""

    __slots__ = ("answer", "deadline", "packed", "sent")

    def __init__(self, packed: bytes, deadline: float) -> None:
        self.packed = packed
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.deadline = deadline
        self.sent = False


class RedisLink:
    """Runs commands on one connection, what gathers while a batch is under way going into the next.

    So however many callers there are, there is one connection, and a round trip is shared. A batch whose answers are
    lost is sent once more on a new connection: every command given here must be one that may run twice. There are
    no other retries, and after some failures in a row a breaker lets nobody wait.

    Args:
        address: where Redis is.
        seconds: how long a batch may take.
    """

    def __init__(self, address: RedisAddress, *, seconds: float = ANSWER_SECONDS) -> None:
        class_: Callable[..., Connection] = SSLConnection if address.tls else Connection
        self._connection = class_(
            host=address.host,
            port=address.port,
            db=address.database,
            username=address.user,
            password=address.password,
            protocol=2,
            # One limit around a whole batch, not one for each of its answers.
            socket_timeout=None,
            socket_connect_timeout=seconds,
            **address.options,
        )
        if isinstance(self._connection, SSLConnection):
            self._connection.ssl_context.get()
        self._seconds = seconds
        self._closed = False
        self._breaker = Breaker(time.monotonic)
        self._waiting: deque[_Step] = deque()
        self._pump: asyncio.Task[None] | None = None
        self.trouble: StateUnavailable | None = None
        """What the last batch failed of; None after one that did not."""

    async def run(self, *command: Any) -> Any:  # noqa: ANN401 - Redis answers what it answers
        """Run a command. Raises StateUnavailable, in at most about twice the time of a batch."""
        return await self.submit(*command)

    def submit(self, *command: Any) -> asyncio.Future[Any]:  # noqa: ANN401 - as it takes numbers, too
        """Do the same for a caller who may not wait. Raises StateUnavailable at once when it would be in vain."""
        if self._closed:
            raise StateUnavailable(_CLOSED)
        if self._breaker.refuses:
            raise self._refusal()
        step = _Step(_pack(command), time.monotonic() + _BUDGET * self._seconds)
        self._waiting.append(step)
        if self._pump is None:
            self._pump = asyncio.create_task(self._send_waiting())
        return step.answer

    async def close(self) -> None:
        """Hang up. Whoever still waits is refused."""
        self._closed = True
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        self._fail(self._waiting, StateUnavailable(_CLOSED))
        await self._connection.disconnect(nowait=True)

    async def _send_waiting(self) -> None:
        batch: list[_Step] = []
        try:
            while batch := self._next_batch():
                if self._breaker.enter():
                    await self._send(batch)
                else:
                    self._fail(batch, self._refusal())
        finally:
            self._pump = None
            # Only cancelled, or broken by a bug: then nobody may be left waiting.
            self._fail((*batch, *self._waiting), StateUnavailable(_CLOSED))

    def _next_batch(self) -> list[_Step]:
        batch: list[_Step] = []
        while self._waiting and len(batch) < _MOST_STEPS:
            step = self._waiting.popleft()
            if not step.answer.done():
                batch.append(step)
        return batch

    async def _send(self, batch: list[_Step]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                answers = await self._exchange([step.packed for step in batch])
        except Exception as error:  # noqa: BLE001 - whatever the library raises, callers get one kind of error
            await self._connection.disconnect(nowait=True)
            self.trouble = unavailable(error)
            self._breaker.failed()
            self._send_again(batch, again=is_lost_answer(error))
            return
        refused = None
        for step, answer in zip(batch, answers, strict=True):
            if not isinstance(answer, ResponseError):
                _answer(step, answer)
                continue
            self._fail([step], unavailable(answer))
            if concerns_everyone(answer):
                refused = answer
        if refused is None:
            self.trouble = None
            self._breaker.succeeded()
        else:
            # Perhaps another server answers to the name by now.
            await self._connection.disconnect(nowait=True)
            self.trouble = unavailable(refused)
            self._breaker.failed()

    def _send_again(self, batch: list[_Step], *, again: bool) -> None:
        latest = time.monotonic() + self._seconds
        failed = []
        for step in reversed(batch):
            if again and not step.sent and latest <= step.deadline and not step.answer.done():
                step.sent = True
                self._waiting.appendleft(step)
            else:
                failed.append(step)
        self._fail(failed, self._refusal())

    async def _exchange(self, commands: list[bytes]) -> list[Any]:
        if not self._connection.is_connected:
            await self._connect()
        answers = await self._pipeline(commands)
        unknown = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            # Restarted, failed over or flushed: Redis forgot the scripts, and ran none of these.
            again = await self._pipeline([*_LOAD, *(commands[number] for number in unknown)])
            for number, answer in zip(unknown, again[len(_LOAD) :], strict=True):
                answers[number] = answer
        return answers

    async def _connect(self) -> None:
        await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py left it out
        info = (await self._pipeline([_pack(("INFO", "server"))]))[0]
        # A user who may not ask for the version is taken at his word that it will do.
        if isinstance(info, bytes):
            version = info.partition(b"redis_version:")[2].partition(b".")[0]
            if version.isdigit() and int(version) < _OLDEST_VERSION:
                raise ServerTooOld

    async def _pipeline(self, commands: list[bytes]) -> list[Any]:
        connection = self._connection
        await connection.send_packed_command(commands, check_health=False)
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(await connection.read_response())
            except ResponseError as error:
                answers.append(error)
        return answers

    def _refusal(self) -> StateUnavailable:
        # A new one each time: an error raised twice grows its traceback.
        trouble = self.trouble or StateUnavailable("the Redis of the state does not answer in time")
        return StateUnavailable(str(trouble), reason=trouble.reason)

    @staticmethod
    def _fail(steps: Iterable[_Step], error: StateUnavailable) -> None:
        for step in steps:
            if not step.answer.done():
                step.answer.set_exception(StateUnavailable(str(error), reason=error.reason))


def _answer(step: _Step, answer: object) -> None:
    if not step.answer.done():
        step.answer.set_result(answer)
