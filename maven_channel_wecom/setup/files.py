"""Writes the configuration and the secrets of a new bot."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG_NAME: Final = "wecom.json"
SECRETS_NAME: Final = "secrets.env"
_PRIVATE: Final = 0o600
_PUBLIC: Final = 0o644


def existing(folder: Path) -> list[Path]:
    """Return the files of a former configuration in a folder."""
    return [path for path in (folder / CONFIG_NAME, folder / SECRETS_NAME) if os.path.lexists(path)]


def write(folder: Path, document: object, secrets: Mapping[str, str], *, force: bool = False) -> None:
    """Write `wecom.json`, and `secrets.env` that only its owner may read.

    Args:
        folder: the folder, which is created if there is none.
        document: the configuration.
        secrets: the values of the environment variables that it refers to.
        force: whether files that exist are overwritten.

    Raises:
        FileExistsError: a file exists and `force` is false.
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A form that both a shell and systemd's EnvironmentFile read.
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in secrets.items())
    _write(folder / SECRETS_NAME, lines, _PRIVATE, force=force)
    _write(folder / CONFIG_NAME, json.dumps(document, indent=2, ensure_ascii=False) + "\n", _PUBLIC, force=force)


def _write(path: Path, text: str, mode: int, *, force: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    with open(os.open(path, flags, mode), "w", encoding="utf-8") as file:  # noqa: PTH123 - of a descriptor
        # A file that exists keeps its mode otherwise.
        os.fchmod(file.fileno(), mode)
        file.write(text)
