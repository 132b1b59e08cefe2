"""What is recorded of one message."""

from __future__ import annotations

import msgspec

from maven_channel_wecom.playground.records import MAX_REFRESHES, MessageRecord
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator.callbacks import SealedRequest
from maven_channel_wecom.simulator.exchanges import CallbackExchange, ReplyExchange
from maven_channel_wecom.simulator.http_client import HttpAnswer


def exchange() -> CallbackExchange:
    return CallbackExchange(
        message_id="m",
        kind="message",
        plaintext=b"canary",
        request=SealedRequest(query="", body=b"", nonce="1", timestamp=1, credentials=Credentials("t", bytes(32))),
        answer=HttpAnswer(status=200),
    )


def test_exchanges_are_kept_by_their_kind() -> None:
    record = MessageRecord(sent_at=1_000.0, has_window=True)
    refresh = msgspec.structs.replace(exchange(), kind="refresh")
    reply = ReplyExchange(message_id="m", body=b"", status=0, answer=b"", after_seconds=1.0)
    for each in (exchange(), refresh, reply):
        record.add(each)
    assert (record.callbacks, list(record.refreshes), record.replies) == ([exchange()], [refresh], [reply])


def test_of_many_refreshes_the_newest_are_kept_and_all_are_counted() -> None:
    record = MessageRecord(sent_at=0.0, has_window=True)
    for _ in range(MAX_REFRESHES + 5):
        record.add(msgspec.structs.replace(exchange(), kind="refresh"))
    assert (len(record.refreshes), record.refresh_count) == (MAX_REFRESHES, MAX_REFRESHES + 5)


def test_the_size_is_that_of_what_is_kept() -> None:
    record = MessageRecord(sent_at=0.0, has_window=True)
    record.add(exchange())
    record.add(ReplyExchange(message_id="m", body=b"12", status=200, answer=b"345", after_seconds=1.0))
    assert record.size_bytes == len(b"canary") + 5
    answered = msgspec.structs.replace(
        exchange(), kind="refresh", answer=HttpAnswer(status=200, body=b"sealed"), opened=b"open"
    )
    for _ in range(MAX_REFRESHES + 5):
        record.add(answered)
    assert record.size_bytes == len(b"canary") + 5 + MAX_REFRESHES * len(b"canary sealed open".replace(b" ", b""))


def test_the_window_ends_after_an_hour() -> None:
    assert MessageRecord(sent_at=1_000.0, has_window=True).window_ends_at == 4_600.0


def test_the_repr_of_an_exchange_shows_no_text() -> None:
    assert "canary" not in repr(exchange())
