"""Tests that public methods are documented, and that docstrings can be read without their neighbors."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, NamedTuple

import pytest

import maven_channel_wecom

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

CONTINUATIONS = {"And", "But", "So", "Nor", "Or", "Which", "Than", "See"}
"""First words of a docstring that continues a sentence above it, or only refers to another place."""

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


def test_no_docstring_continues_a_sentence_above_it() -> None:
    assert [
        f"{path.relative_to(ROOT)}:{docstring.lineno}"
        for folder in ("maven_channel_wecom", "tests", "dashboards")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for docstring in docstrings(path.read_text(encoding="utf-8"))
        if docstring.value.split(maxsplit=1)[0] in CONTINUATIONS
    ] == []


def test_docstrings_of_constants_are_found_too() -> None:
    source = '"""Module."""\nLIMIT = 1\n"""Or more."""\nclass A:\n    def f(self):\n        """And so on."""\nx = "So"'
    assert [docstring.value for docstring in docstrings(source)] == ["Module.", "Or more.", "And so on."]


class Docstring(NamedTuple):
    lineno: int
    value: str


def docstrings(source: str) -> Iterator[Docstring]:
    """Yield every string that is a statement and not empty, which includes those below constants."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            value = node.value.value
            if isinstance(value, str) and value.strip():
                yield Docstring(node.lineno, value)
