"""What is said about the console's URL check, from the log lines of the gateway."""

from __future__ import annotations

import asyncio
import logging

import pytest

from maven_channel_wecom.setup.url_check_watch import UrlCheckWatch


def record(text: str, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": text, "levelno": logging.INFO, "fields": fields})
    assert made.getMessage() == text
    return made


def watch(printed: list[str], patience_seconds: float = 60.0) -> UrlCheckWatch:
    return UrlCheckWatch(printed.append, path="/p", hint="Look.", patience_seconds=patience_seconds)


async def test_a_passed_check_is_told_once_and_nothing_after_it() -> None:
    printed: list[str] = []
    handler = watch(printed)
    for text in ("gateway channels started", "wecom callback url checked", "wecom callback url checked"):
        handler.emit(record(text))
    handler.emit(record("wecom callback rejected", reason="signature"))
    assert [line.partition(":")[0] for line in printed] == [
        "Now save (保存) in the console; this waits for the URL check.",
        "The URL check passed",
    ]


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
def test_each_reason_why_it_did_not_pass_is_told_once(reason: str, cause: str) -> None:
    printed: list[str] = []
    handler = watch(printed)
    for _ in range(2):
        handler.emit(record("wecom request rejected", reason=reason))
    (line,) = printed
    assert line.startswith(f"No URL check passed yet: {cause}")


async def test_if_no_request_arrives_the_hint_is_printed() -> None:
    hinted = asyncio.Event()
    printed: list[str] = []

    def print_line(line: str) -> None:
        printed.append(line)
        if line.endswith("Look."):
            hinted.set()

    handler = UrlCheckWatch(print_line, path="/p", hint="Look.", patience_seconds=0.0)
    handler.emit(record("gateway channels started"))
    async with asyncio.timeout(30):
        await hinted.wait()
    assert printed[-1] == "No request arrived within 0 s. Look."


async def test_after_a_passed_check_there_is_no_hint() -> None:
    printed: list[str] = []
    handler = watch(printed, patience_seconds=0.0)
    handler.emit(record("gateway channels started"))
    handler.emit(record("wecom callback url checked"))
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, later.set)
    await later.wait()
    assert not any("No request" in line for line in printed)
