"""Three gateways on one Redis: one turn for each message, whatever is delivered where and whatever dies.

python -m tests.soak.replicas --messages 10000 --seconds 30
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.messages import Text
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.redis_server import RedisServer
from tests.soak.agent import CountingAgent, counting_agent
from tests.soak.fleet import Gateway
from tests.soak.traffic import Traffic, tally
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.soak.traffic import Tally

_AT_ONCE = 64
_SETTLING_SECONDS = 120.0
_PER_SECOND = 60.0


@dataclass(frozen=True)
class Stage:
    """Everything a scenario needs, started."""

    wecom: SimulatedWeCom
    agent: CountingAgent
    replicas: list[Gateway]

    def urls(self) -> list[str]:
        return [replica.callback_url for replica in self.replicas]


@dataclass(frozen=True, kw_only=True)
class Outage:
    """How callbacks were answered while Redis was away, and how soon they were taken again."""

    messages: Tally
    statuses: list[int]
    p99_seconds: float
    healed_seconds: float

    def __str__(self) -> str:
        answers = ", ".join(f"{self.statuses.count(status)} x {status}" for status in sorted(set(self.statuses)))
        return (
            f"{answers} while away, p99 {self.p99_seconds * 1000:.0f} ms, "
            f"healed after {self.healed_seconds:.1f} s; {self.messages}"
        )


@contextlib.contextmanager
def durable_redis() -> Iterator[RedisServer]:
    """A Redis that finds its data again after it was killed."""
    server = RedisServer("--appendonly", "yes")
    server.start()
    try:
        yield server
    finally:
        server.remove()


@contextlib.asynccontextmanager
async def stage(
    folder: Path, redis_url: str, *, replicas: int = 3, slowest_seconds: float = 0.3
) -> AsyncIterator[Stage]:
    """Start gateways on a Redis that runs."""
    token, key = new_token(), new_encoding_aes_key()
    async with (
        SimulatedWeCom(token=token, encoding_aes_key=key) as wecom,
        counting_agent(slowest_seconds) as agent,
        contextlib.AsyncExitStack() as ends,
    ):
        fleet = []
        for number in range(replicas):
            replica = Gateway(folder, number, token=token, encoding_aes_key=key, agent_url=agent.url, state=redis_url)
            await replica.start()
            ends.push_async_callback(replica.kill)
            fleet.append(replica)
        yield Stage(wecom, agent, fleet)


async def deliver_each_three_times(on: Stage, *, messages: int) -> Tally:
    """Deliver each message three times to replicas chosen at random, the repeats at the same moment."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def deliver(number: int) -> None:
        async with places:
            first = await on.wecom.send(Text(f"message {number}"), user=f"user{number % 50}", at=any_url())
            repeats = [first]
            while len(repeats) < 3 or not any(sent.acknowledged for sent in repeats):
                repeats += await asyncio.gather(*(on.wecom.redeliver(first, at=any_url()) for _ in range(2)))

    def any_url() -> str:
        return random.choice(on.urls())  # noqa: S311 - a balancer, not a secret

    await asyncio.gather(*(deliver(number) for number in range(messages)))
    return await tally(on.wecom, within_seconds=_SETTLING_SECONDS)


async def lose_a_replica(on: Stage, *, seconds: float) -> Tally:
    """Kill one replica in the middle of its work, for good."""
    alive = list(on.urls())
    async with Traffic(on.wecom, lambda: alive, per_second=_PER_SECOND):
        await asyncio.sleep(seconds / 2)
        alive.remove(on.replicas[0].callback_url)
        await on.replicas[0].kill()
        await asyncio.sleep(seconds / 2)
    return await tally(on.wecom, within_seconds=_SETTLING_SECONDS)


async def roll(on: Stage) -> Tally:
    """Stop and start each replica in turn, as an update does."""
    alive = list(on.urls())
    async with Traffic(on.wecom, lambda: alive, per_second=_PER_SECOND):
        for replica in on.replicas:
            await asyncio.sleep(1)
            alive.remove(replica.callback_url)
            if code := await replica.drain():
                message = f"a replica ended with exit code {code}"
                raise RuntimeError(message)
            await replica.start()
            alive.append(replica.callback_url)
    return await tally(on.wecom, within_seconds=_SETTLING_SECONDS)


async def go_without(
    on: Stage, leave: Callable[[], object], come_back: Callable[[], Awaitable[object]], *, seconds: float
) -> Outage:
    """Take Redis away for a while, and give it back."""
    clock = asyncio.get_running_loop().time
    async with Traffic(on.wecom, on.urls, per_second=_PER_SECOND) as traffic:
        await asyncio.sleep(2)
        leave()
        left = clock()
        await asyncio.sleep(seconds)
        back = clock()
        await come_back()
        await asyncio.sleep(5)
    away = [sent for moment, sent in traffic.sent if left < moment - sent.elapsed_seconds and moment < back]
    healed = [moment for moment, sent in traffic.sent if sent.acknowledged and moment > back]
    return Outage(
        messages=await tally(on.wecom, within_seconds=_SETTLING_SECONDS),
        statuses=[sent.status for sent in away],
        p99_seconds=statistics.quantiles([sent.elapsed_seconds for sent in away], n=100)[98],
        healed_seconds=min(healed, default=float("inf")) - back,
    )


async def lose_answers(on: Stage, proxy: FaultProxy, *, answers: int) -> Tally:
    """Let Redis do what it was asked, and nobody hear of it, about that many times."""
    async with Traffic(on.wecom, on.urls, per_second=_PER_SECOND):
        for _ in range(answers):
            proxy.lose(1, to=b"EVALSHA")
            # Else Redis would never be heard in between.
            await asyncio.sleep(0.1)
    return await tally(on.wecom, within_seconds=_SETTLING_SECONDS)


async def run(folder: Path, *, messages: int, seconds: float) -> bool:
    """Run every scenario, print a line for each, and return whether every promise held."""
    verdicts: list[bool] = []

    def report(scenario: str, found: object, *, held: bool) -> None:
        verdicts.append(held)
        sys.stdout.write(f"{'ok  ' if held else 'FAIL'} {scenario}: {found}\n")
        sys.stdout.flush()

    def whole(found: Tally) -> bool:
        return not found.lost and not found.answered_twice

    for replicas in (1, 3):
        with durable_redis() as redis:
            async with stage(folder, redis.address(), replicas=replicas, slowest_seconds=0.0) as on:
                found = await deliver_each_three_times(on, messages=messages)
                turns = sum(on.agent.turns.values())
                report(
                    f"{messages} messages x 3 deliveries on {replicas} replicas",
                    f"{turns} turns of the agent; {found}",
                    held=whole(found) and turns == messages == len(on.agent.turns),
                )
    with durable_redis() as redis:
        async with stage(folder, redis.address()) as on:
            found = await lose_a_replica(on, seconds=seconds)
            report("a replica killed for good", found, held=whole(found))
    with durable_redis() as redis:
        async with stage(folder, redis.address()) as on:
            found = await roll(on)
            doubled = [text for text, turns in on.agent.turns.items() if turns > 1]
            report("a rolling restart", f"{len(doubled)} turns doubled; {found}", held=whole(found) and not doubled)
    with durable_redis() as redis:
        async with stage(folder, redis.address()) as on:
            outage = await go_without(on, redis.stop, redis.restart, seconds=seconds)
            report(f"Redis killed for {seconds:g} s", outage, held=whole(outage.messages) and _definite(outage))
    with durable_redis() as redis:
        async with stage(folder, redis.address()) as on:

            async def thaw() -> None:
                redis.thaw()

            outage = await go_without(on, redis.freeze, thaw, seconds=seconds)
            report(f"Redis frozen for {seconds:g} s", outage, held=whole(outage.messages) and _definite(outage))
    forgetful = RedisServer()
    try:
        forgetful.start()
        async with stage(folder, forgetful.address()) as on:
            outage = await go_without(on, forgetful.stop, forgetful.restart, seconds=3)
            # What only Redis knew is gone, as the documents say; nothing else may be.
            report("Redis back and empty", outage, held=not outage.messages.answered_twice and _definite(outage))
    finally:
        forgetful.remove()
    with durable_redis() as redis:
        async with FaultProxy(redis.port) as proxy, stage(folder, proxy.address()) as on:
            found = await lose_answers(on, proxy, answers=200)
            report(f"{proxy.lost} answers of Redis lost", found, held=whole(found))
    return all(verdicts)


def _definite(outage: Outage) -> bool:
    return set(outage.statuses) <= {200, 503} and outage.p99_seconds <= 0.5 and outage.healed_seconds <= 2


def main() -> int:
    """Run the long form; return 0 when every promise held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        held = asyncio.run(run(Path(folder), messages=arguments.messages, seconds=arguments.seconds))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
