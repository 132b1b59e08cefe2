"""Reads the configuration file as a JSON value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path


MAX_BYTES: Final = 16_000_000
"""Lower: a configuration with very many channels is refused. Higher: a device that never ends takes more memory."""


class UnreadableConfiguration(Exception):
    """The file cannot be read or is not JSON. The text is one sentence."""


def read_document(path: Path) -> object:
    """Return the JSON value in a file.

    Raises:
        UnreadableConfiguration: There is no such file, it may not be read, it is too large, or it is not JSON.
    """
    try:
        document: object = json.loads(
            _read(path).decode("utf-8-sig"),
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_repeated_keys,
        )
        # Lone surrogates: JSON can escape them, but no name, path or header can contain them.
        json.dumps(document, ensure_ascii=False).encode()
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except _TooLarge:
        reason = f"is larger than {MAX_BYTES // 1_000_000} MB: name the file that you wrote"
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 text: see byte {error.start}"
    except json.JSONDecodeError as error:
        reason = (
            f"is not JSON: {error.msg} at line {error.lineno} column {error.colno}; "
            "look there and just before it for a missing or extra comma or quote"
        )
    except UnicodeEncodeError:
        reason = r"contains half a character: one of \ud800 to \udfff without its other half"
    except _RepeatedKey as error:
        reason = f"contains the key {error} twice in one object: rename or remove one, as only the last would count"
    except (ValueError, RecursionError):
        reason = "is not readable JSON: it contains NaN, Infinity or a number that is too long, or is nested too deeply"
    else:
        return document
    sentence = f"the configuration {path} {reason}"
    raise UnreadableConfiguration(sentence)


class _TooLarge(Exception):
    """The file has more than MAX_BYTES, or is a device that never ends, such as /dev/zero."""


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _TooLarge
    return content


class _RepeatedKey(ValueError):
    """A key occurs twice in one object, as after copying an entry for a second bot."""


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _RepeatedKey(next(key for key in keys if keys.count(key) > 1))
    return found


def _refuse_constant(_name: str) -> float:
    raise ValueError
