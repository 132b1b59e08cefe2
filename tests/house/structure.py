"""Measures the structure of the package's modules from their syntax trees.

python -m tests.house.structure

Prints small modules with a single importer as hints for a reviewer. They fail nothing.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import grimp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "maven_channel_wecom"

SMALL_MODULE_LINES = 60

_INSIGNIFICANT = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}
# Two functions that both log are not related because of it.
_SHARED_BY_ALL = {"logger"}
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Part(NamedTuple):
    """A group of definitions in one module that refer to each other, directly or indirectly."""

    names: tuple[str, ...]
    lines: int


def sources() -> dict[str, str]:
    """Return the source of every module, keyed by its path in the package."""
    return {
        path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))
    }


def parts(source: str) -> list[Part]:
    """Return the parts of a module that never refer to each other, longest first.

    A definition is a function, a class or an assigned name at the top level of the module. The docstring below a
    constant belongs to the constant.
    """
    mentions: dict[str, set[str]] = defaultdict(set)
    lines: dict[str, int] = defaultdict(int)
    for name, statement in _definitions(ast.parse(source)):
        if name in _SHARED_BY_ALL:
            continue
        mentions[name] |= _mentioned(statement)
        lines[name] += _length(statement)
    group = {name: name for name in mentions}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for name, mentioned in mentions.items():
        for other in mentioned & mentions.keys():
            group[root(other)] = root(name)
    found: dict[str, list[str]] = defaultdict(list)
    for name in mentions:
        found[root(name)].append(name)
    whole = [Part(tuple(names), sum(lines[name] for name in names)) for names in found.values()]
    return sorted(whole, key=lambda part: part.lines, reverse=True)


def _definitions(module: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    last = ""
    for statement in module.body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                last = statement.name
            case ast.Assign(targets=[ast.Name(name), *_]) | ast.AnnAssign(target=ast.Name(name)):
                last = name
            case ast.Expr(value=ast.Constant(str())) if last:
                pass
            case _:
                continue
        yield last, statement


def _mentioned(statement: ast.stmt) -> set[str]:
    """Return every name in a statement, including names in quoted annotations."""
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    texts = (node.value for node in ast.walk(statement) if isinstance(node, ast.Constant))
    return names | {text.split("[")[0] for text in texts if isinstance(text, str)}


def _length(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(each.lineno for each in decorators)])
    last = statement.end_lineno or statement.lineno
    return last - first + 1


def code_lines(source: str) -> int:
    """Return the number of lines that hold code, without blank lines, comments and docstrings."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    held = {
        line for token in tokens if token.type not in _INSIGNIFICANT for line in range(token.start[0], token.end[0] + 1)
    }
    return len(held - docstrings)


def classes(source: str) -> list[str]:
    """Return the names of the top-level classes of a module."""
    return [statement.name for statement in ast.parse(source).body if isinstance(statement, ast.ClassDef)]


def public_constants(source: str) -> list[str]:
    """Return the names of the public constants of a module, sorted."""
    names = {name for name, _ in _definitions(ast.parse(source))}
    return sorted(name for name in names if name.isupper() and not name.startswith("_"))


def public_types(source: str) -> list[str]:
    """Return the names of the public type aliases of a module: assigned names in the style of a class."""
    names = {name for name, statement in _definitions(ast.parse(source)) if isinstance(statement, ast.Assign)}
    return sorted(name for name in names if name[0].isupper() and not name.isupper())


def behaves(source: str) -> bool:
    """Return whether a module has behavior of its own: any function or method with a body that does something."""
    functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, _Function))
    return any(not _is_declaration(function) for function in functions)


def _is_declaration(function: _Function) -> bool:
    """Return whether a function has no behavior to test: a protocol's method, a hook specification, a `__repr__`."""
    if function.name == "__repr__":
        return True
    return all(
        isinstance(statement, ast.Pass)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in function.body
    )


def importers() -> Mapping[str, set[str]]:
    """Return the modules that import each module; both are paths in the package."""
    graph = grimp.build_graph("maven_channel_wecom", cache_dir=None)
    paths = {_module(path): path for path in sources()}
    return {
        path: {paths[importer] for importer in graph.find_modules_that_directly_import(module) if importer in paths}
        for module, path in paths.items()
        if module in graph.modules
    }


def _module(path: str) -> str:
    dotted = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return "maven_channel_wecom" if dotted == "__init__" else f"maven_channel_wecom.{dotted}"


def small_modules_with_one_importer() -> Iterator[str]:
    """Yield a sentence about each small module with one importer, as it may belong in its importer."""
    texts = sources()
    for path, by in importers().items():
        length = len(texts[path].splitlines())
        if length < SMALL_MODULE_LINES and len(by) == 1 and not path.endswith("__init__.py"):
            yield f"{path} ({length} lines) is imported by {next(iter(by))} only"


def main() -> int:
    """Print the hints."""
    hints = "".join(f"hint: {hint}\n" for hint in small_modules_with_one_importer())
    sys.stdout.write(hints)
    return 0


if __name__ == "__main__":
    sys.exit(main())
