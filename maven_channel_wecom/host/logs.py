"""How the host prints log records: one line each, a fixed event and its fields, as text or JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TextIO

from maven_channel_wecom.contract.pseudonym import Pseudonym
from maven_channel_wecom.host.log_stream import LogStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
"""The values of `logging.level`."""

# A value that holds one of them could be read as two fields.
_QUOTED = frozenset(' "=')

_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode

LogFormat = Literal["text", "json"]


def configure(level: str, style: LogFormat, stream: TextIO | None = None, *, user_ids: bool = False) -> logging.Handler:
    """Make the root logger print to `stream` (default: stderr), and return the handler that does it."""
    # Facts that no line shows, and each of which costs as much as the line's fields do. The settings are the process's.
    logging._srcfile = None  # noqa: SLF001 - how the documentation of logging says it
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = LogStream(sys.stderr if stream is None else stream)
    handler.setFormatter((JsonLines if style == "json" else TextLines)(user_ids=user_ids))
    if sys.version_info >= (3, 12):
        logging.logAsyncioTasks = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(LEVELS[level])
    return handler


def printable(text: str) -> str:
    r"""Escape as `\uXXXX` whatever could break a line, steer a terminal or reorder what is shown."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in text)


class _Lines(logging.Formatter):
    """Common to both forms. With `user_ids`, people go by their ids and not by their pseudonyms."""

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


class TextLines(_Lines):
    """`2026/11/22 10:33:00 INFO wecom callback server listening port=9886`, in local time."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, followed by indented ones when it carries an exception."""
        line = f"{_local(int(record.created))} {record.levelname} {_event(record)}"
        for key, value in self._fields(record).items():
            line += f" {_key(key)}={_text(value)}"
        for place in _trace(record):
            line += f"\n    {place}"
        return line


class JsonLines(_Lines):
    """One JSON object a line: `time`, `level`, `msg`, `logger`, then the fields, then `trace` when there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        own: dict[str, object] = {
            "time": f"{_universal(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "msg": _event(record),
            "logger": record.name,
        }
        # Once for their place, and once more for no field to take it.
        line = own | dict(self._fields(record)) | own
        if trace := list(_trace(record)):
            line["trace"] = trace
        return printable(_encode(line))


# Lines come in crowds, and a crowd shares its second.
@lru_cache(maxsize=1)
def _local(second: int) -> str:
    return time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(second))


@lru_cache(maxsize=1)
def _universal(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _event(record: logging.LogRecord) -> str:
    text = record.getMessage()
    # Libraries add lines below the first that show values, such as the exception of a task; ours never do.
    return text if text.isprintable() else printable(text.splitlines()[0])


# Keys are words of programs: there are few, and they come again with every line.
@lru_cache(maxsize=256)
def _key(key: object) -> str:
    return _text(str(key))


def _text(value: object) -> str:
    text = value if isinstance(value, str) else _go(value)
    if text and text.isprintable() and _QUOTED.isdisjoint(text):
        return text
    return printable(json.dumps(text, ensure_ascii=False))


def _go(value: object) -> str:
    """Lists, truth values and nothing look as Go prints them, as in the original."""
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "<nil>"
        case list() | tuple():
            return f"[{' '.join(_go(item) for item in value)}]"
        case _:
            return str(value)


def _trace(record: logging.LogRecord) -> Iterator[str]:
    """Where an exception came from, innermost cause first, without its text: that may hold what a user wrote."""
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
