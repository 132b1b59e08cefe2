"""The console's verdict on the answer to a URL check."""

from __future__ import annotations

import pytest

from maven_channel_wecom.simulator.http_client import HttpAnswer
from maven_channel_wecom.simulator.sent import UrlCheckResult

ECHO = b"1234567890"


def answer(status: int, body: bytes = b"", *, timed_out: bool = False) -> HttpAnswer:
    return HttpAnswer(status=status, body=body, elapsed_seconds=0.1, timed_out=timed_out)


def test_the_bare_echo_passes() -> None:
    assert UrlCheckResult.judge(answer(200, ECHO), ECHO).passed


@pytest.mark.parametrize(
    ("given", "offence"),
    [
        (answer(0, timed_out=True), "url_check_slow"),
        (answer(401), "url_check_refused"),
        (answer(200, b'"' + ECHO + b'"'), "url_check_decorated"),
        (answer(200, ECHO + b"\n"), "url_check_decorated"),
        (answer(200, b"\xef\xbb\xbf" + ECHO), "url_check_decorated"),
        (answer(200, b"ok"), "url_check_wrong_body"),
    ],
)
def test_every_other_answer_is_an_offence(given: HttpAnswer, offence: str) -> None:
    check = UrlCheckResult.judge(given, ECHO)
    assert (check.passed, check.offence) == (False, offence)
