"""Response times under a steady load while the agent hangs and large pictures arrive.

Each request has a scheduled time, independent of earlier answers, and its response time counts from then. The host
never finishes a message, so all messages stay in progress. Once a second a picture arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.figures import figure
from tests.benchmarks.load import load_core, p99, pinned, send_steadily
from tests.benchmarks.sealing import Bot, as_http, check_answers
from tests.benchmarks.servers import Server, Settings

if TYPE_CHECKING:
    from tests.benchmarks.figures import Rows
    from tests.benchmarks.scale import Scale

PER_SECOND = 300
_TEXTS_TO_A_PICTURE = 300


def measure(scale: Scale) -> Rows:
    """Return the figures.

    Raises:
        RuntimeError: a callback was not acknowledged.
    """
    bot = Bot()
    count = int(PER_SECOND * scale.seconds)
    # The inbox has room for every message, because this measures slowdown, not refusals.
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
        scale.report(f"{count} callbacks in {scale.seconds:g} s")
        result = send_steadily(channel.port, requests, per_second=PER_SECOND)
        check_answers(sealed, result.sample)
    return {
        f"{PER_SECOND}/s, agent hangs, pictures arrive": {
            "p99": figure([p99(result.seconds) * 1000], "ms", at_most=20.0),
            "longest": figure([max(result.seconds) * 1000], "ms"),
            "longest stall": figure([channel.summary.stall_seconds * 1000], "ms", at_most=15.0),
            "longest stall, CPU": figure([channel.summary.stall_computed_seconds * 1000], "ms"),
        }
    }
