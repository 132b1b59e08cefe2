"""Writes the configuration and the secrets of a new bot."""

from __future__ import annotations

import errno
import json
import os
import shlex
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG_NAME: Final = "wecom.json"
SECRETS_NAME: Final = "secrets.env"
_PRIVATE: Final = 0o600
_PUBLIC: Final = 0o644


def existing(folder: Path) -> list[Path]:
    """Return the files of a former configuration in a folder."""
    return [path for path in (folder / CONFIG_NAME, folder / SECRETS_NAME) if os.path.lexists(path)]


def write(folder: Path, document: object, secrets: Mapping[str, str], *, force: bool = False) -> None:
    """Write `wecom.json`, and `secrets.env` that only its owner may read. A failure leaves both as they were.

    Without `force`, of several processes that write at the same time one succeeds, with both files.

    Args:
        folder: the folder, which is created if there is none.
        document: the configuration.
        secrets: the values of the environment variables that it refers to.
        force: whether files that exist are replaced.

    Raises:
        FileExistsError: a file exists and `force` is false.
        OSError: a file cannot be written; the error names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A form that both a shell and systemd's EnvironmentFile read.
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in secrets.items())
    configuration = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    contents = {folder / SECRETS_NAME: (lines, _PRIVATE), folder / CONFIG_NAME: (configuration, _PUBLIC)}
    for path in contents:
        # Found now, it leaves the other file as it is too.
        if path.is_dir() and not path.is_symlink():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    with ExitStack() as cleaning, ExitStack() as reserved:
        if not force:
            for path in contents:
                path.touch(mode=_PRIVATE, exist_ok=False)
                reserved.callback(path.unlink, missing_ok=True)
        drafts = {path: _draft(path, text, mode, cleaning) for path, (text, mode) in contents.items()}
        for path, draft in drafts.items():
            # A link or a pipe of this name is replaced, and never followed.
            draft.replace(path)
        reserved.pop_all()


def _draft(path: Path, text: str, mode: int, cleaning: ExitStack) -> Path:
    """Write what will be a file under another name in its folder, and return its path."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        draft = Path(name)
        cleaning.callback(draft.unlink, missing_ok=True)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - of a descriptor
            file.write(text)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
    except OSError as error:
        # The error of a full disk names no file, and another one names the draft.
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from None
    return draft
