"""`maven-wecom dashboards`: writes the dashboards for Grafana and the rules for Prometheus into a folder."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Final

FILES: Final = ("wecom-overview.json", "wecom-inside.json", "wecom-rules.yml")

_RUNBOOK: Final = "runbook_url: docs/runbook.md#"
"""How each alert names its section of the runbook, as long as the runbook has no address."""

_EXIT_FAILED: Final = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--into", required=True, type=Path, metavar="DIR", help="the folder; it is created if missing")
    parser.add_argument(
        "--runbook", type=_address, metavar="URL", help="where your runbook is, for the links in alerts"
    )


def main(args: argparse.Namespace) -> int:
    """Write the files, print their paths, and return the exit code."""
    for name in FILES:
        content = (_source() / name).read_text(encoding="utf-8")
        if args.runbook:
            content = content.replace(_RUNBOOK, f"runbook_url: {args.runbook}#")
        target = args.into / name
        try:
            args.into.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
        except OSError as error:
            sys.stderr.write(f"maven-wecom: {target} cannot be written: {error.strerror}\n")
            return _EXIT_FAILED
    # Printed at the end, because a closed output ends the command.
    sys.stdout.writelines(f"{args.into / name}\n" for name in FILES)
    return 0


def _source() -> Path:
    """Return the folder of the files: in the package if it was installed from a wheel, beside it in a clone."""
    packaged = Path(__file__).parent / "dashboards"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "dashboards"


def _address(text: str) -> str:
    # Anything else might end the value in the YAML file.
    if not re.fullmatch(r"https?://[^\s#\"'`{}\[\]\\]+", text):
        message = "must be a URL such as https://git.example.com/runbook.md, without #"
        raise argparse.ArgumentTypeError(message)
    return text
