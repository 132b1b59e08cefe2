"""Builds HTML in which every text is escaped unless it is `Markup` already."""

from __future__ import annotations

import html
from typing import Final

_VOID: Final = frozenset({"img", "input", "meta"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | None
"""A piece of content: text, which is escaped, `Markup`, which is not, or None for nothing."""


def element(tag: str, *children: Child, **attributes: str | bool | None) -> Markup:
    """Return an element.

    Args:
        tag: its name.
        children: its content.
        attributes: written without a trailing underscore and with `-` for `_`. True is an attribute without a value,
            and one that is None or False is left out.
    """
    written = "".join(
        _attribute(name, value) for name, value in attributes.items() if value is not None and value is not False
    )
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{join(*children)}</{tag}>")


def join(*children: Child) -> Markup:
    """Return pieces of content one after the other."""
    return Markup("".join(child if isinstance(child, Markup) else _escape(child) for child in children if child))


def icon(name: str) -> Markup:
    """Return a picture that the page defines, which screen readers skip."""
    return Markup(f'<svg class="icon" aria-hidden="true"><use href="#icon-{html.escape(name)}"></use></svg>')


def well_formed(text: str) -> str:
    r"""Return a text with `\ud800` in place of half a character, which JSON can contain and UTF-8 cannot."""
    return text.encode(errors="backslashreplace").decode()


def _escape(text: str) -> str:
    return html.escape(well_formed(text))


def _attribute(name: str, value: str | bool | None) -> str:  # noqa: FBT001 - an attribute may be a flag
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{_escape(str(value))}"'
