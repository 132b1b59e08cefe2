"""The files others load, by name."""

from __future__ import annotations

import json
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.alerts import GROUPS
from dashboards.inside import inside
from dashboards.overview import overview
from dashboards.rules import rules_document, to_yaml

RUNBOOK: Final = "docs/runbook.md"
"""Where alerts link to. A path, as nobody knows where you read these documents: `--runbook` makes it an address."""

_HEADER: Final = "# Made by `make dashboards`; change the code in this folder, not this file.\n"


def files(runbook: str = RUNBOOK) -> dict[str, str]:
    """Return the content of every file."""
    made = {
        f"{dashboard.uid}.json": json.dumps(dashboard, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        for dashboard in (overview(), inside())
    }
    return made | {"wecom-rules.yml": _HEADER + to_yaml(rules_document(GROUPS, runbook))}
