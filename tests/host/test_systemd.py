"""What a host tells systemd."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.host import systemd

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_that_the_host_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, abstract: bool
) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(f"\0{path}" if abstract else path)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{path}" if abstract else path)
        systemd.report_ready()
        assert notified.recv(100, socket.MSG_DONTWAIT) == b"READY=1"


def test_a_receiver_that_reads_nothing_does_not_hold_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending,
    ):
        notified.bind(path)
        sending.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                sending.sendto(b"STATUS=full", path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        reporting = threading.Thread(target=systemd.report_ready, daemon=True)
        reporting.start()
        reporting.join(10)
        assert not reporting.is_alive()


@pytest.mark.parametrize("address", ["", "@", "/nowhere/notify", "/" + "x" * 200, "@" + "x" * 200, "vsock:2:1"])
def test_a_host_that_systemd_does_not_wait_for_tells_it_nothing(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.report_ready()


def test_only_the_stream_that_systemd_connected_is_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "journal").open("w") as journal, (tmp_path / "file").open("w") as file:
        assert not systemd.is_journal(journal)
        status = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert systemd.is_journal(journal)
        assert not systemd.is_journal(file)
    assert not systemd.is_journal(journal)


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.DEBUG, 7),
        (logging.INFO, 6),
        (logging.WARNING, 4),
        (logging.ERROR, 3),
        (logging.CRITICAL, 2),
        (logging.INFO + 1, 6),
    ],
)
def test_each_line_in_the_journal_has_the_priority_of_its_level(level: int, priority: int) -> None:
    record = logging.LogRecord("name", level, "path", 1, "event\n    trace", None, None)
    lines = systemd.JournalLines(logging.Formatter()).format(record)
    assert lines == f"<{priority}>event\n<{priority}>    trace"
