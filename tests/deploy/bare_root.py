"""Runs the last stage of the Dockerfile in a root with only /usr, an interpreter with its libraries, and /proc.

python -m tests.deploy.bare_root STAGE

It must be started by root in new mount and network namespaces. STAGE is a `Stage` as JSON. The entry point runs as its
user, without write access to anything. When the health check has passed, it gets SIGTERM, and this program exits with
its exit code.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import msgspec

_ACCOUNTS = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "group": "root:x:0:\n",
    "shadow": "root:*:::::::\n",
    "gshadow": "root:*::\n",
}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_GET_FLAGS = 0x8913
_SET_FLAGS = 0x8914
_UP = 0x1
_START_SECONDS = 30


class Stage(msgspec.Struct):
    """What is done in the root.

    Args:
        root: an empty folder.
        files: files and folders to copy, keyed by their path in the root.
        run: the commands of RUN instructions.
        user: the ids of user and group, as in `10001:10001`.
        folder: the working directory.
        entry_point: the program and its arguments.
        health_check: the same of the health check.
    """

    root: str
    files: dict[str, str]
    run: list[str]
    user: str
    folder: str
    entry_point: list[str]
    health_check: list[str]


def main() -> int:
    """Run the stage and return the exit code of the entry point."""
    stage = msgspec.json.decode(sys.argv[1], type=Stage)
    _start_loopback()
    root = Path(stage.root)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root)
    for place in ("/usr", "/proc", "/dev", sys.base_prefix, sys.prefix):
        _bind(Path(place), root)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "etc").mkdir()
    for name, text in _ACCOUNTS.items():
        (root / "etc" / name).write_text(text, encoding="utf-8")
    for name, source in stage.files.items():
        _copy(Path(source), root / name.lstrip("/"))
    for command in stage.run:
        shell = ["/usr/sbin/chroot", stage.root, "/bin/sh", "-c", command]
        subprocess.run(shell, env={"PATH": _PATH}, capture_output=True, check=True)  # noqa: S603 - the Dockerfile's words
    mount("-o", "remount,ro", root)
    os.chroot(root)
    _become(*map(int, stage.user.split(":")))
    os.chdir(stage.folder)
    return _run(stage.entry_point, stage.health_check)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)
        target.chmod(0o444)


def _become(user: int, group: int) -> None:
    account = pwd.getpwuid(user)
    if account.pw_gid != group:
        message = f"the group of user {user} is {account.pw_gid}, not {group}"
        raise RuntimeError(message)
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)


def mount(*arguments: str | Path) -> None:
    """Run the command `mount`."""
    subprocess.run(["/bin/mount", *map(str, arguments)], check=True)  # noqa: S603 - the tests' own words


def _bind(place: Path, root: Path) -> None:
    target = root / str(place).lstrip("/")
    if not (target / "bin").exists():
        target.mkdir(parents=True, exist_ok=True)
        mount("--rbind", place, target)


def _start_loopback() -> None:
    with socket.socket() as probe:
        name = b"lo".ljust(16, b"\0")
        (flags,) = struct.unpack_from("h", fcntl.ioctl(probe, _GET_FLAGS, name + bytes(16)), 16)
        fcntl.ioctl(probe, _SET_FLAGS, name + struct.pack("h", flags | _UP) + bytes(14))


def _run(entry_point: list[str], health_check: list[str]) -> int:
    with subprocess.Popen(entry_point) as process:  # noqa: S603 - the Dockerfile's words
        deadline = time.monotonic() + _START_SECONDS
        while subprocess.run(health_check, stderr=subprocess.DEVNULL, check=False).returncode:  # noqa: S603 - the same
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                sys.stderr.write("the health check never passed\n")
                return 1
        process.send_signal(signal.SIGTERM)
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
