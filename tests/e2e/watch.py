"""Sees everything a host shows while it runs, and knows what must not be among it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from maven_channel_wecom.host.logs import JsonLines, TextLines
from tests.log_events import difference, documented

if TYPE_CHECKING:
    from collections.abc import Mapping

# Parts of the URLs WeCom gives out; no log has a reason to hold one.
_URL_PARTS = ("response_code", "/cgi-bin/aibot", "aibot-img", "q-sign", "q-ak=")
_BEGINNING_CHARACTERS = 40

_DOCUMENTED = documented()
_OF_THE_HOST = "maven_channel_wecom.host"


class Watch(logging.Handler):
    """Renders every log record as the host would, in both forms, and finds the canaries in what was shown."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.tracebacks: list[str] = []
        self.undocumented: set[str] = set()
        self._logged: list[tuple[str, Mapping[str, object]]] = []
        self.canaries: dict[str, str] = dict.fromkeys(_URL_PARTS, "a URL of WeCom")
        self._shown: list[tuple[str, str]] = []
        self._waiting: list[tuple[str, asyncio.Event]] = []
        self._json = JsonLines()
        self._plain = logging.Formatter()
        self.setFormatter(TextLines())

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self.lines.append(line)
        if record.exc_info:
            self.tracebacks.append(line)
        self.shown("a log line", line)
        self.shown("a log line", self._json.format(record))
        if (record.name or "").startswith("maven_channel_wecom.") and (found := difference(record, _DOCUMENTED)):
            self.undocumented.add(found)
        # Another host prints records as Python does: with the text of an exception, if a channel logs one.
        if not record.name.startswith(_OF_THE_HOST):
            self.shown("a log line of another host", self._plain.format(record))
        event = record.getMessage()
        self._logged.append((event, getattr(record, "fields", {})))
        for awaited, arrived in self._waiting:
            if awaited == event:
                arrived.set()

    def keep(self, kind: str, *canaries: str) -> None:
        """Let these show nowhere; of a long one its beginning counts too."""
        for canary in filter(None, map(str.strip, canaries)):
            self.canaries[canary] = kind
            self.canaries[canary[:_BEGINNING_CHARACTERS]] = kind

    def shown(self, where: str, text: str) -> None:
        """Note what was shown to somebody."""
        self._shown.append((where, text))

    @property
    def shown_so_far(self) -> list[tuple[str, str]]:
        """Return what was shown, and where."""
        return self._shown

    def leaks(self) -> list[str]:
        """Return what showed where, without showing it again."""
        everything = "\n".join(text for _, text in self._shown)
        found = {canary: kind for canary, kind in self.canaries.items() if canary in everything}
        return sorted(
            {f"{kind} in {where}" for canary, kind in found.items() for where, text in self._shown if canary in text}
        )

    def logged(self, event: str) -> list[Mapping[str, object]]:
        """Return the fields of every record of an event so far."""
        return [fields for logged, fields in self._logged if logged == event]

    def steps(self) -> list[tuple[str, Mapping[str, object]]]:
        """Return every event so far with its fields, in order."""
        return list(self._logged)

    async def until(self, event: str, count: int = 1) -> Mapping[str, object]:
        """Wait until an event was logged that often, and return the fields of the last one."""
        arrived = asyncio.Event()
        self._waiting.append((event, arrived))
        async with asyncio.timeout(10):
            while len(self.logged(event)) < count:
                arrived.clear()
                await arrived.wait()
        return self.logged(event)[count - 1]
