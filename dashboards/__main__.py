"""Generate the dashboards and the rules: python -m dashboards [--runbook URL] [--into FOLDER]."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dashboards.files import RUNBOOK, files

_HERE = Path(__file__).parent


def main() -> int:
    """Write every file and print its path."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description=__doc__)
    parser.add_argument("--runbook", default=RUNBOOK, help="address of the runbook, for the links in alerts")
    parser.add_argument("--into", type=Path, default=_HERE, help="folder to write to")
    arguments = parser.parse_args()
    for name, content in files(arguments.runbook).items():
        path = arguments.into / name
        path.write_text(content, encoding="utf-8")
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
