"""Finding plugins by entry point, and having them check a configuration."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.host.configuration import Configuration, Gateway, Sessions
from maven_channel_wecom.host.plugins import (
    PluginProblems,
    channel_problems,
    conflict_problems,
    load_plugins,
    plugin_manager,
    unknown_hooks,
)
from tests.host.fake_channel import FakePlugin, manager_with

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

GROUP = "maven-of-these-tests"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    """Install a distribution with one plugin for each module."""
    info = folder / "sample-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sample\nVersion: 1.0\n", encoding="utf-8")
    entries = "".join(f"{name} = sample_{name}\n" for name in modules)
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}", encoding="utf-8")
    for name, source in modules.items():
        (folder / f"sample_{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.delitem(sys.modules, f"sample_{name}", raising=False)
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()


GOOD = """
from maven_channel_wecom.contract.hookspecs import hookimpl

@hookimpl
def maven_channel_problems(name, config):
    return [f"channels.{name} is seen"]
"""


def test_a_plugin_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, good=GOOD)
    manager = load_plugins(GROUP)
    assert manager.has_plugin("good")
    assert channel_problems(manager, {"any": {}}) == ["channels.any is seen"]


def test_every_plugin_that_does_not_load_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, good=GOOD, gone="import not_there", odd="raise ValueError('x\\ny')", bad="1 +")
    with pytest.raises(PluginProblems) as caught:
        load_plugins(GROUP)
    bad, gone, odd = caught.value.problems
    assert bad.startswith("plugin bad cannot be loaded: SyntaxError: ")
    assert gone == (
        "plugin gone cannot be loaded: ModuleNotFoundError: No module named 'not_there'; repair or uninstall it"
    )
    assert odd == "plugin odd cannot be loaded: ValueError: x; repair or uninstall it"


def test_a_plugin_with_an_unknown_hook_is_named_with_the_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, typo=GOOD.replace("problems", "promblems"))
    with pytest.raises(PluginProblems, match=r"^plugin typo implements maven_channel_promblems, which this host"):
        load_plugins(GROUP)


def test_an_optional_hook_may_be_unknown() -> None:
    """A plugin may implement hooks of later hosts."""

    class Newer:
        @hookimpl(optionalhook=True)
        def maven_later_hook(self) -> None: ...

    manager = plugin_manager()
    manager.register(Newer(), name="newer")
    assert unknown_hooks(manager) == []


def test_no_installed_plugins_is_not_an_error() -> None:
    assert load_plugins("a-group-nobody-uses").list_name_plugin() == []


@pytest.mark.parametrize(
    ("channels", "problems"),
    [
        ({"fake": {"token": "t"}}, []),
        ({"fake": {}, "b": {"type": "fake"}}, ["channels.fake.token is required", "channels.b.token is required"]),
        (
            {"telegram": {}},
            [
                (
                    "channels.telegram is of type telegram, which no installed plugin handles "
                    "(installed plugins: fake); install its plugin, or correct channels.telegram.type"
                ),
            ],
        ),
    ],
    ids=["good", "two wrong", "no plugin"],
)
async def test_every_channel_is_checked_and_needs_a_plugin(
    channels: dict[str, dict[str, Any]], problems: list[str]
) -> None:
    assert channel_problems(manager_with(FakePlugin()), channels) == problems


def test_a_plugin_that_raises_in_its_check_is_a_problem(caplog: pytest.LogCaptureFixture) -> None:
    class RaisesForA:
        @hookimpl
        def maven_channel_problems(self, name: str) -> list[str]:
            if name == "a":
                raise TypeError
            return []

    problems = channel_problems(manager_with(RaisesForA()), {"a": {}, "b": {}})
    assert problems == ["channels.a could not be checked: a plugin failed with TypeError"]
    assert "channel check failed" in caplog.messages


def test_entries_that_exclude_each_other_are_a_problem_of_the_configuration() -> None:
    class ExcludesAll:
        @hookimpl(optionalhook=True)
        def maven_channels_problems(
            self, channels: Mapping[str, Any], taken: Sequence[tuple[str, int, str]]
        ) -> list[str] | None:
            return [f"{' '.join(channels)} {taken}"]

    configuration = Configuration(gateway=Gateway(port=1), channels={"a": {}, "b": {}})
    assert conflict_problems(manager_with(ExcludesAll()), configuration) == ["a b [('127.0.0.1', 1, 'gateway.port')]"]
    assert conflict_problems(manager_with(FakePlugin()), configuration) == []


def test_a_plugin_that_fails_to_compare_entries_is_a_problem(caplog: pytest.LogCaptureFixture) -> None:
    class Fails:
        @hookimpl
        def maven_channels_problems(self) -> list[str]:
            raise ValueError

    (problem,) = conflict_problems(manager_with(Fails()), Configuration())
    assert problem == "channels could not be checked together: a plugin failed with ValueError"
    assert "channel check failed" in caplog.messages


def test_a_memory_in_the_file_of_a_channel_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "one.db")
    channels: dict[str, dict[str, Any]] = {
        "a": {"state": f"sqlite:{tmp_path}/link.db", "other": "sqlite:\0", "more": ["sqlite:"]},
        "b": {"state": f"sqlite:{tmp_path}/two.db"},
    }
    shared = Configuration(channels=channels, sessions=Sessions(memory_state=f"sqlite:{tmp_path}/one.db"))
    problem = "agent.memoryState is the same file as channels.a.state: give each a file of its own"
    assert conflict_problems(manager_with(FakePlugin()), shared) == [problem]
    (tmp_path / "address").write_text(f"sqlite:{tmp_path}/one.db\n", encoding="utf-8")
    referenced = {"a": {"state": {"file": str(tmp_path / "address")}, "other": {"file": "/none/such"}}}
    assert conflict_problems(manager_with(FakePlugin()), msgspec.structs.replace(shared, channels=referenced)) == [
        problem
    ]
    in_process = Configuration(channels={"a": {"state": "memory:"}})
    assert conflict_problems(manager_with(FakePlugin()), in_process) == []
