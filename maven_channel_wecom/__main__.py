"""Entry point of `python -m maven_channel_wecom`, which is the same as the console script `maven-wecom`."""

import sys

from maven_channel_wecom.cli import main

if __name__ == "__main__":
    sys.exit(main())
