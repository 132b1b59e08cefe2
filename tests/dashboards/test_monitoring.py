"""What the page on monitoring gives to copy is taken by Prometheus."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.dashboards.committed import FOLDER
from tests.dashboards.promtool import promtool

PAGE = (FOLDER.parent / "docs" / "monitoring.md").read_text(encoding="utf-8")


def test_the_configuration_in_the_page_is_one(tmp_path: Path) -> None:
    """All its pieces together, with the rules where they are said to be."""
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


def test_every_file_is_in_the_table() -> None:
    """Nobody looks for one that is not there, or overlooks one that is."""
    named = set(re.findall(r"^\| `([\w.-]+)` \|", PAGE, re.MULTILINE))
    assert named == {path.name for path in FOLDER.iterdir() if path.suffix in {".json", ".yml"}}
