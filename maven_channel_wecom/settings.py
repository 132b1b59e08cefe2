"""Declarations of the keys of a JSON object, from which it is read and its JSON Schema is generated.

All problems of an object are reported together. Each is a sentence that names its key and never contains a value,
because a misplaced value may be a secret.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from maven_channel_wecom.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KeyType = Literal["boolean", "integer", "number", "string", "list of strings", "sentence", "secret", "object", "list"]

_SOURCES: Final = 'a string, {"env": "NAME"} or {"file": "PATH"}'

_SECRET_CHARACTERS: Final = 100_000
"""How much of a secret's file is read. Lower: a secret may be longer. Higher: a device that never ends takes longer."""

# An environment variable or path that does not match is not shown: it is probably the secret itself in the wrong place.
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
_PATH: Final = re.compile(r".*[/.].*")

# Names of variables hold an underscore or one of these words. A secret may well begin with `ABC=d`.
_ASSIGNMENT: Final = re.compile(
    r"(export\s+|(?=[A-Z0-9]*(_|HOST|KEY|PASSWORD|SECRET|STATE|TOKEN)))[A-Z_][A-Z0-9_]*=[^=]"
)
_QUOTES: Final = frozenset("\"'`“”‘’«»‹›「」『』＂＇")
_CHARACTER_NAMES: Final = {
    "\0": "NUL",
    "\t": "a tab",
    "\n": "a line end",
    "\r": "a carriage return",
    " ": "a space",
    "\ufeff": "a byte order mark",
}


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration of one key of a JSON object.

    Args:
        name: the key as written in the configuration.
        type: the type of the value. A `secret` is a string, or a reference to an environment variable or file that
            holds it; an address that may contain a password is a secret. A `sentence` is a string, or an object with
            one string for each language of the chat. The content of an `object` or `list` is not checked here.
        title: two or three English words for a form; `title_zh` is the Chinese title.
        help: one English sentence for tables and forms; `help_zh` is the Chinese one.
        default: the value if the key is absent. An empty string is valid only if it is the default,
            and an empty sentence if `check` accepts it.
        required: whether the key is required; a tuple (key, value, …) requires it only if another key has one of the
            values.
        minimum: the smallest valid number.
        maximum: the largest valid number.
        choices: the valid strings, in lower case; the case of the value does not matter.
        pattern: a regular expression that every valid value matches, for the JSON Schema only.
        check: returns what is wrong with a value of the right type, as the rest of a sentence that begins with the
            key, or None.
        may_have_spaces: whether there may be spaces in a secret, as in a path.
        obsolete: whether the key is accepted without having an effect.
    """

    name: str
    type: KeyType
    title: str
    title_zh: str
    help: str
    help_zh: str
    default: Any = None
    required: bool | tuple[Any, ...] = False
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    check: Callable[[Any], str | None] | None = None
    may_have_spaces: bool = False
    obsolete: bool = False


ENABLED: Final = Key(
    name="enabled",
    type="boolean",
    default=True,
    title="Enabled",
    title_zh="启用",
    help="false: the entry is ignored.",
    help_zh="false：忽略该条目。",
)
"""The key `enabled` of every entry of `channels`. The host reads it, and each channel declares it as well."""

SECTION_NAMES: Final = ("agent", "channels", "cron", "gateway", "logging")
"""The keys of the whole file, which the host declares. An error about one in an entry of `channels` says its place."""

MAX_PORT: Final = 65_535
"""The largest TCP port number (RFC 9293)."""


class Settings:
    """The values of one JSON object, read according to the declarations of its keys.

    A key whose value is wrong takes its default, so that reading continues and finds every problem.

    Args:
        value: the JSON value, which should be an object.
        path: the position of the object in the configuration, such as `channels.wecom`; empty for the whole file.
        keys: the declarations of its keys.
        problems: the list to which problems are added; several objects may share one.
        environment: the environment variables that may hold secrets.
        open_ended: whether undeclared keys are allowed.
    """

    def __init__(
        self,
        value: object,
        path: str,
        keys: Sequence[Key],
        *,
        problems: list[str] | None = None,
        environment: Mapping[str, str] = os.environ,
        open_ended: bool = False,
    ) -> None:
        self._path = path
        self.problems: list[str] = [] if problems is None else problems
        self._keys = {key.name: key for key in keys}
        self._environment = environment
        self._raw: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        self._read: dict[str, Any] = {}
        if not isinstance(value, Mapping):
            self.problems.append(f"{path or 'the configuration'} must be an object")
        elif not open_ended:
            for name in value:
                if name not in self._keys:
                    self.problem(str(name), f"is not a known key; {self._hint(str(name))}")

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - the declaration decides the type
        """Return the value of a key, or its default.

        A `number` is returned as a float, a `list of strings` as a tuple, a choice in lower case, and a secret as its
        text.
        """
        if name not in self._read:
            self._read[name] = self._value(self._keys[name])
        return self._read[name]

    def read_all(self) -> dict[str, Any]:
        """Return the value of every key.

        Raises:
            ConfigError: there are problems; the exception holds all of them.
        """
        values = {name: self[name] for name in self._keys}
        if self.problems:
            raise ConfigError(self.problems)
        return values

    def obsolete(self) -> tuple[str, ...]:
        """Return the names of the obsolete keys that are present."""
        return tuple(key.name for key in self._keys.values() if key.obsolete and key.name in self._raw)

    def problem(self, name: str, sentence: str) -> None:
        """Add a problem of a key; `sentence` continues a sentence that begins with the key."""
        self.problems.append(f"{self._full_name(name)} {sentence}")

    def _value(self, key: Key) -> Any:  # noqa: ANN401 - the declaration decides the type
        value = self._raw.get(key.name)
        if key.name not in self._raw or (value == "" and key.type == "secret" and key.required is True):
            self._report_missing(key)
            return key.default
        # `read_secret` rejects the empty string, which is valid if it is the default.
        if key.type == "secret" and (value is None or value != key.default):
            value, problem = read_secret(value, self._environment, may_have_spaces=key.may_have_spaces)
        else:
            problem = _type_problem(key, value)
        if problem is None and value != key.default and key.check is not None:
            problem = key.check(value)
        if problem is not None:
            self.problem(key.name, problem)
            return key.default
        return _converted(key, value)

    def _report_missing(self, key: Key) -> None:
        if isinstance(key.required, tuple):
            other, *values = key.required
            if self[other] in values:
                self.problem(key.name, f"is required when {self._full_name(other)} is {_json_text(self[other])}")
        elif key.required:
            self.problem(key.name, f"is required: {_SOURCES}" if key.type == "secret" else "is required")

    def _full_name(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def _hint(self, name: str) -> str:
        if name in SECTION_NAMES and self._path.startswith("channels."):
            return f"{name} belongs beside channels" if name != "channels" else "it is the object around this entry"
        by_lowercase = {key.name.lower(): key.name for key in self._keys.values() if not key.obsolete}
        near = difflib.get_close_matches(name.lower(), by_lowercase, n=1)
        if near:
            return f"did you mean {self._full_name(by_lowercase[near[0]])}?"
        return f"known keys: {', '.join(sorted(by_lowercase.values()))}"


def object_schema(keys: Sequence[Key]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an object that has these keys and no others."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key.name: key_schema(key) for key in keys},
        "additionalProperties": False,
    }
    if always := [key.name for key in keys if key.required is True]:
        schema["required"] = always
    conditions: dict[tuple[Any, ...], list[str]] = {}
    for key in keys:
        if isinstance(key.required, tuple):
            conditions.setdefault(key.required, []).append(key.name)
    if conditions:
        schema["allOf"] = [
            {
                "if": {"properties": {other: {"enum": values}}, "required": [other]},
                "then": {"required": names},
            }
            for (other, *values), names in conditions.items()
        ]
    return schema


def key_schema(key: Key) -> dict[str, Any]:
    """Return the JSON Schema of the value of one key."""
    schema = {
        "title": f"{key.title} {key.title_zh}",
        "description": f"{key.help}\n{key.help_zh}",
        **_type_schema(key),
    }
    if key.default is not None:
        schema["default"] = list(key.default) if isinstance(key.default, tuple) else key.default
    if key.obsolete:
        schema["deprecated"] = True
    return schema


def _type_schema(key: Key) -> dict[str, Any]:
    text = {"type": "string"} if key.default == "" else {"type": "string", "pattern": key.pattern or r"\S"}
    schema: dict[str, Any]
    match key.type:
        case "boolean" | "object":
            schema = {"type": key.type}
        case "integer" | "number":
            limits = {"minimum": key.minimum, "maximum": key.maximum}
            schema = {"type": key.type} | {name: limit for name, limit in limits.items() if limit is not None}
        case "string":
            schema = {"enum": list(key.choices)} if key.choices else text
        case "secret":
            schema = {"anyOf": [text, _reference_schema("env"), _reference_schema("file")], "writeOnly": True}
        case "list of strings":
            schema = {"type": "array", "items": {"type": "string", "pattern": r"\S"}}
        case "list":
            schema = {"type": "array"}
        case "sentence":
            # An empty one is refused by the `check` of its key, if it is.
            text = {"type": "string"}
            both = {"type": "object", "properties": {"zh": text, "en": text}, "required": ["zh", "en"]}
            schema = {"anyOf": [text, both | {"additionalProperties": False}]}
    return schema


def _reference_schema(source: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {source: {"type": "string"}},
        "required": [source],
        "additionalProperties": False,
    }


def _type_problem(key: Key, value: object) -> str | None:
    """Return what a value must be if it has the wrong type or exceeds a limit, else None."""
    match key.type:
        case "boolean":
            fits, must_be = isinstance(value, bool), "true or false"
        case "integer" | "number":
            fits, must_be = _is_number(key, value), f"a {'whole ' * (key.type == 'integer')}number{_limits(key)}"
        case "string" | "secret":
            may_be_empty = key.default == ""
            fits = isinstance(value, str) and (may_be_empty or bool(value.strip()))
            must_be = "a string" if may_be_empty else "a string that is not empty"
            if key.choices:
                fits = isinstance(value, str) and value.lower() in key.choices
                must_be = f"one of {', '.join(key.choices)}"
        case "list of strings":
            fits = isinstance(value, list | tuple) and all(isinstance(item, str) and item.strip() for item in value)
            must_be = 'a list of strings that are not empty, such as ["a", "b"]'
        case "list":
            fits, must_be = isinstance(value, list | tuple), "a list"
        case "sentence":
            fits, must_be = _is_sentence(value), 'a string, or an object such as {"zh": "你好", "en": "hello"}'
        case _:
            fits, must_be = isinstance(value, Mapping), "an object"
    return None if fits else f"must be {must_be}"


def _is_sentence(value: object) -> bool:
    if isinstance(value, Mapping):
        return set(value) == {"zh", "en"} and all(isinstance(text, str) for text in value.values())
    return isinstance(value, str)


def _is_number(key: Key, value: object) -> bool:
    """Return whether a value is a number of the declared type within its limits. 5.0 is whole, as in JSON Schema."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if key.type == "integer" and isinstance(value, float) and not value.is_integer():
        return False
    # Excludes infinity, NaN, and integers too large to be converted to a float.
    if not abs(value) <= sys.float_info.max:
        return False
    return (key.minimum is None or value >= key.minimum) and (key.maximum is None or value <= key.maximum)


def _limits(key: Key) -> str:
    if key.minimum is not None and key.maximum is not None:
        return f" from {key.minimum} to {key.maximum}"
    return "" if key.minimum is None else f", {key.minimum} or more"


def _converted(key: Key, value: Any) -> Any:  # noqa: ANN401 - the declaration decides the type
    match key.type:
        case "integer":
            return int(value)
        case "number":
            return float(value)
        case "list of strings":
            return tuple(value)
        case "string" if key.choices:
            return value.lower()
        case _:
            return value


def read_secret(
    value: object, environment: Mapping[str, str] = os.environ, *, may_have_spaces: bool = False
) -> tuple[str, str | None]:
    """Return a secret without surrounding white space (such as a file's final newline), and what is wrong with it.

    `value` is the text itself, or the reference to an environment variable or file. The problem is the rest of a
    sentence that begins with the key, and None if there is none.
    """
    match value:
        case str(text):
            source = "is"
        case {"env": str(name), **rest} if not rest:
            shown = name if _VARIABLE.fullmatch(name) else "(its name goes here, not the secret)"
            source = f"takes its value from the environment variable {shown}, which is"
            try:
                text = environment[name]
            # ValueError is raised for a name that cannot be encoded.
            except (KeyError, ValueError):
                return "", f"{source} not set: set it"
        case {"file": str(name), **rest} if not rest:
            shown = f"the file {name}" if _PATH.fullmatch(name) else "a file (its path goes here, not the secret)"
            source = f"takes its value from {shown}, which"
            text, problem = _file_text(Path(name))
            if problem:
                return "", f"{source} {problem}"
            source += " is"
        case _:
            return "", f"must be {_SOURCES}"
    text = text.strip()
    return text, copying_problem(text, may_have_spaces=may_have_spaces) if text else f"{source} empty"


def _file_text(path: Path) -> tuple[str, str]:
    """Return the text in a file, and what is wrong with the file, if anything."""
    try:
        # It is read several times. A pipe can be read once, or waits forever.
        if path.is_fifo():
            return "", "is a pipe: name a file"
        with path.open(encoding="utf-8") as file:
            text = file.read(_SECRET_CHARACTERS + 1)
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    except ValueError:
        return "", "cannot be read as UTF-8 text"
    return text, "is too long for a secret" if len(text) > _SECRET_CHARACTERS else ""


def copying_problem(text: str, *, may_have_spaces: bool = False) -> str | None:
    """Return which common mistake was made when a value was copied, else None. No part of the value is shown.

    The mistakes are quotes, `NAME=`, and characters that cannot be seen. Spaces are such unless `may_have_spaces`.
    """
    if not text:
        return None
    if text[0] in _QUOTES and text[-1] in _QUOTES:
        return "is wrapped in quotes, which are not part of it: leave them out"
    if text[0] in _QUOTES or text[-1] in _QUOTES:
        return "has a quote at its beginning or end, which is not part of it: leave it out"
    if _ASSIGNMENT.match(text):
        return "begins with NAME=, as a line of a shell does: leave that out"
    for character in text:
        if not character.isprintable() or (character == " " and not may_have_spaces):
            name = _CHARACTER_NAMES.get(character) or unicodedata.name(character, "a control character").lower()
            without = "" if may_have_spaces else " without spaces"
            return f"must be printable characters{without}, and holds {name} (U+{ord(character):04X})"
    return None


def _json_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
