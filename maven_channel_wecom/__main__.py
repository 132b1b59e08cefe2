"""Entry point of `python -m maven_channel_wecom`, which is the same as the console script `maven-wecom`."""

import sys

try:
    from maven_channel_wecom import terminal
except KeyboardInterrupt:
    sys.exit(130)


def run() -> int:
    """Run the command line as a program and return its exit code."""
    terminal.prepare()
    from maven_channel_wecom.cli import main  # noqa: PLC0415 - after this, Ctrl-C ends imports silently

    return terminal.run(main)


if __name__ == "__main__":
    sys.exit(run())
