"""Runs the `gateway` command as a program, with the fake channel as its only plugin."""

import argparse
import asyncio
import sys

from maven_channel_wecom.host import gateway
from tests.host.fake_channel import FakePlugin, manager_with


def main() -> int:
    """Run the gateway. With `--never-starts` or `--never-drains`, its channel waits forever at start or stop."""
    parser = argparse.ArgumentParser()
    gateway.add_arguments(parser)
    parser.add_argument("--never-drains", action="store_true")
    parser.add_argument("--never-starts", action="store_true")
    args = parser.parse_args()
    plugin = FakePlugin()
    if args.never_drains:
        plugin.stop_gate = asyncio.Event()
    if args.never_starts:
        plugin.start_gate = asyncio.Event()
    return gateway.main(args, manager_with(plugin))


if __name__ == "__main__":
    sys.exit(main())
