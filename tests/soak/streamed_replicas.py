"""Kill replicas that stream answers, with all times of streams divided by 20: every message is answered.

A message may get two final answers only in the one case that `docs/state.md` names: a process was killed after it had
written the last frame of a stream and before Redis knew it.

python -m tests.soak.streamed_replicas --turns 200 --kills 50
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.simulator.bubbles import BubbleFrame
from maven_channel_wecom.simulator.messages import Text
from maven_channel_wecom.simulator.refresh_faults import CutRefresh, LateRefresh, LostAnswer, RepeatedRefresh
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from maven_channel_wecom.state.redis.address import key_prefix
from tests.soak.agent import WritingAgent, writing_agent
from tests.soak.fast_streams import DIVISOR, RECOVER_SECONDS, SILENT_SECONDS
from tests.soak.fleet import Gateway
from tests.soak.replicas import durable_redis
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maven_channel_wecom.simulator.refresh_faults import RefreshFault
    from tests.fakes.redis_server import RedisServer

_REPLICAS: Final = 3
_SHORTEST_TURN: Final = 1.0 / DIVISOR
_LONGEST_TURN: Final = 480.0 / DIVISOR
# A callback that no replica acknowledged is repeated.
_REPEAT_SECONDS: Final = 0.3
_END_SECONDS: Final = 180.0
# Between the last frame and its confirmation in Redis, which takes milliseconds unless the machine is busy.
_CONFIRMATION_SECONDS: Final = 0.25
_FAULTS: Final[Sequence[RefreshFault]] = (LostAnswer(), RepeatedRefresh(), CutRefresh(), LateRefresh(0.2))
_FAULTY_SHARE: Final = 0.2


@dataclass
class Result:
    """What people saw. `unanswered`, `unfinished` and the two kinds of `twice` are message ids.

    `allowed_twice` are messages whose last frame came from a process that was killed at that moment.
    """

    acknowledged: int = 0
    in_stream: int = 0
    posted: int = 0
    turns: int = 0
    kills: int = 0
    unanswered: list[str] = field(default_factory=list)
    allowed_twice: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    offences: Counter[str] = field(default_factory=Counter)

    @property
    def passed(self) -> bool:
        return not (self.unanswered or self.twice or self.unfinished or self.offences)

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.acknowledged} messages acknowledged, {self.turns} turns of the agent, "
            f"{self.in_stream} answers in the stream, {self.posted} by response_url, "
            f"{len(self.unanswered)} without an answer, "
            f"{len(self.allowed_twice)} with two because of a kill at the last frame, {len(self.twice)} with two "
            f"otherwise, {len(self.unfinished)} unfinished bubbles, offences {dict(self.offences)}"
        )


class _LastFrames:
    """Records when each stream was finished, and at which replica."""

    def __init__(self, wecom: SimulatedWeCom, urls: Sequence[str], chance: random.Random) -> None:
        self.finished: dict[str, tuple[str, float]] = {}
        """By message id: the URL of the replica that gave the last frame, and the time on the clock of the loop."""
        self._urls = urls
        self._chance = chance
        # The simulator asks for the frames of each stream in a task.
        self._asked: dict[asyncio.Task[object] | None, str] = {}
        wecom.refresh_urls = self._choose
        wecom.recorded.listeners.append(self._record)

    def _choose(self) -> str:
        """Return the replica for a refresh, dead or alive."""
        url = self._asked[asyncio.current_task()] = self._chance.choice(self._urls)
        return url

    def _record(self, item: object) -> None:
        if isinstance(item, BubbleFrame) and item.finish:
            task = asyncio.current_task()
            self.finished[item.message_id] = self._asked.get(task, ""), asyncio.get_running_loop().time()


class _Fleet:
    """Replicas that stream answers, their simulated WeCom, and what was sent and killed."""

    def __init__(self, wecom: SimulatedWeCom, gateways: Sequence[Gateway], chance: random.Random) -> None:
        self.kills: list[tuple[str, float]] = []
        """The URL and the time of each kill."""
        self.texts: dict[str, str] = {}
        """The text of each message by its id."""
        self._wecom = wecom
        self._gateways = gateways
        self._chance = chance
        self._urls = [gateway.callback_url for gateway in gateways]
        self.last_frames = _LastFrames(wecom, self._urls, chance)
        self._deliveries: set[asyncio.Task[None]] = set()

    async def run(self, *, turns: int, kills: int, pause_seconds: float) -> None:
        """Kill and restart random replicas, while `turns` messages arrive at random times."""
        for number in range(kills):
            pause = self._chance.uniform(0.5, 1.5) * pause_seconds
            for message in range(turns * number // kills, turns * (number + 1) // kills):
                # Some of them arrive while a replica is away.
                after = self._chance.uniform(0, pause + 0.5)
                delivery = asyncio.create_task(self._deliver(f"message {message}", f"user{message % 50}", after))
                self._deliveries.add(delivery)
            await asyncio.sleep(pause)
            gateway = self._chance.choice(self._gateways)
            self.kills.append((gateway.callback_url, asyncio.get_running_loop().time()))
            await gateway.kill()
            await gateway.start()
        await asyncio.gather(*self._deliveries)

    async def _deliver(self, text: str, user: str, after_seconds: float) -> None:
        """Send one message until a replica acknowledges it. Some of the refreshes of its stream are faulty."""
        message_id = self._wecom.new_message_id()
        self.texts[message_id] = text
        faults = [
            self._chance.choice(_FAULTS) if self._chance.random() < _FAULTY_SHARE else None
            for _ in range(int(self._wecom.stream_seconds / self._wecom.refresh_seconds))
        ]
        self._wecom.refresh_faults.add(*faults, message_id=message_id)
        await asyncio.sleep(after_seconds)
        sent = await self._wecom.send(Text(text), user=user, message_id=message_id, at=self._any_url())
        while not sent.acknowledged:
            await asyncio.sleep(_REPEAT_SECONDS)
            sent = await self._wecom.redeliver(sent, at=self._any_url())

    def _any_url(self) -> str:
        return self._chance.choice(self._urls)

    def count(self, agent: WritingAgent) -> Result:
        """Count the final answers of each message: the last frame of its stream, and POSTs that WeCom accepted."""
        recorded = self._wecom.recorded
        result = Result(acknowledged=len(recorded.acknowledged_ids & self.texts.keys()), kills=len(self.kills))
        result.turns = sum(agent.turns.values())
        result.offences.update(offence.kind for offence in recorded.offences)
        for message_id, text in self.texts.items():
            bubble, posts = recorded.bubbles.get(message_id), len(recorded.replies_to(message_id))
            in_stream = bool(bubble and bubble.is_finished and bubble.text == agent.answer_to(text))
            result.in_stream += in_stream
            result.posted += posts
            if bubble and not bubble.is_finished:
                result.unfinished.append(message_id)
            if in_stream + posts == 0:
                result.unanswered.append(message_id)
            elif in_stream + posts > 1:
                (result.allowed_twice if posts == 1 and self._was_killed(message_id) else result.twice).append(
                    message_id
                )
        return result

    def _was_killed(self, message_id: str) -> bool:
        """Return whether the replica that gave the last frame of a stream was killed at that moment."""
        replica, finished_at = self.last_frames.finished[message_id]
        return any(
            killed == replica and abs(killed_at - finished_at) < _CONFIRMATION_SECONDS
            for killed, killed_at in self.kills
        )


async def stream_through_kills(
    folder: Path, *, turns: int, kills: int, seed: int, pause_seconds: float = 3.0, longest_turn: float = _LONGEST_TURN
) -> Result:
    """Stream answers of up to `longest_turn` seconds, and kill a replica about every `pause_seconds`."""
    chance = random.Random(seed)  # noqa: S311 - a test, and its choices can be repeated
    token, key = new_token(), new_encoding_aes_key()
    with durable_redis() as redis:
        async with (
            SimulatedWeCom(token=token, encoding_aes_key=key) as wecom,
            writing_agent(lambda: chance.uniform(_SHORTEST_TURN, longest_turn)) as agent,
            contextlib.AsyncExitStack() as stack,
        ):
            wecom.refresh_seconds /= DIVISOR
            # Otherwise WeCom would stop asking before the streams of a dead replica are ended, which takes 25 of 360 s
            # in production and is divided by less here.
            wecom.stream_seconds = wecom.stream_seconds / DIVISOR + 2 * (SILENT_SECONDS + RECOVER_SECONDS)
            gateways = [
                Gateway(
                    folder,
                    number,
                    token=token,
                    encoding_aes_key=key,
                    agent_url=agent.url,
                    state=redis.address(),
                    settings={"progress": "stream"},
                    program="tests.soak.fast_streams",
                )
                for number in range(_REPLICAS)
            ]
            for gateway in gateways:
                stack.push_async_callback(gateway.kill)
            await asyncio.gather(*(gateway.start() for gateway in gateways))
            fleet = _Fleet(wecom, gateways, chance)
            await fleet.run(turns=turns, kills=kills, pause_seconds=pause_seconds)
            await _all_finished(redis, wecom)
            return fleet.count(agent)


async def _all_finished(redis: RedisServer, wecom: SimulatedWeCom) -> None:
    """Wait until no message is in progress, and no bubble is open that WeCom still asks about."""
    bubbles = wecom.recorded.bubbles
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            while await redis.command("XLEN", f"{key_prefix('wecom')}unfinished"):  # noqa: ASYNC110 - Redis has no event
                await asyncio.sleep(0.1)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wecom.stream_seconds):
            await asyncio.gather(*(bubble.finished() for bubble in bubbles.values()))


def main() -> int:
    """Run the long form, print the result, and return 0 if all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, help="for the times of kills and messages, and for faults")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(
            stream_through_kills(Path(folder), turns=arguments.turns, kills=arguments.kills, seed=seed)
        )
    sys.stdout.write(f"{'ok  ' if result.passed else 'FAIL'} seed {seed}, {result}\n")
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
