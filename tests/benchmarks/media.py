"""One large encrypted picture from its callback to the block in the host's hands: time, memory, stalls of the loop.

Each round has a process of its own that has opened one small picture before, and nothing of an earlier large one left.
The picture comes from a server on the other core.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.benchmarks.figures import figure
from tests.benchmarks.load import load_core, pinned, put_under_load
from tests.benchmarks.sealing import Bot, as_http
from tests.benchmarks.servers import Server, Settings

if TYPE_CHECKING:
    from tests.benchmarks.figures import Rows
    from tests.benchmarks.scale import Scale

_SMALL_BYTES = 1024


def measure(scale: Scale) -> Rows:
    """Return the figures; RuntimeError when the picture did not arrive as a picture of its size."""
    bot = Bot()
    seconds, peaks, stalls = [], [], []
    pictures_settings = Settings(kind="pictures", entry=bot.entry(), picture_bytes=scale.picture_bytes)
    with Server(pictures_settings, core=load_core()) as pictures, pinned(load_core()):
        for number in range(scale.rounds):
            with Server(Settings(kind="channel", entry=bot.entry(), announces=True)) as channel:
                _send(bot, channel, pictures, _SMALL_BYTES)
                channel.announcement()
                idle = channel.resident_bytes()
                began = time.monotonic()
                _send(bot, channel, pictures, scale.picture_bytes)
                arrived = channel.announcement()
                peaks.append(channel.peak_bytes() - idle)
                seconds.append(arrived.at - began)
                stalls.append(arrived.stall_seconds)
                if arrived.data_characters != _base64_characters(scale.picture_bytes):
                    message = f"the picture arrived with {arrived.data_characters} characters"
                    raise RuntimeError(message)
            scale.tell(f"round {number + 1} of {scale.rounds}")
    size = _base64_characters(scale.picture_bytes)
    return {
        f"a picture of {scale.picture_bytes / 1024**2:g} MiB": {
            "time": figure([each * 1000 for each in seconds], "ms"),
            "peak over idle, of its base64": figure([peak / size for peak in peaks], "x", at_most=2.2),
            "longest stall": figure([stall * 1000 for stall in stalls], "ms", at_most=10.0),
        }
    }


def _send(bot: Bot, channel: Server, pictures: Server, size: int) -> None:
    put_under_load(channel.port, [as_http(bot.seal(picture_url=f"http://127.0.0.1:{pictures.port}/{size}"))])


def _base64_characters(size: int) -> int:
    return (size + 2) // 3 * 4
