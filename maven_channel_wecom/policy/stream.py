"""Streams: their ids and times, and the frame that ends one before its answer is there."""

import hashlib
from typing import Final, Literal

import msgspec

from maven_channel_wecom.policy.rendering import append_notice

ProgressMode = Literal["off", "notice", "stream"]
"""What a person sees of an answer before it is complete: nothing, one sentence, or the text as it grows."""

_ID_BYTES: Final = 16


class StreamTimes(msgspec.Struct, frozen=True):
    """The times of streams in seconds. Only tests and the demo change them.

    Attributes:
        life: from the arrival of a message to the end of its stream. WeCom asks for six minutes from the moment the
            message was sent (100719). Lower: more answers arrive as a message of their own. Higher: WeCom may stop
            asking before it is told the end, and shows an error of its own.
        fetch: from the end of a turn until the answer goes out through the `response_url`, if no refresh fetched it.
            Lower: an answer appears twice if refreshes are merely slow. Higher: it is later if they have stopped.
        repeat: for which a last frame is given again, because its first answer may have been lost.
        share: between two writes of a growing text to a state that other processes read.
        poll: between two questions whether another process gave out a last frame.
        closing: from the end of the open streams to the end of a stop that waits for messages in progress.
    """

    life: float = 330.0
    fetch: float = 8.0
    repeat: float = 60.0
    share: float = 1.0
    poll: float = 0.25
    closing: float = 2.0

    @property
    def forgotten(self) -> float:
        """From the arrival of a message until nothing is known of its stream, which WeCom no longer asks for."""
        return self.life + self.repeat


def stream_id(channel: str, message_id: str) -> str:
    """Return the id of the stream that answers a message, 32 hex digits.

    It depends on the arguments alone. So a repeated callback names the same stream, in every process.
    """
    name = f"{channel}\0{message_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(name, digest_size=_ID_BYTES, person=b"wecom stream").hexdigest()


def broken_off(content: str, sentence: str) -> str:
    """Return the last frame of a stream that ends before its answer: the text so far, if any, and a sentence."""
    return append_notice(content, f"\n\n> {sentence}") if content else sentence
