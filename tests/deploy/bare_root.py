"""Runs what the image runs, in a root file system that holds only /usr, an interpreter with its libraries, and /proc.

python -m tests.deploy.bare_root FOLDER USER PATH=SOURCE … -- ENTRYPOINT … -- HEALTHCHECK …

It must be started in new mount and network namespaces. It copies each SOURCE, a file or a folder, to PATH, makes
everything read-only, becomes USER, starts the entry point, waits for the health check to pass, sends SIGTERM, and exits
with the code of the entry point.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

_GET_FLAGS = 0x8913
_SET_FLAGS = 0x8914
_UP = 0x1
_START_SECONDS = 30


def main() -> int:
    """Run the image's commands and return the exit code of the entry point."""
    parts = [list(group) for is_end, group in itertools.groupby(sys.argv[1:], "--".__eq__) if not is_end]
    (folder, user, *files), entry_point, health_check = parts
    _start_loopback()
    root = Path(folder)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root)
    for place in ("/usr", "/proc", "/dev", sys.base_prefix, sys.prefix):
        _bind(Path(place), root)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name, _, source in (each.partition("=") for each in files):
        target = root / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if Path(source).is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
            target.chmod(0o444)
    mount("-o", "remount,ro", root)
    os.chroot(root)
    os.chdir("/")
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
    return _run(entry_point, health_check)


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
