"""Tests that Prometheus accepts the configuration on the monitoring page, and that the page lists every file."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.dashboards.committed import FOLDER
from tests.dashboards.promtool import promtool

PAGE = (FOLDER.parent / "docs" / "monitoring.md").read_text(encoding="utf-8")


def test_prometheus_accepts_the_configuration_on_the_page(tmp_path: Path) -> None:
    """The YAML blocks of the page together are one configuration."""
    pieces = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    configuration = yaml.safe_load("".join(pieces))
    assert set(configuration) == {"scrape_configs", "rule_files"}
    (rules,) = configuration["rule_files"]
    assert Path(rules).name == "wecom-rules.yml"
    configuration["rule_files"] = [str(FOLDER / "wecom-rules.yml")]
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    done = promtool("check", "config", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_table_lists_exactly_the_generated_files() -> None:
    named = set(re.findall(r"^\| `([\w.-]+)` \|", PAGE, re.MULTILINE))
    assert named == {path.name for path in FOLDER.iterdir() if path.suffix in {".json", ".yml"}}
