"""The scenes of the demo. Each sends something, waits for what comes back, and says which rule that shows.

They fit any bot that answers with the text it got and describes pictures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.protocol import limits
from maven_channel_wecom.simulator.faults import Errcode
from maven_channel_wecom.simulator.messages import Image, Text, Voice
from maven_channel_wecom.simulator.picture import draw_png

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom

_FILLER = "A long answer. "
_LONG_BYTES = 30_000


class Shown(msgspec.Struct, frozen=True):
    """One line of the demo; `held` says whether the rule did."""

    sent: str
    back: str
    rule: str
    held: bool


async def url_check(wecom: SimulatedWeCom) -> Shown:
    """The console saves the callback URL."""
    check = await wecom.check_url()
    back = f"status {check.status} in {_milliseconds(check.elapsed_seconds)}"
    return Shown("the console's URL check", back, "the bare plaintext of echostr, within one second", check.passed)


async def text(wecom: SimulatedWeCom) -> Shown:
    """One question, one answer."""
    sent = await wecom.send(Text("hello Maven"))
    reply = await sent.reply()
    back = f'"{reply.content}", acknowledged in {_milliseconds(sent.elapsed_seconds)}'
    held = sent.acknowledgement == b'"success"' and "hello Maven" in reply.content
    return Shown('"hello Maven"', back, "a sealed acknowledgement first, the answer by response_url", held)


async def voice(wecom: SimulatedWeCom) -> Shown:
    """A transcript."""
    reply = await (await wecom.send(Voice("what did I say"))).reply()
    held = "what did I say" in reply.content
    return Shown('voice: "what did I say"', f'"{reply.content}"', "a voice message is its transcript", held)


async def picture(wecom: SimulatedWeCom) -> Shown:
    """An encrypted picture."""
    content = draw_png(32, 32)
    reply = await (await wecom.send(Image(content, "gradient.png"))).reply()
    held = "image/png" in reply.content and str(len(content)) in reply.content
    sent = f"an encrypted PNG of {len(content)} bytes"
    return Shown(sent, reply.content, "opened with the bot's key, its type told by its bytes", held)


async def duplicate(wecom: SimulatedWeCom) -> Shown:
    """The same message again, in a new envelope."""
    sent = await wecom.send(Text("only once"))
    await sent.reply()
    again = await wecom.redeliver(sent)
    # Messages of one chat are taken in order: once this is answered, the duplicate would have been.
    await (await wecom.send(Text("and then"))).reply()
    posts = wecom.recorded.posts[sent.message_id]
    held = posts == 1 and again.acknowledgement == sent.acknowledgement
    back = f"acknowledged twice, answered {'once' if posts == 1 else f'{posts} times'}"
    return Shown('"only once", delivered twice', back, "one msgid is one message, whatever its envelope", held)


async def two_people(wecom: SimulatedWeCom) -> Shown:
    """Two people of one group at the same moment."""
    questions = {"bob": "bob's question", "carol": "carol's question"}
    sent = await asyncio.gather(
        *(wecom.send(Text(f"@Maven {words}"), user=user, group="wr1") for user, words in questions.items())
    )
    first, second = await asyncio.gather(*(each.reply() for each in sent))
    held = "bob" in first.content and "carol" in second.content
    held = held and "carol" not in first.content and "bob" not in second.content
    back = "each got their own" if held else "the answers were mixed up"
    return Shown("two people in a group at once", back, "every message has a reply window of its own", held)


async def mention(wecom: SimulatedWeCom) -> Shown:
    """A group message begins with the bot's name."""
    reply = await (await wecom.send(Text("@Maven /status"), user="bob", group="wr1")).reply()
    held = "/status" in reply.content and "@Maven" not in reply.content
    return Shown('group: "@Maven /status"', f'"{reply.content}"', "the mention is stripped, so commands match", held)


async def transient_error(wecom: SimulatedWeCom) -> Shown:
    """WeCom is busy twice."""
    message_id = wecom.new_message_id()
    wecom.reply_faults.add(Errcode(-1), Errcode(6000), message_id=message_id)
    reply = await (await wecom.send(Text("try again"), message_id=message_id)).reply()
    posts = wecom.recorded.posts[message_id]
    back = f"{posts} POSTs in {reply.after_seconds:.1f} s, one accepted"
    rule = "repeated only while WeCom surely did not take it"
    return Shown('"try again", busy twice', back, rule, posts == 3)  # noqa: PLR2004  # two failures and a yes


async def long_answer(wecom: SimulatedWeCom) -> Shown:
    """An answer beyond WeCom's limit."""
    question = (_FILLER * (_LONG_BYTES // len(_FILLER) + 1))[:_LONG_BYTES]
    reply = await (await wecom.send(Text(question))).reply()
    size = len(reply.content.encode())
    announced = not question.startswith(reply.content)
    back = f"{size} bytes, {'the cut announced' if announced else 'cut without a word'}"
    rule = f"at most {limits.MARKDOWN_BYTES} bytes, and the reader is told"
    return Shown(f"{_LONG_BYTES} bytes to repeat", back, rule, announced and size <= limits.MARKDOWN_BYTES)


Scene = Callable[["SimulatedWeCom"], Awaitable[Shown]]
SCENES: Final[tuple[Scene, ...]] = (
    url_check,
    text,
    voice,
    picture,
    duplicate,
    two_people,
    mention,
    transient_error,
    long_answer,
)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
