"""Tests of the project's own rules: layers, import contracts, the manifest, versions and module names."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from importlib.metadata import entry_points, metadata, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grimp
import pytest
from prometheus_client import CollectorRegistry

import maven_channel_wecom
from maven_channel_wecom import config, monitoring, plugin
from maven_channel_wecom.channel import CAPABILITIES
from maven_channel_wecom.contract import hookspecs
from maven_channel_wecom.host.configuration import interpret
from maven_channel_wecom.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "maven_channel_wecom"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MANIFEST: dict[str, Any] = tomllib.loads((ROOT / "plugin.toml").read_text(encoding="utf-8"))
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("maven_"))

FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "misc"}

# A valid value of each type in the manifest.
EXAMPLES: dict[str, Any] = {
    "boolean": True,
    "integer": 7,
    "number": 7.5,
    "list of strings": ["a"],
    "string": "x",
    "sentence": "x",
}
KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
ENTRY: dict[str, Any] = {"token": "token", "encodingAESKey": KEY}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("maven_channel_wecom", include_external_packages=True, cache_dir=None)


def imported(graph: grimp.ImportGraph, folder: str, *, internal: bool) -> set[str]:
    """Return what the modules of a folder import: other parts of this package if `internal`, otherwise the rest."""
    root = f"maven_channel_wecom.{folder}"
    found = {
        imported_module
        for module in graph.find_descendants(root) | {root}
        for imported_module in graph.find_modules_directly_imported_by(module)
    }
    if internal:
        return {name.split(".")[1] for name in found if name.startswith("maven_channel_wecom.")} - {folder}
    return {name for name in found if not name.startswith("maven_channel_wecom")}


def test_every_import_contract_holds() -> None:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(  # noqa: S603 - our own interpreter, our own words
        [sys.executable, "-c", command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        # Of policy, only what removes a model's reasoning, which is not remembered. The clock is that of the memory.
        (
            "host",
            {
                "clock",
                "contract",
                "fairness",
                "file_lock",
                "policy",
                "sentences",
                "settings",
                "stop_signals",
                "transport",
            },
        ),
        ("simulator", {"protocol", "errors", "slow_step", "stop_signals"}),
        ("setup", {"host", "config", "simulator"}),
        (
            "doctor",
            {
                "host",
                "slow_step",
                "config",
                "settings",
                "state",
                "egress",
                "server",
                "clock",
                "protocol",
                "errors",
                "file_lock",
                "transport",
            },
        ),
        ("playground", {"host", "simulator", "protocol", "config", "stop_signals"}),
        # It reports values. The state is imported because calls to it are timed from outside.
        ("telemetry", {"contract", "errors", "state", "policy"}),
        ("state", {"policy", "protocol", "errors", "clock", "file_lock"}),
        ("server", {"errors"}),
        ("egress", {"errors", "transport"}),
        ("transport", {"errors"}),
        ("policy", {"protocol", "contract", "errors", "sentences"}),
        ("protocol", {"errors"}),
        ("contract", set()),
        ("clock", set()),
        ("fairness", set()),
        ("file_lock", set()),
        ("settings", {"errors"}),
        ("errors", set()),
        ("sentences", set()),
    ],
)
def test_a_part_imports_only_the_parts_that_are_allowed_here(
    graph: grimp.ImportGraph, folder: str, allowed: set[str]
) -> None:
    assert imported(graph, folder, internal=True) <= allowed


def test_no_module_imports_the_plugin_module(graph: grimp.ImportGraph) -> None:
    """Only `plugin.py` builds a channel, and hosts load it by its entry point."""
    assert graph.find_modules_that_directly_import("maven_channel_wecom.plugin") == set()


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("contract", {"msgspec", "pluggy", "prometheus_client"}),
        ("protocol", {"cryptography", "filetype", "msgspec"}),
        ("policy", {"msgspec"}),
    ],
)
def test_contract_protocol_and_policy_import_few_third_party_packages(
    graph: grimp.ImportGraph, folder: str, allowed: set[str]
) -> None:
    assert imported(graph, folder, internal=False) - sys.stdlib_module_names <= allowed


def test_the_contract_imports_no_metrics_library_at_runtime() -> None:
    """A signature in the contract names prometheus_client, for type checkers only."""
    code = (
        "import sys; from maven_channel_wecom.contract import channel, hookspecs, messages; "
        "print(sorted(name for name in sys.modules if name.startswith(('prometheus', 'aiohttp', 'asyncio'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout == "[]\n"


def test_only_the_tracing_module_imports_opentelemetry_and_only_its_api(graph: grimp.ImportGraph) -> None:
    """The operator chooses the SDK."""
    modules = {name for name in graph.modules if name.startswith("opentelemetry")}
    importers = {module for name in modules for module in graph.find_modules_that_directly_import(name)}
    assert importers <= {"maven_channel_wecom.telemetry.tracing"}
    assert not any(name.startswith("opentelemetry.sdk") for name in modules)


def test_the_plugin_and_the_manifest_have_exactly_the_hooks_of_the_contract() -> None:
    implemented = sorted(name for name, value in vars(plugin).items() if hasattr(value, "maven_impl"))
    calls = MANIFEST["plugin"]["hooks"]["calls"]
    assert len(HOOKS) == 9
    assert sorted([*implemented, *calls]) == HOOKS
    assert sorted(MANIFEST["plugin"]["hooks"]["implements"]) == implemented


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_and_called_by_a_test(hook: str) -> None:
    docstring = getattr(hookspecs, hook).__doc__
    assert "Called" in docstring
    assert "Returns:" in docstring
    tests = (path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
    assert any(hook in path.read_text(encoding="utf-8") for path in tests)


def test_the_manifest_agrees_with_the_distribution() -> None:
    stated, project, installed = MANIFEST["plugin"], PROJECT["project"], metadata("maven-channel-wecom")
    assert stated["name"] == project["name"] == installed["Name"]
    assert stated["version"] == project["version"] == installed["Version"]
    assert stated["description"] == project["description"] == installed["Summary"]
    assert stated["requires_python"] == project["requires-python"] == installed["Requires-Python"]
    assert stated["license"] == project["license"]


def test_the_version_is_the_same_in_code_distribution_and_manifest() -> None:
    assert maven_channel_wecom.__version__ == version("maven-channel-wecom") == MANIFEST["plugin"]["version"]


def test_the_entry_point_in_the_manifest_is_installed_and_loads_the_plugin() -> None:
    stated = MANIFEST["plugin"]
    (found,) = entry_points(group=stated["entry_point_group"], name=stated["entry_point"])
    assert stated["entry_point_group"] == hookspecs.PROJECT_NAME
    assert found.value == stated["entry"]
    assert found.load() is plugin
    assert stated["contract_version"] == hookspecs.CONTRACT_VERSION


def test_the_manifest_states_the_capabilities_of_the_channel() -> None:
    assert MANIFEST["plugin"]["capabilities"] == {
        name: getattr(CAPABILITIES, name) for name in CAPABILITIES.__struct_fields__
    }


@pytest.mark.parametrize("entry", MANIFEST["config"], ids=[entry["key"] for entry in MANIFEST["config"]])
def test_a_key_has_the_type_and_default_that_the_manifest_states(entry: dict[str, Any]) -> None:
    """Setting a key to its default changes nothing, and a value of another type is a problem that names the key."""
    key, type_ = entry["key"], entry["type"]
    if entry.get("required"):
        without = {name: value for name, value in ENTRY.items() if name != key}
        assert [
            problem for problem in config.problems("wecom", without) if f"channels.wecom.{key} is required" in problem
        ]
        assert "default" not in entry
    elif not entry.get("deprecated"):
        assert config.read_config("wecom", ENTRY | {key: entry["default"]}) == config.read_config("wecom", ENTRY)
    from_environment = config.problems("wecom", ENTRY | {key: {"env": "NO_SUCH_VARIABLE_4711"}})
    assert any("environment variable NO_SUCH_VARIABLE_4711" in problem for problem in from_environment) == (
        type_ == "secret"
    )
    (problem,) = config.problems("wecom", ENTRY | {key: object()})
    assert problem.startswith(f"channels.wecom.{key} must be ")
    # These keys accept only some values of their type.
    if type_ != "secret" and key not in {"path", "state", "overflow", "language", "progress", "mediaLimitBytes"}:
        assert config.problems("wecom", ENTRY | {key: EXAMPLES[type_]}) == []


def test_the_defaults_of_keys_that_only_the_host_reads_are_right() -> None:
    """An entry without `enabled` and `type` is enabled and belongs to this channel."""
    stated = {entry["key"]: entry.get("default") for entry in MANIFEST["config"]}
    assert stated["enabled"] is True
    assert list(interpret({"channels": {"wecom": {}}})[0].channels) == ["wecom"]
    assert stated["type"] == config.TYPE
    assert plugin.maven_channel_problems("wecom", ENTRY) == []


def exposed() -> Iterator[Metric]:
    """Yield the metric families of a new channel."""
    registry = CollectorRegistry()
    Telemetry(registry, "wecom", now=time.time, version=maven_channel_wecom.__version__)
    yield from registry.collect()


def test_the_manifest_lists_every_metric_as_it_is_exposed() -> None:
    """The order is that of the code; names, types, labels and help texts must be equal."""
    found = []
    for family in exposed():
        labels = {label for sample in family.samples for label in sample.labels} - {"channel", "le"}
        found.append(
            {
                "name": f"{family.name}_total" if family.type == "counter" else family.name,
                "type": family.type,
                "labels": {"channel", *labels},
                "help": family.documentation,
            }
        )
    listed = [metric | {"labels": set(metric["labels"])} for metric in MANIFEST["metric"]]
    differing = sorted({metric["name"] for metric in found + listed if metric not in found or metric not in listed})
    assert not differing, f"the code and plugin.toml differ: {', '.join(differing)}"
    assert found == listed, "the metrics in plugin.toml have another order than in telemetry/metrics.py"


def test_metric_names_are_unique_and_prefixed_and_the_first_label_is_the_channel() -> None:
    assert all(metric["labels"][0] == "channel" for metric in MANIFEST["metric"])
    assert all(metric["name"].startswith("maven_wecom_") for metric in MANIFEST["metric"])
    assert len({metric["name"] for metric in MANIFEST["metric"]}) == len(MANIFEST["metric"])


def test_the_wheel_contains_the_manifest_the_dashboards_and_the_rules() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["maven_channel_wecom"]
    files = {f"dashboards/{name}": f"maven_channel_wecom/dashboards/{name}" for name in monitoring.FILES}
    assert wheel["force-include"] == {"plugin.toml": "maven_channel_wecom/plugin.toml"} | files


def test_no_module_has_a_catch_all_name() -> None:
    """Modules with such names collect unrelated code."""
    named = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.stem in FORBIDDEN_NAMES}
    assert named == set()


def test_every_module_begins_with_a_docstring() -> None:
    docless = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if not path.read_text(encoding="utf-8").startswith('"""')
    }
    assert docless == set()
