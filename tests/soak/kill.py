"""Kill a gateway repeatedly while users write to it: no acknowledged message is lost or answered twice.

python -m tests.soak.kill --kills 200
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.soak.fleet import lone_gateway
from tests.soak.traffic import Traffic, tally

if TYPE_CHECKING:
    from tests.soak.traffic import Tally

_REPLY_WAIT_SECONDS = 60.0


async def kill_repeatedly(folder: Path, *, kills: int) -> Tally:
    """Kill and restart a gateway `kills` times at random moments, under traffic."""
    async with lone_gateway(folder) as (wecom, gateway):
        async with Traffic(wecom, lambda: [gateway.callback_url], per_second=60.0):
            for _ in range(kills):
                await asyncio.sleep(random.uniform(0.05, 0.8))  # noqa: S311 - a delay, not a secret
                await gateway.kill()
                await gateway.start()
        return await tally(wecom, within_seconds=_REPLY_WAIT_SECONDS)


def main() -> int:
    """Run the long form, print the result, and return 0 if no message was lost or answered twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    kills: int = parser.parse_args().kills
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(kill_repeatedly(Path(folder), kills=kills))
    sys.stdout.write(f"{kills} kills: {result}\n")
    return 1 if result.lost or result.answered_twice else 0


if __name__ == "__main__":
    sys.exit(main())
