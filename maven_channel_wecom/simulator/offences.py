"""The rules that a bot can break. An offence names the rule and the message, and contains no user text."""

from typing import Final, Literal

import msgspec

OffenceKind = Literal[
    "url_check_refused",
    "url_check_wrong_body",
    "url_check_decorated",
    "url_check_slow",
    "wrong_status",
    "slow_answer",
    "unsealed_answer",
    "unexpected_answer",
    "wrong_receive_id",
    "unknown_code",
    "late",
    "second_use",
    "unsafe_repeat",
    "wrong_method",
    "wrong_content_type",
    "malformed_body",
    "encrypted_body",
    "escaped_characters",
    "wrong_message_type",
    "card_in_group",
    "empty",
    "oversized",
    "altered_media_url",
    "wrong_stream_id",
    "blank_frame",
    "changed_after_finish",
    "wrong_feedback_id",
    "unfinished_stream",
    "streamed_event",
    "late_event_answer",
]

OFFENCE_MEANINGS: Final[dict[OffenceKind, str]] = {
    "url_check_refused": "the URL check was not answered with status 200",
    "url_check_wrong_body": "the URL check was not answered with the plaintext of echostr",
    "url_check_decorated": "the URL check was answered with quotes, byte order mark or white space added",
    "url_check_slow": "the URL check was not answered within one second",
    "wrong_status": "a genuine callback was answered with neither 200 nor 503, or a malformed one with a server error",
    "slow_answer": "a callback was not answered in time",
    "unsealed_answer": "the answer to a callback is not an envelope sealed for it",
    "unexpected_answer": "the answer to a callback is none that WeCom documents for it",
    "wrong_receive_id": "the answer to a callback has a receive id different from the callback's",
    "unknown_code": "a reply was sent to a response_url that does not exist",
    "late": "a reply was sent more than an hour after its callback",
    "second_use": "a reply was sent to a response_url that had already been used",
    "unsafe_repeat": "a reply was repeated although it was permanently refused or may have arrived",
    "wrong_method": "a response_url was used with a method other than POST",
    "wrong_content_type": "a reply is not declared as application/json in UTF-8",
    "malformed_body": "a reply is not a JSON object in UTF-8 with the parts that its type needs",
    "encrypted_body": "a reply is an envelope instead of plain JSON",
    "escaped_characters": "a reply has characters as unicode escapes instead of UTF-8",
    "wrong_message_type": "a reply is neither markdown nor a template card",
    "card_in_group": "a template card was sent to a group",
    "empty": "a reply has no content",
    "oversized": "a reply or a frame of a stream has more than 20480 bytes",
    "altered_media_url": "a media URL was requested not exactly as it was sent, which breaks its signature",
    "wrong_stream_id": "a frame has another stream id than was asked for, or than the first answer had",
    "blank_frame": "a frame replaces visible text by nothing, or finishes a stream without visible text",
    "changed_after_finish": "a frame differs from the one that finished its stream",
    "wrong_feedback_id": "a frame has a feedback id of no or more than 256 bytes, or is not the first frame",
    "unfinished_stream": "a stream was not finished when WeCom stopped asking, six minutes after the message",
    "streamed_event": "an event was answered with a stream",
    "late_event_answer": "an event was not answered within five seconds",
}
"""What each kind means, in a sentence for an operator."""


class Offence(msgspec.Struct, frozen=True):
    """One broken rule. `message_id` is empty if no message is concerned."""

    kind: OffenceKind
    message_id: str = ""

    def describe(self) -> str:
        """Return the kind and its meaning, such as `second_use: a reply was sent …`."""
        return f"{self.kind}: {OFFENCE_MEANINGS[self.kind]}"
