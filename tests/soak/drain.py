"""Stop a gateway repeatedly with SIGTERM while users write to it: exit code 0 each time, and no message lost.

python -m tests.soak.drain --stops 100
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.soak.fleet import lone_gateway
from tests.soak.traffic import Traffic, tally

if TYPE_CHECKING:
    from tests.soak.traffic import Tally

_REPLY_WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Stops:
    """Exit code and duration of each stop, and the outcome of the messages."""

    exit_codes: list[int]
    seconds: list[float]
    messages: Tally


async def stop_repeatedly(folder: Path, *, stops: int) -> Stops:
    """Stop and restart a gateway `stops` times at random moments, under traffic."""
    exit_codes: list[int] = []
    seconds: list[float] = []
    async with lone_gateway(folder) as (wecom, gateway):
        async with Traffic(wecom, lambda: [gateway.callback_url], per_second=60.0):
            for _ in range(stops):
                await asyncio.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - a delay, not a secret
                started = time.monotonic()
                exit_codes.append(await gateway.drain())
                seconds.append(time.monotonic() - started)
                await gateway.start()
        return Stops(exit_codes, seconds, await tally(wecom, within_seconds=_REPLY_WAIT_SECONDS))


def main() -> int:
    """Run the long form, print the result, and return 0 if every stop was clean and no message was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stops", type=int, default=100)
    stops: int = parser.parse_args().stops
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(stop_repeatedly(Path(folder), stops=stops))
    sys.stdout.write(
        f"{stops} stops: exit codes {sorted(set(result.exit_codes))}, slowest {max(result.seconds):.1f} s; "
        f"{result.messages}\n"
    )
    failed = result.messages.lost or result.messages.answered_twice or any(result.exit_codes)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
