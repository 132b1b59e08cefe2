"""Tests that every public method of the package is documented."""

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

MODULES = [
    module.name
    for module in pkgutil.walk_packages(maven_channel_wecom.__path__, "maven_channel_wecom.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_method_has_a_docstring_or_inherits_one(name: str) -> None:
    """Ruff's D102 cannot check this: it does not see docstrings inherited from a protocol or a base class."""
    assert [method for method, function in public_methods(name) if not inspect.getdoc(function)] == []


def public_methods(module_name: str) -> Iterator[tuple[str, object]]:
    module = importlib.import_module(module_name)
    for class_name, cls in inspect.getmembers(module, inspect.isclass):
        if cls.__module__ != module_name or class_name.startswith("_"):
            continue
        for name, value in vars(cls).items():
            if not name.startswith("_") and isinstance(value, FunctionType | property | classmethod | staticmethod):
                yield f"{class_name}.{name}", getattr(cls, name)
