"""Whether callers notice that the agent hangs and large pictures arrive: a steady load, each answer timed.

Every caller comes at its own moment, whether or not those before it have their answer, and its time counts from that
moment. The host never finishes a message, so all of them stay in progress. Once a second a picture comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.figures import figure
from tests.benchmarks.load import load_core, p99, pinned, put_under_pace
from tests.benchmarks.sealing import Bot, as_http, check_answers
from tests.benchmarks.servers import Server, Settings

if TYPE_CHECKING:
    from tests.benchmarks.figures import Rows
    from tests.benchmarks.scale import Scale

PER_SECOND = 300
_TEXTS_TO_A_PICTURE = 300


def measure(scale: Scale) -> Rows:
    """Return the figures; RuntimeError when a callback was not acknowledged."""
    bot = Bot()
    count = int(PER_SECOND * scale.seconds)
    # Everything stays in progress: the point is what that does to those who come later, not when it is refused.
    entry = bot.entry(inboxLimit=count + 1, drainSeconds=0.5)
    pictures_settings = Settings(kind="pictures", entry=bot.entry(), picture_bytes=scale.picture_bytes)
    with (
        Server(pictures_settings, core=load_core()) as pictures,
        Server(Settings(kind="channel", entry=entry, hangs=True)) as channel,
        pinned(load_core()),
    ):
        url = f"http://127.0.0.1:{pictures.port}/{scale.picture_bytes}"
        sealed = [
            bot.seal(picture_url=url if number % _TEXTS_TO_A_PICTURE == _TEXTS_TO_A_PICTURE // 2 else "")
            for number in range(count)
        ]
        requests = [as_http(each) for each in sealed]
        scale.tell(f"{count} callbacks in {scale.seconds:g} s")
        pace = put_under_pace(channel.port, requests, per_second=PER_SECOND)
        check_answers(sealed, pace.sample)
    return {
        f"{PER_SECOND}/s, agent hangs, pictures arrive": {
            "p99": figure([p99(pace.seconds) * 1000], "ms", at_most=20.0),
            "longest": figure([max(pace.seconds) * 1000], "ms"),
            "longest stall": figure([channel.summary.stall_seconds * 1000], "ms", at_most=15.0),
            "longest stall, CPU": figure([channel.summary.stall_computed_seconds * 1000], "ms"),
        }
    }
