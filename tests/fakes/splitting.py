"""Splitting of a text into a limited number of messages, as Outbound does with the windows it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maven_channel_wecom.policy.rendering import Splitter
from maven_channel_wecom.protocol.limits import MARKDOWN_BYTES

if TYPE_CHECKING:
    from maven_channel_wecom.policy.rendering import Rendered


def split(text: str, parts: int, limit_bytes: int = MARKDOWN_BYTES) -> list[Rendered]:
    """Split a text into at most `parts` messages; only the last may be truncated."""
    splitter = Splitter(text, limit_bytes)
    rendered: list[Rendered] = []
    while len(rendered) < parts - 1 and not splitter.fits:
        rendered.append(splitter.cut())
    return [*rendered, splitter.rest()]
