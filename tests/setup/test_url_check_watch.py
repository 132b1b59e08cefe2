"""What is said about the console's URL check, from the log lines of the gateway."""

from __future__ import annotations

import asyncio
import logging
import sys

import pytest

from maven_channel_wecom.host.log_stream import LogStream
from maven_channel_wecom.setup.url_check_watch import UrlCheckWatch


def record(text: str, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": text, "levelno": logging.INFO, "fields": fields})
    assert made.getMessage() == text
    return made


async def log_written() -> None:
    """Wait until the records of this iteration are written, and what is printed after them."""
    for _ in range(3):
        await asyncio.sleep(0)


def watch(printed: list[str], reminder_seconds: float = 60.0) -> UrlCheckWatch:
    return UrlCheckWatch(printed.append, path="/p", hint="Look.", reminder_seconds=reminder_seconds)


async def test_a_passed_check_is_told_once_and_nothing_after_it() -> None:
    printed: list[str] = []
    handler = watch(printed)
    for text in ("gateway channels started", "wecom callback url checked", "wecom callback url checked"):
        handler.emit(record(text))
    handler.emit(record("wecom callback rejected", reason="signature"))
    await log_written()
    assert printed == [
        "Now save (保存) in the console; this waits for the URL check.",
        "A URL check passed. If it was the console's, write to the bot now.",
    ]


async def test_to_save_is_asked_for_after_the_line_that_the_bot_listens(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("test_url_check_watch")
    logger.propagate = False
    # A child's handlers get a record first.
    handlers = (UrlCheckWatch(print, path="/p", hint=""), LogStream(sys.stdout))
    logger.setLevel(logging.INFO)
    for handler in handlers:
        logger.addHandler(handler)
    logger.info("gateway channels started")
    await log_written()
    for handler in handlers:
        logger.removeHandler(handler)
    assert [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()] == ["gateway", "Now"]


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("signature", "a request is signed with another token"),
        ("undecipherable", "the Token is right, but EncodingAESKey"),
        ("path", "a request for another path arrived: the URL in the console and your reverse proxy must keep /p"),
        ("tls", "a request that is not plain HTTP/1.1 arrived"),
        ("malformed", "a request was rejected, reason malformed"),
    ],
)
async def test_each_reason_why_it_did_not_pass_is_told_once(reason: str, cause: str) -> None:
    printed: list[str] = []
    handler = watch(printed)
    for _ in range(2):
        handler.emit(record("wecom request rejected", reason=reason))
    await log_written()
    (line,) = printed
    assert line.startswith(f"No URL check passed yet: {cause}")


async def test_if_no_request_arrives_the_hint_is_printed() -> None:
    hinted = asyncio.Event()
    printed: list[str] = []

    def print_line(line: str) -> None:
        printed.append(line)
        if line.endswith("Look."):
            hinted.set()

    handler = UrlCheckWatch(print_line, path="/p", hint="Look.", reminder_seconds=0.0)
    handler.emit(record("gateway channels started"))
    async with asyncio.timeout(30):
        await hinted.wait()
    assert "No request arrived within 0 s. Look." in printed


async def test_after_a_passed_check_there_is_no_hint() -> None:
    printed: list[str] = []
    handler = watch(printed, reminder_seconds=0.0)
    handler.emit(record("gateway channels started"))
    handler.emit(record("wecom callback url checked"))
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, later.set)
    await later.wait()
    assert not any("No request" in line for line in printed)
