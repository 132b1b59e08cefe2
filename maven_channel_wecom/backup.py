"""`maven-wecom backup`: copies a channel's SQLite state while the gateway runs."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.host.configuration import interpret
from maven_channel_wecom.host.document import UnreadableConfiguration, read_document
from maven_channel_wecom.host.logs import printable
from maven_channel_wecom.slow_step import SlowStep
from maven_channel_wecom.state.backends import SQLITE, sqlite_path
from maven_channel_wecom.state.sqlite.file import copy_file
from maven_channel_wecom.state.sqlite.schema import APPLICATION_ID

if TYPE_CHECKING:
    import argparse

_EXIT_FAILED: Final = 1
_EXIT_USAGE: Final = 2

_OWN_ENDINGS: Final = ("", "-wal", "-shm", "-journal", ".lock")
"""Endings of the files that SQLite and the gateway use, which a copy must not replace."""

_HEADER_BYTES: Final = 100
_MAGIC: Final = b"SQLite format 3\0"
_ID_PLACE: Final = slice(68, 72)
"""Where the application id stands in the header of a file: https://www.sqlite.org/fileformat.html#the_database_header"""

_KILOBYTE: Final = 1_000
_MEGABYTE: Final = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="the JSON configuration file")
    parser.add_argument("--into", required=True, type=Path, metavar="FILE", help="the copy; replaces an older one")
    parser.add_argument("--channel", metavar="NAME", help="the entry of channels, if several have a SQLite state")


class _WrongName(Exception):
    """The command line and the configuration do not name one state to copy. The text is one sentence."""


def main(args: argparse.Namespace) -> int:
    """Copy the state, print the size of the copy, and return the exit code."""
    try:
        path = _state_file(args)
        _check_target(args.into, args.config)
        with SlowStep(f"copying {printable(str(path))}"):
            size = copy_file(path, args.into)
    except (UnreadableConfiguration, _WrongName) as error:
        return _fail(str(error), _EXIT_USAGE)
    except StateUnavailable as unavailable:
        return _fail(str(unavailable), _EXIT_FAILED)
    except OSError as error:
        return _fail(f"the copy {args.into} cannot be written: {error.strerror}", _EXIT_FAILED)
    sys.stdout.write(f"{printable(str(args.into))}: {_size_text(size)}\n")
    return 0


def _size_text(size: int) -> str:
    return f"{size / _MEGABYTE:.1f} MB" if size >= _MEGABYTE else f"{size / _KILOBYTE:.0f} kB"


def _state_file(args: argparse.Namespace) -> Path:
    files = _state_files(args.config)
    whose = "no enabled entry of channels has"
    if args.channel is not None:
        files = {name: path for name, path in files.items() if name == args.channel}
        whose = "--channel names no enabled entry of channels with"
    if not files:
        message = f'{whose} a state that begins with "{SQLITE}": only such a state is a file'
        raise _WrongName(message)
    if len(files) > 1:
        message = f"choose a state with --channel from {', '.join(files)}"
        raise _WrongName(message)
    (path,) = files.values()
    return path


def _check_target(target: Path, config: Path) -> None:
    """Raise _WrongName if a copy would replace anything but an older copy.

    Raises:
        OSError: the path cannot be followed.
    """
    document = read_document(config)
    own = [path + ending for path in _all_state_files(document) for ending in _OWN_ENDINGS]
    # The name itself and, through links in its folders, the file.
    if os.path.realpath(target) in {os.path.realpath(config), *own}:
        message = "--into names a file of the gateway: name another one"
        raise _WrongName(message)
    try:
        found = target.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        message = f"--into names {target}, which is a link, a folder or a device: name a file"
        raise _WrongName(message)
    if not _is_copy(target):
        message = f"--into names {target}, which is no older copy of a state: name another file, or remove this one"
        raise _WrongName(message)


def _is_copy(path: Path) -> bool:
    """Return whether a file is a state that no gateway has opened, which would have left a lock file."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    is_state = header.startswith(_MAGIC) and int.from_bytes(header[_ID_PLACE]) == APPLICATION_ID
    return is_state and not os.path.lexists(f"{path}.lock")


def _all_state_files(document: object) -> list[str]:
    """Return the file of each state in a configuration, also of channels that are not enabled."""
    match document:
        case {"channels": dict() as channels}:
            entries = list(channels.values())
        case _:
            entries = []
    states = [entry.get("state") for entry in entries if isinstance(entry, dict)]
    match document:
        case {"agent": {"memoryState": state}}:
            states.append(state)
    return [path for state in states if (path := _path_of(state))]


def _state_files(config: Path) -> dict[str, Path]:
    """Return the state file of each enabled entry that has one. Other keys may have problems, or missing secrets."""
    configuration, _ = interpret(read_document(config))
    paths = {name: _path_of(entry.get("state")) for name, entry in configuration.channels.items()}
    return {name: Path(path) for name, path in paths.items() if path}


def _path_of(state: object) -> str | None:
    """Return the file of a state, or None if it is none. No path contains NUL, which the gateway refuses."""
    return sqlite_path(state) if isinstance(state, str) and "\0" not in state else None


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"maven-wecom: {printable(sentence)}\n")
    return code
