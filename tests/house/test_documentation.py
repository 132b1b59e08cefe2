"""Whatever others may call says what it does, itself or where it is declared."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import FunctionType
from typing import TYPE_CHECKING

import pytest

import maven_channel_wecom

if TYPE_CHECKING:
    from collections.abc import Iterator

# Modules that are being replaced. Empty when the last of them is gone.
MODULES = [
    module.name
    for module in pkgutil.walk_packages(maven_channel_wecom.__path__, "maven_channel_wecom.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_a_public_method_says_what_it_does_or_fulfils_what_a_base_class_says(name: str) -> None:
    """Ruff's D102 cannot know the second: a method without a docstring inherits that of the protocol or base class."""
    assert [method for method, function in public_methods(name) if not inspect.getdoc(function)] == []


def public_methods(module_name: str) -> Iterator[tuple[str, object]]:
    module = importlib.import_module(module_name)
    for class_name, cls in inspect.getmembers(module, inspect.isclass):
        if cls.__module__ != module_name or class_name.startswith("_"):
            continue
        for name, value in vars(cls).items():
            if not name.startswith("_") and isinstance(value, FunctionType | property | classmethod | staticmethod):
                yield f"{class_name}.{name}", getattr(cls, name)
