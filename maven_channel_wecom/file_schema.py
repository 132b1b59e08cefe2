"""The command `schema`, which prints the JSON Schema (2020-12) of a configuration file with channels of this type."""

from __future__ import annotations

import json
import sys
from typing import Any

from maven_channel_wecom.config import TYPE, entry_schema
from maven_channel_wecom.host.configuration import document_schema


def file_schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file."""
    return document_schema({TYPE: entry_schema()})


def main() -> int:
    """Print the schema and return the exit code."""
    sys.stdout.write(json.dumps(file_schema(), ensure_ascii=False, indent=2) + "\n")
    return 0
