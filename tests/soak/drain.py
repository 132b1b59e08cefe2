"""Stop a gateway with SIGTERM again and again while people write to it: exit code 0 in time, nothing lost.

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

_SETTLING_SECONDS = 30.0


@dataclass(frozen=True)
class Stops:
    """How the gateway ended each time, and what became of the messages."""

    exit_codes: list[int]
    seconds: list[float]
    messages: Tally


async def stop_again_and_again(folder: Path, *, stops: int, per_second: float = 60.0) -> Stops:
    """Return how that many stops went."""
    exit_codes: list[int] = []
    seconds: list[float] = []
    async with lone_gateway(folder) as (wecom, gateway):
        async with Traffic(wecom, lambda: [gateway.callback_url], per_second=per_second):
            for _ in range(stops):
                await asyncio.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - a moment, not a secret
                began = time.monotonic()
                exit_codes.append(await gateway.drain())
                seconds.append(time.monotonic() - began)
                await gateway.start()
        return Stops(exit_codes, seconds, await tally(wecom, within_seconds=_SETTLING_SECONDS))


def main() -> int:
    """Run the long form, print what was found, return 0 when the promise held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stops", type=int, default=100)
    stops: int = parser.parse_args().stops
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(stop_again_and_again(Path(folder), stops=stops))
    sys.stdout.write(
        f"{stops} stops: exit codes {sorted(set(found.exit_codes))}, slowest {max(found.seconds):.1f} s; "
        f"{found.messages}\n"
    )
    bad = found.messages.lost or found.messages.answered_twice or any(found.exit_codes)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
