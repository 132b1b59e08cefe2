"""Every reason of a failed request or download has a sentence."""

from __future__ import annotations

from typing import get_args

from maven_channel_wecom.egress import media_client, reasons
from maven_channel_wecom.errors import DownloadFailure, LostReason, NotSentReason


def test_every_reason_of_a_request_that_was_not_sent_has_a_sentence() -> None:
    assert set(reasons.NOT_SENT) == set(get_args(NotSentReason))


def test_every_reason_of_a_lost_answer_has_a_sentence() -> None:
    assert set(reasons.LOST) == set(get_args(LostReason))


def test_every_reason_of_a_failed_download_has_a_sentence() -> None:
    assert set(media_client.SENTENCES) == set(get_args(DownloadFailure))
