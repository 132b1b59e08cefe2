"""Calling hooks that the other side may not know."""

from __future__ import annotations

import pluggy

from maven_channel_wecom.contract import hookspecs
from maven_channel_wecom.contract.hookspecs import call_optional, hookimpl


class Answers:
    @hookimpl
    def maven_channels_problems(self, channels: object) -> object:
        return channels


def test_an_optional_hook_is_called_if_the_host_knows_it() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.register(Answers())
    assert call_optional(manager.hook, "maven_channels_problems", channels={}, taken=[]) == [{}]


def test_an_optional_hook_that_the_host_does_not_know_returns_none() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    assert call_optional(manager.hook, "maven_channels_problems", channels={}, taken=[]) is None
