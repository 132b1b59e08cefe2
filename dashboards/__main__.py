"""Regenerate the dashboards and the rules in this folder: python -m dashboards."""

from __future__ import annotations

import sys
from pathlib import Path

from maven_channel_wecom import terminal


def main() -> int:
    """Bring every file up to date and print its path."""
    from dashboards.files import files  # noqa: PLC0415 - Ctrl-C ends this long import silently

    for name, content in files().items():
        path = Path(__file__).parent / name
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    terminal.prepare()
    sys.exit(terminal.run(main))
