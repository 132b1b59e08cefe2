"""The results of sending a callback or a URL check."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from maven_channel_wecom.simulator.acknowledgements import welcome_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from maven_channel_wecom.simulator.bubbles import Bubble, BubbleFrame
    from maven_channel_wecom.simulator.callbacks import SealedRequest
    from maven_channel_wecom.simulator.http_client import HttpAnswer
    from maven_channel_wecom.simulator.offences import OffenceKind
    from maven_channel_wecom.simulator.recorded import Reply
    from maven_channel_wecom.simulator.replies import Replies

_OK = 200
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True, repr=False)
class SentCallback:
    """One callback and its answer.

    `status` is 0 if no answer arrived. `acknowledgement` is the plaintext of the answer, None if there was none or it
    could not be opened. `genuine` is false if the bot should refuse the callback. `sent_at` is the time of the
    simulator's steady clock when the callback was sent for the first time.
    """

    message_id: str
    status: int
    acknowledgement: bytes | None
    elapsed_seconds: float
    genuine: bool
    plaintext: bytes
    request: SealedRequest
    sent_at: float
    replies: Replies
    bubbles: Mapping[str, Bubble]

    @property
    def acknowledged(self) -> bool:
        """Whether the bot acknowledged the callback: WeCom does not send it again."""
        return self.status == _OK

    @property
    def welcome(self) -> str | None:
        """The text with which the bot greeted a person who entered the chat, None if it did not."""
        return welcome_text(self.acknowledgement or b"")

    @property
    def bubble(self) -> Bubble | None:
        """The bubble of the streamed answer, None if no answer to this message was a stream."""
        return self.bubbles.get(self.message_id)

    async def reply(self, within_seconds: float = 10.0) -> Reply:
        """Wait for the accepted reply to this message.

        Raises:
            TimeoutError: no reply was accepted in time.
            LookupError: the message was sent without a response_url.
        """
        try:
            async with asyncio.timeout(within_seconds):
                return await self.replies.accepted(self.message_id)
        except TimeoutError:
            text = f"no reply to message {self.message_id} was accepted within {within_seconds:g} seconds"
            raise TimeoutError(text) from None

    async def bubble_finished(self, within_seconds: float = 10.0) -> Bubble:
        """Wait for the end of the streamed answer to this message.

        Raises:
            TimeoutError: it was not finished in time.
            LookupError: the message was not answered with a stream.
        """
        bubble = self.bubble
        if bubble is None:
            text = f"message {self.message_id} was not answered with a stream"
            raise LookupError(text)
        try:
            async with asyncio.timeout(within_seconds):
                await bubble.finished()
        except TimeoutError:
            text = f"the stream for message {self.message_id} was not finished within {within_seconds:g} seconds"
            raise TimeoutError(text) from None
        return bubble

    async def answer(self, within_seconds: float = 10.0) -> str:
        """Wait until the person has an answer, and return its text.

        It is the accepted reply or the finished bubble, whichever comes first. The protocol does not tell whether a
        finished bubble holds the answer, or a notice or a sentence that the answer follows: a test that expects one of
        these waits for `reply` instead.

        Raises:
            TimeoutError: neither came in time.
            LookupError: the message was sent without a response_url.
        """
        waits = [asyncio.create_task(_content(self.replies.accepted(self.message_id)))]
        if self.bubble is not None:
            waits.append(asyncio.create_task(_content(self.bubble.finished())))
        try:
            done, _ = await asyncio.wait(waits, timeout=within_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not done:
            text = f"message {self.message_id} had no answer within {within_seconds:g} seconds"
            raise TimeoutError(text)
        return done.pop().result()

    def __repr__(self) -> str:
        return f"<SentCallback {self.message_id}, status {self.status}>"


class UrlCheckResult(msgspec.Struct, frozen=True):
    """The console's verdict on a callback URL. `offence` is None if it may be saved."""

    status: int
    elapsed_seconds: float
    offence: OffenceKind | None = None

    @property
    def passed(self) -> bool:
        """Whether the URL may be saved."""
        return self.offence is None

    @classmethod
    def judge(cls, answer: HttpAnswer, echo: bytes) -> UrlCheckResult:
        """Compare an answer with the plaintext of `echostr` (101033: no quotes, no byte order mark, no newline)."""
        return cls(answer.status, answer.elapsed_seconds, _offence(answer, echo))


async def _content(shown: Awaitable[Reply | BubbleFrame]) -> str:
    return (await shown).content


def _offence(answer: HttpAnswer, echo: bytes) -> OffenceKind | None:
    if answer.timed_out:
        return "url_check_slow"
    if answer.status != _OK:
        return "url_check_refused"
    if answer.body == echo:
        return None
    bare = answer.body.removeprefix(_BYTE_ORDER_MARK).strip().strip(b"\"'").strip()
    return "url_check_decorated" if bare == echo else "url_check_wrong_body"
