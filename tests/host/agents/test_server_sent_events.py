"""The parser of server-sent events: the rules of the HTML standard, and chunks cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maven_channel_wecom.host.agents.server_sent_events import EventParser, ServerSentEvent


def parsed(*chunks: bytes) -> list[tuple[str, str]]:
    parser = EventParser()
    return [(event.name, event.data.decode()) for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [("message", "a")]),
        (b"data:a\r\n\r\n", [("message", "a")]),
        (b"data: a\r\r", [("message", "a")]),
        (b"data: a\rdata: b\r\n\n", [("message", "a\nb")]),
        (b"data:  a \n\n", [("message", " a ")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [("x", "a"), ("message", "b")]),
        (b"data: a: b\n\n", [("message", "a: b")]),
        (b": comment\ndata: a\n\n", [("message", "a")]),
        (b"event: x\n\n", []),
        (b"data\n\ndata\ndata\n\ndata:", [("message", ""), ("message", "\n")]),
        (b"id: 1\nretry: 5\nother: 2\ndata: a\n\n", [("message", "a")]),
        (b" data: a\n\n", []),
        (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", [("message", "a")]),
        (b"data: a\n", []),
        (b"", []),
    ],
    ids=range(15),
)
def test_a_stream_is_parsed_as_the_standard_specifies(stream: bytes, events: list[tuple[str, str]]) -> None:
    assert parsed(stream) == events


STREAM = "event: x\r\ndata: 企业微信\r\ndata: 😀\r\n\r\n: c\rdata: b\r\rdata: c\n\n".encode()
EVENTS = [("x", "企业微信\n😀"), ("message", "b"), ("message", "c")]


def test_a_stream_cut_into_bytes_has_the_same_events() -> None:
    assert parsed(*(STREAM[index : index + 1] for index in range(len(STREAM)))) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_cuts_anywhere_do_not_change_the_events(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert parsed(*(STREAM[a:b] for a, b in pairwise(edges))) == EVENTS


@given(st.lists(st.binary(max_size=50)))
def test_arbitrary_bytes_raise_no_error(chunks: list[bytes]) -> None:
    parser = EventParser()
    for chunk in chunks:
        parser.feed(chunk)


@pytest.mark.parametrize(
    "stream", [b"data: " + b"a" * 20, b"data: aaaaaa\n" * 3, b"data: " + b"a" * 60], ids=["one line", "lines", "long"]
)
@pytest.mark.parametrize("size", [1, 7, 16, 100])
def test_an_event_above_the_limit_loses_its_data_and_nothing_else(stream: bytes, size: int) -> None:
    parser = EventParser(max_event_bytes=16)
    whole = b"event: x\n" + stream + b"\n\ndata: b\n\n"
    events = [event for start in range(0, len(whole), size) for event in parser.feed(whole[start : start + size])]
    assert events == [ServerSentEvent("x", b"", oversized=True), ServerSentEvent("message", b"b")]
    assert [event.named for event in events] == [True, False]


def test_the_limit_applies_to_one_event_and_not_to_the_stream() -> None:
    parser = EventParser(max_event_bytes=16)
    assert sum(len(parser.feed(b"data: abc\n\n")) for _ in range(100)) == 100


def test_the_repr_of_an_event_does_not_show_its_data() -> None:
    assert "secret" not in repr(ServerSentEvent("message", b"secret"))
