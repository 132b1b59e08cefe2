"""Formats log records of the host: one line each, with a fixed event and its fields, as text or JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TextIO

from maven_channel_wecom.contract.pseudonym import Pseudonym
from maven_channel_wecom.host import systemd
from maven_channel_wecom.host.log_stream import LogStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
"""The values of `logging.level`."""

# A value that contains one of these is quoted, or it could be read as two fields.
_QUOTED = frozenset(' "=')

_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode

LogFormat = Literal["text", "json"]


def configure(level: str, style: LogFormat, stream: TextIO | None = None, *, user_ids: bool = False) -> logging.Handler:
    """Make the root logger print to `stream` (default: stderr) and return its handler."""
    # No line shows the source file, thread or process, and collecting each costs as much as formatting the fields. The
    # settings are process-wide.
    logging._srcfile = None  # noqa: SLF001 - recommended by the documentation of logging
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = LogStream(sys.stderr if stream is None else stream)
    lines = (JsonLines if style == "json" else TextLines)(user_ids=user_ids)
    handler.setFormatter(systemd.JournalLines(lines) if systemd.is_journal(handler.stream) else lines)
    if sys.version_info >= (3, 12):
        logging.logAsyncioTasks = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(LEVELS[level])
    return handler


def printable(text: str) -> str:
    r"""Escape, as JSON does (`\n`, `\u001b`), what could break a line, control a terminal or reorder the text."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in text)


class _LineFormatter(logging.Formatter):
    """Base of both formats. With `user_ids`, pseudonyms are replaced by the ids they stand for."""

    def __init__(self, *, user_ids: bool = False) -> None:
        super().__init__()
        self._user_ids = user_ids

    def _fields(self, record: logging.LogRecord) -> Mapping[str, object]:
        fields = getattr(record, "fields", None)
        if not isinstance(fields, dict):
            return {}
        if not self._user_ids:
            return fields
        return {key: value.reveal() if isinstance(value, Pseudonym) else value for key, value in fields.items()}


class TextLines(_LineFormatter):
    """Lines such as `2026/11/22 10:33:00 INFO wecom callback server listening port=9886`, in local time."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, followed by an indented trace if it carries an exception."""
        line = f"{_local_time(int(record.created))} {record.levelname} {_event(record)}"
        for key, value in self._fields(record).items():
            line += f" {_text_key(key)}={_text_value(value)}"
        for trace_line in _trace(record):
            line += f"\n    {trace_line}"
        return line


class JsonLines(_LineFormatter):
    """One JSON object per line: `time`, `level`, `msg`, `logger`, then the fields, then `trace` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        own: dict[str, object] = {
            "time": f"{_utc_time(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "msg": _event(record),
            "logger": record.name,
        }
        # The first `own` fixes the order, the second keeps fields from replacing its values.
        line = own | dict(self._fields(record)) | own
        if trace := list(_trace(record)):
            line["trace"] = trace
        return printable(_encode(line))


# Lines arrive in bursts, and most lines of a burst have the same second.
@lru_cache(maxsize=1)
def _local_time(second: int) -> str:
    return time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(second))


@lru_cache(maxsize=1)
def _utc_time(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _event(record: logging.LogRecord) -> str:
    text = record.getMessage()
    # Only the first line: libraries show values on further lines, such as the exception of a task.
    return text if text.isprintable() else printable(text.splitlines()[0])


# The keys are fixed in the source: there are few, and every line repeats them.
@lru_cache(maxsize=256)
def _text_key(key: object) -> str:
    return _text_value(str(key))


def _text_value(value: object) -> str:
    text = value if isinstance(value, str) else _format_as_go(value)
    if text and text.isprintable() and _QUOTED.isdisjoint(text):
        return text
    return printable(json.dumps(text, ensure_ascii=False))


def _format_as_go(value: object) -> str:
    """Format a value as Go prints it, because the original gateway is written in Go."""
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "<nil>"
        case list() | tuple():
            return f"[{' '.join(_format_as_go(item) for item in value)}]"
        case _:
            return str(value)


def _trace(record: logging.LogRecord) -> Iterator[str]:
    """Yield where an exception was raised, innermost cause first, without its text, which may quote a user."""
    if not record.exc_info or record.exc_info[1] is None:
        return
    chain: list[BaseException] = []
    error: BaseException | None = record.exc_info[1]
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for link in reversed(chain):
        yield type(link).__qualname__
        for frame in traceback.extract_tb(link.__traceback__):
            yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
