"""The gateway with the times of streams divided by 20, so that the life of a stream takes 16 s instead of 330.

The messages of a replica that died are recovered sooner, too. Everything else is as in production.

python -m tests.soak.fast_streams gateway --config wecom.json
"""

import sys

import msgspec

from maven_channel_wecom import channel, cli, plugin
from maven_channel_wecom.policy.stream import StreamTimes
from maven_channel_wecom.state.redis import store

DIVISOR = 20.0

SILENT_SECONDS = 3.0
"""Not divided by as much: on a busy machine a replica that is alive would miss its heartbeats. Higher: the proof takes
longer."""

RECOVER_SECONDS = 1.0


def main() -> int:
    """Run the command line with these times."""
    plugin.STREAM_TIMES = StreamTimes(*(seconds / DIVISOR for seconds in msgspec.structs.astuple(StreamTimes())))
    store.SILENT_SECONDS = SILENT_SECONDS  # type: ignore[misc]  # only tests change it
    channel.RECOVER_SECONDS = RECOVER_SECONDS  # type: ignore[misc]  # only tests change it
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
