"""Stream answers while refreshes get lost, late, repeated and cut: each message gets exactly one final answer.

The time is injected, so that turns of up to eight minutes take a few milliseconds.

python -m tests.soak.streamed_turns --turns 1000
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.contract.messages import OutboundMessage, OutboundProgress
from maven_channel_wecom.outbound import Outbound
from maven_channel_wecom.policy.language import Languages
from maven_channel_wecom.policy.reply_window import open_window
from maven_channel_wecom.policy.stream import stream_id
from maven_channel_wecom.protocol.callback import Callback, TextItem
from maven_channel_wecom.sentences import Sentence
from maven_channel_wecom.simulator.bubbles import Bubble
from maven_channel_wecom.simulator.stream_rules import read_frame
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.store import Admission, StoredCallback
from maven_channel_wecom.telemetry import events
from tests.fakes.clock import SteppedClock
from tests.fakes.recorder import Recorder
from tests.fakes.streams import WORKING, make_streams

if TYPE_CHECKING:
    from maven_channel_wecom.egress.egress import SendProgress
    from maven_channel_wecom.streams import StreamReply

# Seconds are multiples of an eighth, so that what happens at the same moment does so exactly.
_TICK: Final = 0.125
_ARRIVAL_SECONDS: Final = 60.0
_SHORTEST_TURN: Final = 1.0
_LONGEST_TURN: Final = 480.0
# 100719: WeCom asks for six minutes.
_ASKING_SECONDS: Final = 360.0
# A frame that was written and lost is given again for a minute, so an outage is shorter than that.
_LONGEST_OUTAGE: Final = 30.0
# Outages of the network end before WeCom stops asking.
_LAST_OUTAGE: Final = 300.0
_WORDS: Final = 40
_FAULTS: Final = ("lost", "cut", "unsent", "late", "repeated")
_FAULTY_SHARE: Final = 0.35
DOTS: Final = Sentence("", "")


@dataclass
class Result:
    """What people saw. `offences` are counted by the rule of `simulator/stream_rules.py` that was broken.

    `unanswered`, `answered_twice` and `unfinished` are message ids. A bubble is unfinished if WeCom asked for its
    frames until the end and none of them was the last. `faults` and `outcomes` count what happened to refreshes and
    to streams, to show that the run met every case.
    """

    turns: int = 0
    fetched: int = 0
    posted: int = 0
    unanswered: list[str] = field(default_factory=list)
    answered_twice: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    offences: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def passed(self) -> bool:
        return not (self.unanswered or self.answered_twice or self.unfinished or self.offences)

    def __str__(self) -> str:
        return (
            f"{self.turns} turns: {self.fetched} answers in the stream, {self.posted} by response_url, "
            f"{len(self.unanswered)} without an answer, {len(self.answered_twice)} with two, "
            f"{len(self.unfinished)} unfinished bubbles, offences {dict(self.offences)}; "
            f"refreshes {dict(self.faults)}, streams {dict(self.outcomes)}"
        )


class _ResponseUrls:
    """WeCom's side of replies. It answers some of the first attempts with a temporary error."""

    def __init__(self, clock: SteppedClock, chance: random.Random) -> None:
        self.accepted: dict[str, list[str]] = {}
        self._clock = clock
        self._chance = chance
        self._attempted: set[str] = set()

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        timeout_seconds: float,
        progress: SendProgress,
    ) -> tuple[int, bytes]:
        progress.left = True
        await self._clock.sleep(_TICK)
        is_first = url not in self._attempted
        self._attempted.add(url)
        if is_first and self._chance.random() < 0.2:
            return 200, b'{"errcode":-1}'
        self.accepted.setdefault(url, []).append(msgspec.json.decode(body)["markdown"]["content"])
        return 200, b'{"errcode":0}'


class _Turns:
    """One channel's streams and replies, and what people see of them."""

    def __init__(self, chance: random.Random, progress_text: Sentence) -> None:
        self.clock = SteppedClock()
        self.result = Result()
        self._chance = chance
        self._placeholder = progress_text.zh
        self._refreshes = 0
        self._recorder = Recorder()
        self._state = MemoryStateStore()
        self._urls = _ResponseUrls(self.clock, chance)
        languages = Languages(None, ())
        self._streams = make_streams(
            "stream",
            text=progress_text,
            state=self._state,
            emit=self._recorder,
            clock=self.clock,
            languages=languages,
        )
        self._outbound = Outbound(
            poster=self._urls,
            streams=self._streams,
            state=self._state,
            emit=self._recorder,
            clock=self.clock,
            random=chance.random,
            overflow="truncate",
            languages=languages,
            feedback_id=None,
        )

    async def run(self, turns: int) -> Result:
        ticking = asyncio.create_task(self._tick())
        messages = asyncio.gather(*(self._message(number) for number in range(turns)))
        while not messages.done():
            await self.clock.pass_seconds(10.0)
        await messages
        ticking.cancel()
        self.result.outcomes.update(ended.outcome for ended in self._recorder.of(events.StreamEnded))
        return self.result

    async def _tick(self) -> None:
        while True:
            await self.clock.sleep(1.0)
            self._streams.tick()

    async def _message(self, number: int) -> None:
        """Write one message, and count the final answers that its sender gets."""
        await self.clock.sleep(self._seconds(0, _ARRIVAL_SECONDS))
        person = f"user{number % 40}"
        asked = Callback(
            message_id=f"message-{number}",
            type="text",
            chat_id=person,
            sender_id=person,
            response_url=f"https://canary/{number}",
            items=(TextItem("一个问题"),),
        )
        now = self.clock.now()
        admission = Admission(StoredCallback(asked.message_id, now, b""), open_window(asked, now))
        await self._state.admit([admission], now)
        self._streams.open(asked, now)
        answer = f"answer {number}: " + " ".join(f"word{position}" for position in range(_WORDS))
        turn = asyncio.create_task(self._turn(asked, answer))
        bubble = await self._watch(asked)
        await turn
        self._count(asked, answer, bubble)

    async def _turn(self, asked: Callback, answer: str) -> None:
        """Write an answer piece by piece, as the host has the agent do it, and send it."""
        ends_at = self.clock.now() + self._turn_seconds()
        while (left := ends_at - self.clock.now()) > 0:
            # An agent's text may begin with nothing visible.
            shown = self._chance.choice([" ", "\u200b", answer[: self._chance.randrange(8, len(answer))]])
            self._streams.show(
                OutboundProgress(channel="wecom", chat_id=asked.chat_id, reply_to=asked.message_id, content=shown)
            )
            await self.clock.sleep(min(left, self._seconds(0.5, 20)))
        message = OutboundMessage(
            channel="wecom", chat_id=asked.chat_id, content=answer, reply_to=asked.message_id, metadata={}
        )
        receipt = await self._outbound.send(message)
        self.result.outcomes[f"receipt {receipt.outcome}"] += 1
        self._streams.end(asked.message_id)
        await self._state.finish(asked.message_id, self.clock.now())

    async def _watch(self, asked: Callback) -> Bubble | None:
        """Ask for frames as WeCom does, with faults, and return the bubble that they fill, None if none was shown."""
        sent_at = self.clock.now()
        bubble = await self._acknowledge(asked, sent_at)
        if bubble is None:
            return None
        leaves_at = self._seconds(0, _LAST_OUTAGE) if self._chance.random() < 0.05 else math.inf
        outage_at = self._seconds(0, _LAST_OUTAGE) if self._chance.random() < 0.4 else math.inf
        outage_until = outage_at + self._seconds(2, _LONGEST_OUTAGE)
        outage = self._chance.choice(["lost", "cut", "unsent"])
        while not bubble.is_finished:
            await self.clock.sleep(1.0)
            after = self.clock.now() - sent_at
            if after >= _ASKING_SECONDS:
                self.result.unfinished.append(asked.message_id)
                return bubble
            fault = ""
            if outage_at <= after < outage_until:
                fault = outage
            elif self._chance.random() < _FAULTY_SHARE:
                fault = self._chance.choice(_FAULTS)
            self.result.faults[fault or "answered"] += 1
            if fault == "late":
                await self.clock.sleep(self._seconds(0.5, 6))
            if fault == "unsent":
                continue
            refresh = self._new_refresh(asked)
            first_fault = self._chance.choice(["", "lost", "cut"]) if fault == "repeated" else fault
            self._receive(self._ask(refresh), bubble, sent_at, first_fault)
            if fault == "repeated":
                # The turn may end in between.
                await self.clock.sleep(self._seconds(0, 5))
                self._receive(self._ask(refresh), bubble, sent_at, "")
            if after >= leaves_at and fault not in {"lost", "cut"} and not bubble.is_finished:
                # The person closed the chat.
                return bubble
        # A refresh that was on its way while the last frame came.
        await self.clock.sleep(self._seconds(0, 5))
        self._receive(self._ask(self._new_refresh(asked)), bubble, sent_at, "")
        return bubble

    async def _acknowledge(self, asked: Callback, sent_at: float) -> Bubble | None:
        """Send the callback until its acknowledgement arrives."""
        for attempt in range(4):
            frame = self._streams.first_frame(asked)
            fault = self._chance.choice(["lost", "cut", "", "", "", "", "", ""]) if attempt < 3 else ""
            if fault == "":
                if frame is None:
                    return None
                bubble = Bubble(asked.message_id, stream_id("wecom", asked.message_id))
                self._receive(frame, bubble, sent_at, fault, is_refresh=False)
                return bubble
            if frame and frame.written and fault == "lost":
                frame.written()
            await self.clock.sleep(5.0)
        return None

    def _new_refresh(self, asked: Callback) -> Callback:
        self._refreshes += 1
        return msgspec.structs.replace(
            asked,
            message_id=f"refresh-{self._refreshes}",
            type="stream",
            response_url="",
            items=(),
            stream_id=stream_id("wecom", asked.message_id),
        )

    def _ask(self, refresh: Callback) -> StreamReply:
        frame = self._streams.refresh(refresh, int(self.clock.wall()))
        assert frame is not None
        return frame

    def _receive(
        self, frame: StreamReply, bubble: Bubble, sent_at: float, fault: str, *, is_refresh: bool = True
    ) -> None:
        """Write an answer to the connection unless it is cut, and show it unless it is lost."""
        if fault == "cut":
            return
        if frame.written:
            frame.written()
        if fault == "lost":
            return
        answered = read_frame(frame.body)
        assert answered is not None
        before = bubble.text
        change, offences = bubble.take(answered, after_seconds=self.clock.now() - sent_at, is_refresh=is_refresh)
        self.result.offences.update(offences)
        if change and change.content == self._placeholder != before and len(bubble.frames) > 1:
            self.result.offences["withdrawn_text"] += 1

    def _count(self, asked: Callback, answer: str, bubble: Bubble | None) -> None:
        result = self.result
        result.turns += 1
        in_stream = bool(bubble and bubble.is_finished and bubble.text == answer)
        posts = self._urls.accepted.get(asked.response_url, [])
        result.offences["altered_answer"] += sum(content != answer for content in posts)
        result.offences += Counter()
        result.fetched += in_stream
        result.posted += len(posts)
        if in_stream + len(posts) == 0:
            result.unanswered.append(asked.message_id)
        if in_stream + len(posts) > 1:
            result.answered_twice.append(asked.message_id)

    def _turn_seconds(self) -> float:
        """Return the length of a turn: half of them of any length, half of them rather short."""
        if self._chance.random() < 0.5:
            return self._seconds(_SHORTEST_TURN, _LONGEST_TURN)
        longest = math.log(_LONGEST_TURN / _SHORTEST_TURN)
        return _in_ticks(_SHORTEST_TURN * math.exp(self._chance.uniform(0, longest)))

    def _seconds(self, least: float, most: float) -> float:
        return _in_ticks(self._chance.uniform(least, most))


def _in_ticks(seconds: float) -> float:
    return max(1, round(seconds / _TICK)) * _TICK


async def stream_turns(turns: int, *, seed: int, progress_text: Sentence = WORKING) -> Result:
    """Stream the answers of `turns` messages that people write within a minute."""
    return await _Turns(random.Random(seed), progress_text).run(turns)  # noqa: S311 - a test that can be repeated


def main() -> int:
    """Run the long form, print the results, and return 0 if every message got exactly one final answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--seed", type=int, help="for the lengths of turns, and for faults")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    passed = True
    for shown, text in (("a progress text", WORKING), ("moving dots", DOTS)):
        result = asyncio.run(stream_turns(arguments.turns, seed=seed, progress_text=text))
        passed = passed and result.passed
        sys.stdout.write(f"{'ok  ' if result.passed else 'FAIL'} {shown}, seed {seed}, {result}\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
