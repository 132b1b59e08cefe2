"""Regenerate the dashboards and the rules in this folder: python -m dashboards."""

from __future__ import annotations

import sys
from pathlib import Path

from maven_channel_wecom import terminal


def main() -> int:
    """Bring every file up to date and print its path."""
    from dashboards.files import files  # noqa: PLC0415 - Ctrl-C ends this long import silently

    contents = {Path(__file__).parent / name: content for name, content in files().items()}
    for path, content in contents.items():
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
    # Printed at the end, because a closed output ends the command.
    sys.stdout.writelines(f"{path}\n" for path in contents)
    return 0


if __name__ == "__main__":
    terminal.prepare()
    sys.exit(terminal.run(main))
