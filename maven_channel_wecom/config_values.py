"""Reading a mapping key by key: every problem is collected as a sentence that names its key, none shows a value."""

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from maven_channel_wecom.errors import ConfigError
from maven_channel_wecom.protocol import cipher

_T = TypeVar("_T")
_MAX_PORT: Final = 65_535

# What is meant for {"env": …} or {"file": …} and is neither: most likely the secret itself, put in the wrong place.
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
_PATH: Final = re.compile(r".*[/.].*")


class Entry:
    """One mapping being read: takes values, collects problems, raises them together."""

    def __init__(self, location: str, raw: Mapping[str, Any]) -> None:
        self._location = location
        self._raw = raw
        self._problems: list[str] = []

    def complain(self, key: str, problem: str) -> None:
        """Note a problem: the rest of a sentence that begins with the key."""
        self._problems.append(f"{self._location}.{key} {problem}")

    def raise_problems(self) -> None:
        """Raise ConfigError when there was any problem."""
        if self._problems:
            raise ConfigError(self._problems)

    def refuse_unknown_keys(self, known: Sequence[str]) -> None:
        """Note every key that is not known, with the nearest one that is."""
        by_lowercase = {key.lower(): key for key in known}
        for key in self._raw:
            if key not in known:
                near = difflib.get_close_matches(str(key).lower(), by_lowercase, n=1, cutoff=0.0)
                self.complain(str(key), f"is not a known key; the nearest one is {by_lowercase[near[0]]}")

    def take(self, key: str, read: Callable[[object], _T], *, default: _T) -> _T:
        """Return a value; a ValueError of `read` says what it must be."""
        if key not in self._raw:
            return default
        try:
            return read(self._raw[key])
        except ValueError as error:
            self.complain(key, str(error))
            return default

    def secret(self, key: str, *, required: bool = False) -> str:
        """Return a text that may stand elsewhere; empty when it is absent or could not be had."""
        value = self._raw.get(key, "")
        if value == "":
            if required:
                self.complain(key, 'is required: a text, {"env": "NAME"} or {"file": "PATH"}')
            return ""
        try:
            return _secret(value)
        except ValueError as error:
            self.complain(key, str(error))
            return ""

    def take_key(self, key: str, value: str) -> bytes | None:
        """Decode an EncodingAESKey; None when it is empty or wrong."""
        if not value:
            return None
        try:
            return cipher.decode_key(value)
        except ValueError as error:
            self.complain(key, str(error))
            return None


def text(value: object) -> str:
    """Read a text."""
    if not isinstance(value, str):
        message = "must be a text"
        raise ValueError(message)  # noqa: TRY004 - the caller collects ValueErrors
    return value


def non_empty_text(value: object) -> str:
    """Read a text of at least one character."""
    found = text(value)
    if not found:
        message = "must not be empty"
        raise ValueError(message)
    return found


def url_path(value: object) -> str:
    """Read the path of a URL."""
    found = text(value)
    if not found.startswith("/") or not found.isprintable() or any(sign in found for sign in "{}?#% "):
        message = 'must be a URL path that begins with "/", such as "/wecom/bot"'
        raise ValueError(message)
    return found


def flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        message = "must be true or false"
        raise ValueError(message)  # noqa: TRY004 - the caller collects ValueErrors
    return value


def count(value: object) -> int:
    """Read a whole number, 0 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        message = "must be a whole number, 0 or more"
        raise ValueError(message)
    return value


def positive_count(value: object) -> int:
    """Read a whole number, 1 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        message = "must be a whole number, 1 or more"
        raise ValueError(message)
    return value


def seconds(value: object) -> float:
    """Read a duration."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
        message = "must be a number of seconds, 0 or more"
        raise ValueError(message)
    return float(value)


def port(value: object) -> int:
    """Read a port to listen on."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_PORT:
        message = f"must be a whole number from 0 (any free port) to {_MAX_PORT}"
        raise ValueError(message)
    return value


def names(value: object) -> tuple[str, ...]:
    """Read a list of names."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item.strip() for item in value):
        message = 'must be a list of non-empty texts, such as ["a", "b"]'
        raise ValueError(message)
    return tuple(value)


def _secret(value: object) -> str:
    match value:
        case str():
            text = value
        case {"env": str(name), **rest} if not rest:
            text = os.environ.get(name, "").strip()
            if not text:
                shown = name if _VARIABLE.fullmatch(name) else "(its name goes here, not the secret)"
                message = f"takes its value from the environment variable {shown}, which is not set or empty: set it"
                raise ValueError(message)
        case {"file": str(path), **rest} if not rest:
            shown = f"the file {path}" if _PATH.fullmatch(path) else "a file (its path goes here, not the secret)"
            try:
                text = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
                message = f"takes its value from {shown}, which cannot be read: {why}"
                raise ValueError(message) from None
            if not text:
                message = f"takes its value from {shown}, which is empty"
                raise ValueError(message)
        case _:
            message = 'must be a text, {"env": "NAME"} or {"file": "PATH"}'
            raise ValueError(message)
    if not text.isprintable() or " " in text:
        message = "must be printable characters without spaces or line ends"
        raise ValueError(message)
    return text
