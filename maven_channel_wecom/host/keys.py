"""Reads the keys of one JSON object and notes every problem, each naming the path of its key. Knows no key itself."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# What is meant for {"env": …} or {"file": …} and is neither: most likely the secret itself, put in the wrong place.
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
_PATH: Final = re.compile(r".*[/.].*")


class Keys:
    """The keys of one object of the configuration.

    Each method returns a usable value even where it notes a problem, so that one reading finds all of them. No
    problem repeats a value: what stands in the wrong place may be a secret.
    """

    def __init__(self, value: object, path: str, known: Collection[str] | None, problems: list[str]) -> None:
        self.path = path
        self._problems = problems
        self._values: Mapping[str, Any] = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            self._problems.append(f"{path or 'the configuration'} must be an object")
        elif known is not None:
            self._problems += [self._unknown(key, known) for key in value if key not in known]

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def problem(self, key: str, sentence: str) -> None:
        """Note that `key` `sentence`."""
        self._problems.append(f"{self._name(key)} {sentence}")

    def raw(self, key: str, default: Any) -> Any:  # noqa: ANN401 -- JSON not looked at yet
        """Return the value as it stands."""
        return self._values.get(key, default)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string that is not blank. Without a default the key is required."""
        if key not in self._values and default is not None:
            return default
        value = self._values.get(key)
        if isinstance(value, str) and value.strip():
            return value
        self.problem(key, "is required" if key not in self._values else "must be a string that is not empty")
        return default or ""

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self._values.get(key, default)
        if isinstance(value, bool):
            return value
        self.problem(key, "must be true or false")
        return default

    def number(self, key: str, default: int, *, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`."""
        value = self._values.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.problem(key, f"must be a whole number from {low} to {high}")
        return default

    def choice(self, key: str, choices: Collection[str], default: str) -> str:
        """Return one of `choices`, however it is capitalized."""
        value = self._values.get(key, default)
        if isinstance(value, str) and value.lower() in choices:
            return value.lower()
        self.problem(key, f"must be one of {', '.join(choices)}")
        return default

    def secret(self, key: str, environment: Mapping[str, str]) -> str | None:
        """Return a secret written as a string, as `{"env": "NAME"}` or as `{"file": "PATH"}`; None when absent."""
        secret: str | None
        match self._values.get(key):
            case None:
                return None
            case str(secret):
                source = "is"
            case {"env": str(name), **rest} if not rest:
                shown = name if _VARIABLE.fullmatch(name) else "(its name goes here, not the secret)"
                secret, source = environment.get(name), f"names the environment variable {shown}, which is"
                if secret is None:
                    self.problem(key, f"{source} not set: set it")
            case {"file": str(name), **rest} if not rest:
                shown = f"the file {name}" if _PATH.fullmatch(name) else "a file (its path goes here, not the secret)"
                secret, source = self._file(key, name, shown), f"names {shown}, which is"
            case _:
                self.problem(key, 'must be a string, {"env": "NAME"} or {"file": "PATH"}')
                return None
        if secret is not None and not secret.strip():
            self.problem(key, f"{source} empty")
        return secret.strip() if secret else None

    def _file(self, key: str, name: str, shown: str) -> str | None:
        try:
            return Path(name).read_text(encoding="utf-8")
        except OSError as error:
            self.problem(key, f"names {shown}, which cannot be read: {error.strerror}")
        except ValueError:
            self.problem(key, f"names {shown}, which cannot be read as UTF-8 text")
        return None

    def _name(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _unknown(self, key: str, known: Collection[str]) -> str:
        near = difflib.get_close_matches(key.lower(), {each.lower(): each for each in known}, n=1)
        nearest = next((each for each in known if [each.lower()] == near), None)
        hint = f"did you mean {self._name(nearest)}?" if nearest else f"known keys: {', '.join(sorted(known))}"
        return f"{self._name(key)} is not a known key; {hint}"
