"""Calling hooks that the other side may not know."""

from __future__ import annotations

import pluggy

from maven_channel_wecom.contract import hookspecs
from maven_channel_wecom.contract.hookspecs import call_optional, hookimpl


class Answers:
    @hookimpl
    def maven_channels_problems(self, channels: object) -> object:
        return channels


class Shows:
    def __init__(self, result: object) -> None:
        self._result = result

    @hookimpl
    def maven_outbound_progress(self, channel: object, message: object) -> object:
        return self._result


def test_an_optional_hook_is_called_if_the_host_knows_it() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.register(Answers())
    assert call_optional(manager.hook, "maven_channels_problems", channels={}, taken=[]) == [{}]


def test_an_optional_hook_that_the_host_does_not_know_returns_none() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    assert call_optional(manager.hook, "maven_channels_problems", channels={}, taken=[]) is None


def test_the_first_plugin_whose_channel_it_is_takes_the_progress() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    manager.register(Shows("not reached"))
    manager.register(Shows(None))
    manager.register(Shows("shown"))
    # pluggy calls the last registered plugin first.
    manager.register(Shows(None))
    assert call_optional(manager.hook, "maven_outbound_progress", channel=None, message=None) == "shown"
