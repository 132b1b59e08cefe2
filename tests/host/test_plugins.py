"""Finding plugins by entry point, and asking them about a configuration."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.host.plugins import (
    PluginProblems,
    channel_problems,
    load_plugins,
    plugin_manager,
    unknown_hooks,
)
from tests.host.fake_channel import FakePlugin, manager_with

if TYPE_CHECKING:
    from pathlib import Path

GROUP = "maven-of-these-tests"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    """Install a distribution with one plugin for each module."""
    info = folder / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n", encoding="utf-8")
    entries = "".join(f"{name} = stranger_{name}\n" for name in modules)
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}", encoding="utf-8")
    for name, source in modules.items():
        (folder / f"stranger_{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.delitem(sys.modules, f"stranger_{name}", raising=False)
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()


GOOD = """
from maven_channel_wecom.contract.hookspecs import hookimpl

@hookimpl
def maven_channel_problems(name, config):
    return [f"channels.{name} is seen"]
"""


def test_a_plugin_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a stranger would be: the host knows nothing but the group."""
    install(tmp_path, monkeypatch, good=GOOD)
    manager = load_plugins(GROUP)
    assert manager.has_plugin("good")
    assert channel_problems(manager, {"any": {}}) == ["channels.any is seen"]


def test_every_plugin_that_does_not_load_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence each, whatever its import raises."""
    install(tmp_path, monkeypatch, good=GOOD, gone="import not_there", odd="raise ValueError('x\\ny')", bad="1 +")
    with pytest.raises(PluginProblems) as caught:
        load_plugins(GROUP)
    bad, gone, odd = caught.value.problems
    assert bad.startswith("plugin bad cannot be loaded: SyntaxError: ")
    assert gone == (
        "plugin gone cannot be loaded: ModuleNotFoundError: No module named 'not_there'; repair or uninstall it"
    )
    assert odd == "plugin odd cannot be loaded: ValueError: x; repair or uninstall it"


def test_an_unknown_hook_names_plugin_and_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo in a plugin is an error at load, not silence."""
    install(tmp_path, monkeypatch, typo=GOOD.replace("problems", "promblems"))
    with pytest.raises(PluginProblems, match=r"^plugin typo implements maven_channel_promblems, which this host"):
        load_plugins(GROUP)


def test_an_optional_hook_may_be_unknown() -> None:
    """A plugin can be ready for a later host."""

    class Ahead:
        @hookimpl(optionalhook=True)
        def maven_of_tomorrow(self) -> None: ...

    manager = plugin_manager()
    manager.register(Ahead(), name="ahead")
    assert unknown_hooks(manager) == []


def test_no_plugins_is_no_error() -> None:
    """What is missing shows when a channel needs it."""
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
    ids=["good", "two wrong", "nobody"],
)
async def test_every_channel_is_checked(channels: dict[str, dict[str, Any]], problems: list[str]) -> None:
    """The problems of all entries come at once, and an entry that nobody answers for is one."""
    assert channel_problems(manager_with(FakePlugin()), channels) == problems


def test_a_plugin_that_fails_to_check_is_a_problem(caplog: pytest.LogCaptureFixture) -> None:
    """The others are checked all the same, and the log shows where it failed."""

    class Broken:
        @hookimpl
        def maven_channel_problems(self, name: str) -> list[str]:
            if name == "a":
                raise TypeError
            return []

    problems = channel_problems(manager_with(Broken()), {"a": {}, "b": {}})
    assert problems == ["channels.a could not be checked: a plugin failed with TypeError"]
    assert "channel check failed" in caplog.messages
