"""Collects everything that a host shows while a test runs, and finds secrets and private text in it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from maven_channel_wecom.host.logs import JsonLines, TextLines
from tests.log_events import difference, documented

if TYPE_CHECKING:
    from collections.abc import Mapping

# Parts of WeCom's URLs, which no log may contain.
_URL_PARTS = ("response_code", "/cgi-bin/aibot", "aibot-img", "q-sign", "q-ak=")
_BEGINNING_CHARACTERS = 40

_DOCUMENTED = documented()
_HOST_LOGGER = "maven_channel_wecom.host"


class Watch(logging.Handler):
    """Log handler that renders every record in both formats of the host, and finds canaries in everything shown."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.tracebacks: list[str] = []
        self.undocumented: set[str] = set()
        self._logged: list[tuple[str, Mapping[str, object]]] = []
        self.canaries: dict[str, str] = dict.fromkeys(_URL_PARTS, "a URL of WeCom")
        self._output: list[tuple[str, str]] = []
        self._waiting: list[tuple[str, asyncio.Event]] = []
        self._json = JsonLines()
        self._plain = logging.Formatter()
        self.setFormatter(TextLines())

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self.lines.append(line)
        if record.exc_info:
            self.tracebacks.append(line)
        self.record_output("a log line", line)
        self.record_output("a log line", self._json.format(record))
        if (record.name or "").startswith("maven_channel_wecom.") and (found := difference(record, _DOCUMENTED)):
            self.undocumented.add(found)
        # Another host may use Python's own formatter, which prints the text of a logged exception.
        if not record.name.startswith(_HOST_LOGGER):
            self.record_output("a log line of another host", self._plain.format(record))
        event = record.getMessage()
        self._logged.append((event, getattr(record, "fields", {})))
        for awaited, logged in self._waiting:
            if awaited == event:
                logged.set()

    def register(self, kind: str, *canaries: str) -> None:
        """Register texts that must not be shown anywhere; the first 40 characters of a long one count as well."""
        for canary in filter(None, map(str.strip, canaries)):
            self.canaries[canary] = kind
            self.canaries[canary[:_BEGINNING_CHARACTERS]] = kind

    def record_output(self, where: str, text: str) -> None:
        """Record a text that was shown, and where."""
        self._output.append((where, text))

    @property
    def recorded_output(self) -> list[tuple[str, str]]:
        """Each place with the text that was shown there, in order."""
        return self._output

    def leaks(self) -> list[str]:
        """Return the kind and place of every canary that was shown, without the canary itself."""
        everything = "\n".join(text for _, text in self._output)
        found = {canary: kind for canary, kind in self.canaries.items() if canary in everything}
        return sorted(
            {f"{kind} in {where}" for canary, kind in found.items() for where, text in self._output if canary in text}
        )

    def logged(self, event: str) -> list[Mapping[str, object]]:
        """Return the fields of every record of this event so far."""
        return [fields for logged, fields in self._logged if logged == event]

    def events(self) -> list[tuple[str, Mapping[str, object]]]:
        """Return every event logged so far with its fields, in order."""
        return list(self._logged)

    async def until(self, event: str, count: int = 1) -> Mapping[str, object]:
        """Wait until this event was logged `count` times, and return the fields of the last of them."""
        logged = asyncio.Event()
        self._waiting.append((event, logged))
        async with asyncio.timeout(10):
            while len(self.logged(event)) < count:
                logged.clear()
                await logged.wait()
        return self.logged(event)[count - 1]
