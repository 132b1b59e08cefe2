"""What a bot can do wrong in front of WeCom. An offence says which rule and which message, and nothing a user wrote."""

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
]

OFFENCE_MEANINGS: Final[dict[OffenceKind, str]] = {
    "url_check_refused": "the URL check was not answered with status 200",
    "url_check_wrong_body": "the URL check was not answered with the plaintext of echostr",
    "url_check_decorated": "the URL check was answered with quotes, byte order mark or white space added",
    "url_check_slow": "the URL check was not answered within one second",
    "wrong_status": "a genuine callback was answered with neither 200 nor 503, or a malformed one with a server error",
    "slow_answer": "a callback was not answered in time",
    "unsealed_answer": "the answer to a callback is not an envelope sealed for it",
    "unexpected_answer": "the answer to a callback is none of the empty replies",
    "wrong_receive_id": "the answer to a callback does not give back its receive id",
    "unknown_code": "a reply was sent to a response_url that was never given out",
    "late": "a reply was sent more than an hour after its callback",
    "second_use": "a reply was sent to a response_url that had taken one",
    "unsafe_repeat": "a reply was repeated although it was refused for good or may have arrived",
    "wrong_method": "a response_url was used with another method than POST",
    "wrong_content_type": "a reply is not declared as application/json in UTF-8",
    "malformed_body": "a reply is not a JSON object in UTF-8 with the parts its type needs",
    "encrypted_body": "a reply is an envelope, where plain JSON is wanted",
    "escaped_characters": "a reply spells characters as unicode escapes, where raw UTF-8 is wanted",
    "wrong_message_type": "a reply is neither markdown nor a template card",
    "card_in_group": "a template card was sent to a group",
    "empty": "a reply has no content",
    "oversized": "a reply has more than 20480 bytes",
    "altered_media_url": "a media URL was not requested as it was sent, which breaks its signature",
}
"""Each kind in a sentence for an operator."""


class Offence(msgspec.Struct, frozen=True):
    """One thing done wrong. `message_id` is empty when no message is concerned."""

    kind: OffenceKind
    message_id: str = ""

    def describe(self) -> str:
        """Return one sentence, such as `second_use: a reply was sent …`."""
        return f"{self.kind}: {OFFENCE_MEANINGS[self.kind]}"
