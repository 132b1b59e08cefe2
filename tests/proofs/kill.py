"""Kill a gateway again and again while people write to it: nothing acknowledged is lost, nobody is answered twice.

python -m tests.proofs.kill --kills 200
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.keys import new_encoding_aes_key, new_token
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from tests.proofs.agent import counting_agent
from tests.proofs.fleet import Gateway
from tests.proofs.traffic import Traffic, tally

if TYPE_CHECKING:
    from tests.proofs.traffic import Tally

_SETTLING_SECONDS = 60.0


async def kill_again_and_again(folder: Path, *, kills: int, per_second: float = 60.0) -> Tally:
    """Return the count after that many kills at random moments."""
    token, key = new_token(), new_encoding_aes_key()
    async with (
        SimulatedWeCom(token=token, encoding_aes_key=key) as wecom,
        counting_agent(slowest_seconds=0.3) as agent,
    ):
        gateway = Gateway(
            folder,
            1,
            token=token,
            encoding_aes_key=key,
            agent_url=agent.url,
            state=f"sqlite:{folder / 'state.db'}",
        )
        await gateway.start()
        try:
            async with Traffic(wecom, lambda: [gateway.callback_url], per_second=per_second):
                for _ in range(kills):
                    await asyncio.sleep(random.uniform(0.05, 0.8))  # noqa: S311 - a moment, not a secret
                    await gateway.kill()
                    await gateway.start()
            return await tally(wecom, within_seconds=_SETTLING_SECONDS)
        finally:
            await gateway.kill()


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
