"""Tests for what the acknowledgements of callbacks show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from maven_channel_wecom.passive_replies import SUCCESS, PassiveReplies, PassiveReply
from maven_channel_wecom.policy.language import Languages
from maven_channel_wecom.policy.stream import stream_id
from maven_channel_wecom.protocol.callback import Callback, Event, TextItem
from maven_channel_wecom.sentences import MESSAGE_EMPTY, MESSAGE_TYPE_UNKNOWN, VOICE_EMPTY, Sentence
from maven_channel_wecom.telemetry import events
from tests.fakes.streams import WORKING, make_streams

if TYPE_CHECKING:
    from maven_channel_wecom.errors import ExplanationReason
    from maven_channel_wecom.policy.stream import ProgressMode

NONE = Sentence("", "")
WELCOME = Sentence("你好", "Hello")


def message(text: str = "hello", type_: str = "text", **changes: object) -> Callback:
    asked = Callback(
        message_id="m1",
        type=type_,
        chat_id="alice",
        sender_id="alice",
        response_url="https://canary/",
        items=(TextItem(text),),
    )
    return msgspec.structs.replace(asked, **changes)


class Replies:
    """Passive replies and the streams behind them."""

    def __init__(self, progress: ProgressMode, *, text: Sentence = WORKING, welcome: Sentence = WELCOME) -> None:
        languages = Languages(None, ())
        self.streams = make_streams(progress, text=text, languages=languages)
        self.replies = PassiveReplies(
            "wecom",
            progress=progress,
            progress_text=text,
            welcome_text=welcome,
            languages=languages,
            streams=self.streams,
        )

    def to_new_message(self, callback: Callback) -> PassiveReply:
        self.streams.open(callback, 1_700_000_000.0)
        return self.replies.to_message(callback)


class Body(msgspec.Struct):
    """A passive reply that is a stream."""

    stream: dict[str, object]


def stream_of(reply: PassiveReply) -> dict[str, object]:
    return msgspec.json.decode(reply.body, type=Body).stream


@pytest.mark.parametrize("asked", [message(), message("")], ids=["text", "empty"])
def test_in_the_mode_off_a_message_gets_an_empty_reply(asked: Callback) -> None:
    replies = Replies("off")
    assert replies.to_new_message(asked) == SUCCESS
    assert not SUCCESS.is_visible
    assert not replies.replies.explains(asked)


@pytest.mark.parametrize(("text", "shown"), [("hello", "Working"), ("你好", "处理中")])
def test_a_notice_is_one_finished_stream(text: str, shown: str) -> None:
    reply = Replies("notice").to_new_message(message(text))
    assert stream_of(reply) == {"id": stream_id("wecom", "m1"), "finish": True, "content": shown}
    assert reply.is_visible
    assert reply.written is None


def test_a_notice_without_a_text_is_an_empty_reply() -> None:
    assert Replies("notice", text=NONE).to_new_message(message()) == SUCCESS


@pytest.mark.parametrize(("text", "content"), [(WORKING, "Working"), (NONE, "")], ids=["a text", "moving dots"])
def test_in_the_mode_stream_a_message_gets_the_first_frame(text: Sentence, content: str) -> None:
    reply = Replies("stream", text=text).to_new_message(message())
    assert stream_of(reply) == {"id": stream_id("wecom", "m1"), "finish": False, "content": content}
    assert reply.is_visible


def test_a_repeated_message_whose_stream_is_over_gets_an_empty_reply() -> None:
    assert Replies("stream").replies.to_message(message()) == SUCCESS


@pytest.mark.parametrize("progress", ["notice", "stream"])
@pytest.mark.parametrize(
    ("asked", "reason", "sentence"),
    [
        (message(""), "empty_message", MESSAGE_EMPTY),
        (message("\u200b", "voice"), "empty_message", VOICE_EMPTY),
        (message("", "unheard_of", items=()), "unknown_type", MESSAGE_TYPE_UNKNOWN),
    ],
    ids=["empty", "voice", "unknown type"],
)
def test_a_sentence_that_is_known_at_once_is_a_finished_stream(
    progress: ProgressMode, asked: Callback, reason: ExplanationReason, sentence: Sentence
) -> None:
    replies = Replies(progress)
    reply = replies.to_new_message(asked)
    assert stream_of(reply) == {"id": stream_id("wecom", "m1"), "finish": True, "content": sentence.zh}
    assert reply.reported == events.PersonExplained(message_id="m1", reason=reason)
    assert replies.replies.explains(asked)
    assert not replies.replies.explains(message())


def entry(type_: str = "enter_chat") -> Callback:
    return Callback(message_id="e1", type="event", sender_id="alice", chat_id="alice", event=Event(type_, {}))


@pytest.mark.parametrize("progress", ["off", "notice", "stream"])
def test_a_person_who_enters_is_welcomed_in_every_mode(progress: ProgressMode) -> None:
    reply = Replies(progress).replies.to_event(entry())
    assert msgspec.json.decode(reply.body) == {"msgtype": "text", "text": {"content": "你好"}}
    assert reply.reported == events.PersonWelcomed(message_id="e1")


def test_without_a_welcome_an_entry_gets_an_empty_reply() -> None:
    assert Replies("stream", welcome=NONE).replies.to_event(entry()) == SUCCESS


def test_another_event_gets_an_empty_reply() -> None:
    assert Replies("stream").replies.to_event(entry("feedback_event")) == SUCCESS


def test_a_sentence_of_another_part_is_a_finished_stream_of_its_message() -> None:
    reply = Replies("stream").replies.sentence(message(), "Sorry")
    assert stream_of(reply) == {"id": stream_id("wecom", "m1"), "finish": True, "content": "Sorry"}


def test_no_text_is_in_the_representation_of_a_reply() -> None:
    assert "Sorry" not in repr(Replies("stream").replies.sentence(message(), "Sorry"))
