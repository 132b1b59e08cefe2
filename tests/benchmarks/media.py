"""Time, memory and event loop stalls while large encrypted pictures are fetched and decrypted for the host.

Each round runs in a new process, which has handled one small picture before. The other core serves the pictures.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.benchmarks.figures import figure
from tests.benchmarks.load import load_core, pinned, put_under_load
from tests.benchmarks.sealing import Bot, as_http
from tests.benchmarks.servers import Server, Settings

if TYPE_CHECKING:
    from tests.benchmarks.figures import Figure, Rows
    from tests.benchmarks.scale import Scale
    from tests.benchmarks.servers import Announcement

_SMALL_BYTES = 1024
_MANY = 16


def measure(scale: Scale) -> Rows:
    """Return the figures.

    Raises:
        RuntimeError: a picture arrived with the wrong size.
    """
    bot = Bot()
    pictures_settings = Settings(kind="pictures", entry=bot.entry(), picture_bytes=scale.picture_bytes)
    what = f"of {scale.picture_bytes / 1024**2:g} MiB"
    with Server(pictures_settings, core=load_core()) as pictures, pinned(load_core()):
        return {
            f"a picture {what}": _pictures(bot, pictures, scale, 1),
            f"{_MANY} pictures {what} at once": _pictures(bot, pictures, scale, _MANY),
        }


def _pictures(bot: Bot, pictures: Server, scale: Scale, count: int) -> dict[str, Figure]:
    size = _base64_characters(scale.picture_bytes)
    seconds, computed, peaks, stalls, stalls_computed = [], [], [], [], []
    for number in range(scale.rounds):
        with Server(Settings(kind="channel", entry=bot.entry(), announces=True)) as channel:
            _send(bot, channel, pictures, _SMALL_BYTES, 1)
            idle, computed_before = channel.resident_bytes(), channel.cpu_seconds()
            began = time.monotonic()
            arrived = _send(bot, channel, pictures, scale.picture_bytes, count)
            peaks.append((channel.peak_bytes() - idle) / (count * size))
            computed.append(channel.cpu_seconds() - computed_before)
            seconds.append(max(each.at for each in arrived) - began)
            stalls.append(max(each.stall_seconds for each in arrived))
            stalls_computed.append(max(each.stall_computed_seconds for each in arrived))
        scale.report(f"{count} at once, round {number + 1} of {scale.rounds}")
    return {
        "time": figure([each * 1000 for each in seconds], "ms"),
        "CPU": figure([each * 1000 for each in computed], "ms"),
        "peak above idle relative to the base64 size": figure(peaks, "x", at_most=1.5),
        "longest stall": figure([stall * 1000 for stall in stalls], "ms", at_most=10.0),
        "longest stall, CPU": figure([stall * 1000 for stall in stalls_computed], "ms"),
    }


def _send(bot: Bot, channel: Server, pictures: Server, size: int, count: int) -> list[Announcement]:
    url = f"http://127.0.0.1:{pictures.port}/{size}"
    put_under_load(channel.port, [as_http(bot.seal(picture_url=url)) for _ in range(count)])
    arrived = [channel.announcement() for _ in range(count)]
    for each in arrived:
        if each.data_characters != _base64_characters(size):
            message = f"a picture arrived with {each.data_characters} characters"
            raise RuntimeError(message)
    return arrived


def _base64_characters(size: int) -> int:
    return (size + 2) // 3 * 4
