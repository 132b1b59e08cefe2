"""Finds channel plugins by entry point and has them check their configuration. Starts nothing."""

from __future__ import annotations

import logging
import os
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pluggy

from maven_channel_wecom.contract import hookspecs
from maven_channel_wecom.host.memory_store import IN_FILE
from maven_channel_wecom.settings import read_secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maven_channel_wecom.host.configuration import Configuration

logger = logging.getLogger(__name__)


class PluginProblems(Exception):
    """Installed plugins do not load or do not fit this host. `problems` holds one sentence per plugin."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def plugin_manager() -> pluggy.PluginManager:
    """Return a plugin manager with the hook specifications and no plugin."""
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    return manager


def load_plugins(group: str = hookspecs.PROJECT_NAME) -> pluggy.PluginManager:
    """Return a plugin manager with every installed plugin of an entry-point group.

    Raises:
        PluginProblems: A plugin cannot be imported, or implements a hook that this host does not have.
    """
    manager = plugin_manager()
    problems = []
    for name in sorted(entry_points(group=group).names):
        try:
            manager.load_setuptools_entrypoints(group, name)
        except Exception as error:  # noqa: BLE001 -- importing a plugin runs code that may raise anything
            problems.append(f"plugin {name} cannot be loaded: {_first_line(error)}; repair or uninstall it")
    problems += unknown_hooks(manager)
    if problems:
        raise PluginProblems(problems)
    return manager


def unknown_hooks(manager: pluggy.PluginManager) -> list[str]:
    """Return one sentence for each plugin that implements hooks without a specification."""
    try:
        manager.check_pending()
    except pluggy.PluginValidationError:
        return [
            f"plugin {name} implements {', '.join(unknown)}, which this host does not call "
            f"(contract version {hookspecs.CONTRACT_VERSION}); install compatible versions"
            for name, plugin in manager.list_name_plugin()
            if (unknown := _unknown_hooks_of(manager, plugin))
        ]
    return []


def channel_problems(manager: pluggy.PluginManager, channels: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the problems that plugins find in entries of `channels`, and one for each entry without a plugin."""
    problems: list[str] = []
    for name, config in channels.items():
        try:
            results = manager.hook.maven_channel_problems(name=name, config=config)
        except Exception as error:
            logger.exception("channel check failed", extra={"fields": {"channel": name}})
            problems.append(f"channels.{name} could not be checked: a plugin failed with {type(error).__name__}")
            continue
        # pluggy omits None, the result of plugins that do not handle this entry.
        for found in results:
            problems += found
        if not results:
            problems.append(_no_plugin_problem(manager, name, config))
    return problems


def conflict_problems(manager: pluggy.PluginManager, configuration: Configuration) -> list[str]:
    """Return the problems of entries of `channels` that exclude each other, the status server or the memory."""
    gateway = configuration.gateway
    try:
        results = hookspecs.call_optional(
            manager.hook,
            "maven_channels_problems",
            channels=configuration.channels,
            taken=[(gateway.host, gateway.port, "gateway.port")],
        )
    except Exception as error:
        logger.exception("channel check failed")
        return [f"channels could not be checked together: a plugin failed with {type(error).__name__}"]
    return [problem for found in results or () for problem in found] + _shared_file_problems(configuration)


def _shared_file_problems(configuration: Configuration) -> list[str]:
    """Return the problem of a memory in a file that a channel uses too.

    The host does not know which key names the file, nor whether its value is the address or a reference to it.
    """
    path = _file_path(configuration.sessions.memory_state)
    return [
        f"agent.memoryState is the same file as channels.{name}.{key}: give each a file of its own"
        for name, entry in configuration.channels.items()
        for key, value in entry.items()
        if path and isinstance(value, str | dict) and _file_path(read_secret(value)[0]) == path
    ]


def _file_path(address: str) -> str:
    try:
        return os.path.realpath(address.removeprefix(IN_FILE)) if address.startswith(IN_FILE) else ""
    except ValueError:  # a character that no path may have
        return ""


def _no_plugin_problem(manager: pluggy.PluginManager, name: str, config: Mapping[str, Any]) -> str:
    """Return the problem of an entry that no plugin handles."""
    # A `type` from the file is not repeated: it may be a secret in the wrong place.
    kind = "has a type that" if "type" in config else f"is of type {name}, which"
    installed = ", ".join(sorted(each for each, _ in manager.list_name_plugin())) or "none"
    return (
        f"channels.{name} {kind} no installed plugin handles (installed plugins: {installed}); "
        f"install its plugin, or correct channels.{name}.type"
    )


def _unknown_hooks_of(manager: pluggy.PluginManager, plugin: object) -> list[str]:
    callers = manager.get_hookcallers(plugin) or []
    return sorted(
        caller.name
        for caller in callers
        if not caller.has_spec()
        and any(each.plugin is plugin and not each.optionalhook for each in caller.get_hookimpls())
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
