"""`maven-wecom backup`: copies what a configuration stores in SQLite files, while the gateway runs.

`--into` copies the state of one channel into a file, `--all-into` every state and the host's memory into a folder. Two
options, so that what is copied never depends on whether a folder of that name exists.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from maven_channel_wecom.config import is_wecom, state_address
from maven_channel_wecom.errors import ConfigError, StateUnavailable
from maven_channel_wecom.file_lock import others_can_change
from maven_channel_wecom.host.configuration import Configuration, interpret
from maven_channel_wecom.host.document import UnreadableConfiguration, read_document
from maven_channel_wecom.host.logs import printable
from maven_channel_wecom.host.memory_file import MEMORY_FILE_ID, copy_memory
from maven_channel_wecom.host.memory_store import MemoryUnavailable
from maven_channel_wecom.settings import read_secret
from maven_channel_wecom.slow_step import SlowStep
from maven_channel_wecom.state.backends import SQLITE, sqlite_path
from maven_channel_wecom.state.redis.address import is_redis
from maven_channel_wecom.state.sqlite.file import copy_file
from maven_channel_wecom.state.sqlite.schema import APPLICATION_ID
from maven_channel_wecom.stop_signals import raise_stopped

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

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
    into = parser.add_mutually_exclusive_group(required=True)
    into.add_argument(
        "--into", type=Path, metavar="FILE", help="the copy of one channel's state; replaces an older one"
    )
    into.add_argument(
        "--all-into", type=Path, metavar="DIR", help="a folder for copies of every state and of agent.memoryState"
    )
    parser.add_argument("--channel", metavar="NAME", help="with --into: the entry of channels, if several have a file")


class _WrongName(Exception):
    """Command line and configuration do not name what to copy, or where. The text is one sentence."""


class _NotWritten(Exception):
    """A copy cannot be written. The text is one sentence."""


class _Copy(NamedTuple):
    """A file to copy, and where to. `write` copies it into an empty file, `id` marks files of its kind."""

    source: Path
    target: Path
    write: Callable[[Path, Path], None]
    id: int


def main(args: argparse.Namespace) -> int:
    """Make the copies, print the size of each, and return the exit code."""
    try:
        document = read_document(args.config)
        configuration, problems = interpret(document)
        if args.into is not None:
            copies = [_one_copy(configuration, args.into, args.channel)]
        else:
            copies = _all_copies(configuration, problems, args)
        own = _own_files(args.config, document)
        for copy in copies:
            _check_target(copy, own)
        in_redis = [name for name, address in _addresses(configuration, args.channel).items() if is_redis(address)]
        with raise_stopped():
            sizes = _make(copies)
    except (UnreadableConfiguration, _WrongName) as error:
        return _fail(str(error), _EXIT_USAGE)
    except ConfigError as error:
        return _fail("; ".join(error.problems), _EXIT_USAGE)
    except (StateUnavailable, MemoryUnavailable, _NotWritten) as error:
        return _fail(str(error), _EXIT_FAILED)
    for copy, size in zip(copies, sizes, strict=True):
        sys.stdout.write(f"{printable(str(copy.target))}: {_size_text(size)}\n")
    if args.into is None:
        for name in in_redis:
            sys.stdout.write(f"channels.{printable(name)}.state is in Redis, and not copied\n")
    return 0


def _size_text(size: int) -> str:
    return f"{size / _MEGABYTE:.1f} MB" if size >= _MEGABYTE else f"{size / _KILOBYTE:.0f} kB"


def _one_copy(configuration: Configuration, target: Path, channel: str | None) -> _Copy:
    addresses = _addresses(configuration, channel)
    files = {name: path for name, address in addresses.items() if (path := sqlite_path(address))}
    if not files:
        whose = "no enabled entry of channels has"
        if channel is not None:
            whose = "--channel names no enabled entry of channels with"
        message = f'{whose} a state that begins with "{SQLITE}": only such a state is a file'
        raise _WrongName(message)
    if len(files) > 1:
        message = f"choose a state with --channel from {', '.join(files)}"
        raise _WrongName(message)
    (path,) = files.values()
    return _state_copy(path, target)


def _all_copies(configuration: Configuration, problems: Sequence[str], args: argparse.Namespace) -> list[_Copy]:
    """Return every copy to make.

    Raises:
        _WrongName: there is nothing to copy, or no telling whether the host has a memory.
        ConfigError: the address of a state has a problem.
    """
    if args.channel is not None:
        message = "--channel belongs to --into: leave it out, or name a file with --into"
        raise _WrongName(message)
    # Others, such as a secret that is not available here, do not matter.
    about_memory = [each for each in problems if each.startswith(("agent ", "agent.type ", "agent.memoryState "))]
    if about_memory:
        raise _WrongName("; ".join(about_memory))
    folder: Path = args.all_into
    copies = [
        _state_copy(path, folder / f"channels.{_file_name(name)}.state.db")
        for name, address in _addresses(configuration).items()
        if (path := sqlite_path(address))
    ]
    if memory := sqlite_path(configuration.sessions.memory_state):
        copies.append(_Copy(Path(memory), folder / "agent.memoryState.db", copy_memory, MEMORY_FILE_ID))
    if not copies:
        message = f'nothing to copy: no state of an enabled channel and no agent.memoryState begins with "{SQLITE}"'
        raise _WrongName(message)
    return copies


def _addresses(configuration: Configuration, channel: str | None = None) -> dict[str, str]:
    """Return the address of the state of each enabled entry, or of one of them. Other keys may have problems."""
    return {
        name: state_address(name, entry)
        for name, entry in configuration.channels.items()
        if is_wecom(name, entry) and channel in {None, name}
    }


def _state_copy(source: str, target: Path) -> _Copy:
    return _Copy(Path(source), target, copy_file, APPLICATION_ID)


def _file_name(name: str) -> str:
    """Return the name of an entry as a part of a file's name, another one for each."""
    return name.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")


def _make(copies: Sequence[_Copy]) -> list[int]:
    """Make all copies before the first replaces a file of its name, and return their sizes in bytes."""
    sizes = []
    with contextlib.ExitStack() as cleaning:
        drafts = []
        for copy in copies:
            with SlowStep(f"copying {printable(str(copy.source))}"), _writing(copy.target):
                # A folder of its own for what SQLite puts beside a file, in which only this user can put anything.
                folder = tempfile.TemporaryDirectory(prefix=f".{copy.target.name}.", dir=copy.target.parent)
                draft = Path(cleaning.enter_context(folder), "draft")
                if others_can_change(draft.parent):
                    message = (
                        f"the copy {copy.target} would be in a folder that other users can change, who could make root "
                        "write to any file: name a folder of root's, or run this as the gateway's user"
                    )
                    raise _WrongName(message)
                draft.touch(0o600)
                copy.write(copy.source, draft)
                sizes.append(_store(draft))
                drafts.append(draft)
        for draft, copy in zip(drafts, copies, strict=True):
            with _writing(copy.target):
                draft.replace(copy.target)
    return sizes


def _store(path: Path) -> int:
    """Write a file to its disk, and return its size in bytes."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"the copy {target} cannot be written: {error.strerror}"
        raise _NotWritten(message) from None


def _check_target(copy: _Copy, own: set[str]) -> None:
    """Raise _WrongName if a copy would replace anything but an older copy of its kind, _NotWritten without access."""
    target = copy.target
    # The name itself and, through links in its folders, the file.
    if os.path.realpath(target) in own:
        message = f"the copy {target} would replace a file of the gateway: name another place"
        raise _WrongName(message)
    with _writing(target):
        try:
            found = target.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISREG(found.st_mode):
            message = f"the copy {target} would replace a link, a folder or a device: name another place"
            raise _WrongName(message)
        if not _is_copy(target, copy.id):
            message = (
                f"the copy {target} would replace a file that is no older copy: name another place, or remove that file"
            )
            raise _WrongName(message)


def _is_copy(path: Path, application_id: int) -> bool:
    """Return whether a file is one of a kind that no gateway has opened, which would have left a lock file."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    is_of_kind = header.startswith(_MAGIC) and int.from_bytes(header[_ID_PLACE]) == application_id
    return is_of_kind and not os.path.lexists(f"{path}.lock")


def _own_files(config: Path, document: object) -> set[str]:
    """Return the files of a gateway: its configuration, states and memory, also of channels that are not enabled."""
    values = []
    match document:
        case {"channels": dict() as channels}:
            values = [entry.get("state") for entry in channels.values() if isinstance(entry, dict)]
    match document:
        case {"agent": {"memoryState": address}}:
            values.append(address)
    addresses = [read_secret(value)[0] for value in values if isinstance(value, str | dict)]
    paths = [path for address in addresses if "\0" not in address and (path := sqlite_path(address))]
    return {os.path.realpath(config), *(path + ending for path in paths for ending in _OWN_ENDINGS)}


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"maven-wecom: {printable(sentence)}\n")
    return code
