"""Kill a gateway again and again while people write to it: nothing acknowledged is lost, nobody is answered twice.

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

_SETTLING_SECONDS = 60.0


async def kill_again_and_again(folder: Path, *, kills: int, per_second: float = 60.0) -> Tally:
    """Return the count after that many kills at random moments."""
    async with lone_gateway(folder) as (wecom, gateway):
        async with Traffic(wecom, lambda: [gateway.callback_url], per_second=per_second):
            for _ in range(kills):
                await asyncio.sleep(random.uniform(0.05, 0.8))  # noqa: S311 - a moment, not a secret
                await gateway.kill()
                await gateway.start()
        return await tally(wecom, within_seconds=_SETTLING_SECONDS)


def main() -> int:
    """Run the long form, print the count, return 0 when the promise held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    kills: int = parser.parse_args().kills
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(kill_again_and_again(Path(folder), kills=kills))
    sys.stdout.write(f"{kills} kills: {found}\n")
    return 1 if found.lost or found.answered_twice else 0


if __name__ == "__main__":
    sys.exit(main())
