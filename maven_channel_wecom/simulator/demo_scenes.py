"""The scenes of the demo. Each sends a callback, waits for the answer, and returns whether a rule was kept.

They work with any bot that answers with the text it received and describes pictures, and those of `STREAM_SCENES` with
one that streams the answers of a counting agent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from textwrap import shorten
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.protocol import limits
from maven_channel_wecom.simulator.faults import Errcode
from maven_channel_wecom.simulator.messages import EnterChat, Image, Text, Voice
from maven_channel_wecom.simulator.picture import draw_png

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom

_FILLER = "A long answer. "
_LONG_BYTES = 30_000


class SceneResult(msgspec.Struct, frozen=True):
    """One line of the demo. `passed` is whether the bot kept the rule."""

    sent: str
    received: str
    rule: str
    passed: bool


async def url_check(wecom: SimulatedWeCom) -> SceneResult:
    """Check the callback URL as the console does before it saves it."""
    check = await wecom.check_url()
    received = f"status {check.status} in {_milliseconds(check.elapsed_seconds)}"
    return SceneResult(
        "the console's URL check", received, "the bare plaintext of echostr, within one second", check.passed
    )


async def text(wecom: SimulatedWeCom) -> SceneResult:
    """Send one text and expect one answer."""
    sent = await wecom.send(Text("hello Maven"))
    reply = await sent.reply()
    received = f'"{reply.content}", acknowledged in {_milliseconds(sent.elapsed_seconds)}'
    passed = sent.acknowledgement == b'"success"' and "hello Maven" in reply.content
    return SceneResult('"hello Maven"', received, "a sealed acknowledgement first, the answer by response_url", passed)


async def voice(wecom: SimulatedWeCom) -> SceneResult:
    """Send a voice message, which WeCom delivers as a transcript."""
    reply = await (await wecom.send(Voice("what did I say"))).reply()
    passed = "what did I say" in reply.content
    return SceneResult(
        'voice: "what did I say"', f'"{reply.content}"', "a voice message arrives as its transcript", passed
    )


async def empty_voice(wecom: SimulatedWeCom) -> SceneResult:
    """Send a voice message in which WeCom heard no word."""
    reply = await (await wecom.send(Voice(""))).reply()
    # The column is narrow.
    received = f'"{shorten(reply.content, 40, placeholder="…")}"'
    rule = "nobody is met with silence, and the sentence is in their language"
    return SceneResult("voice: nothing to hear", received, rule, bool(reply.content.strip()))


async def welcome(wecom: SimulatedWeCom) -> SceneResult:
    """Enter the chat, which brings no response_url."""
    sent = await wecom.send(EnterChat())
    received = f'"{sent.welcome}"' if sent.welcome else "no greeting"
    return SceneResult("a person enters the chat", received, "greeted in the answer to the event", bool(sent.welcome))


async def picture(wecom: SimulatedWeCom) -> SceneResult:
    """Send an encrypted picture."""
    content = draw_png(32, 32)
    reply = await (await wecom.send(Image(content, "gradient.png"))).reply()
    passed = "image/png" in reply.content and str(len(content)) in reply.content
    sent = f"an encrypted PNG of {len(content)} bytes"
    return SceneResult(sent, reply.content, "decrypted with the bot's key, its type found in its bytes", passed)


async def duplicate(wecom: SimulatedWeCom) -> SceneResult:
    """Send the same message again in a new envelope."""
    sent = await wecom.send(Text("only once"))
    await sent.reply()
    again = await wecom.redeliver(sent)
    # Messages of one chat are handled in order: if the duplicate were answered, it would be before this one.
    await (await wecom.send(Text("and then"))).reply()
    posts = wecom.recorded.posts[sent.message_id]
    passed = posts == 1 and again.acknowledgement == sent.acknowledgement
    received = f"acknowledged twice, answered {'once' if posts == 1 else f'{posts} times'}"
    return SceneResult(
        '"only once", delivered twice', received, "one msgid is one message, whatever its envelope", passed
    )


async def two_people(wecom: SimulatedWeCom) -> SceneResult:
    """Let two people in one group write at the same time."""
    questions = {"bob": "bob's question", "carol": "carol's question"}
    sent = await asyncio.gather(
        *(wecom.send(Text(f"@Maven {words}"), user=user, group="wr1") for user, words in questions.items())
    )
    first, second = await asyncio.gather(*(each.reply() for each in sent))
    passed = "bob" in first.content and "carol" in second.content
    passed = passed and "carol" not in first.content and "bob" not in second.content
    received = "each got their own" if passed else "the answers were mixed up"
    return SceneResult("two people in a group at once", received, "every message has a reply window of its own", passed)


async def mention(wecom: SimulatedWeCom) -> SceneResult:
    """Send a group message that begins with the bot's name."""
    reply = await (await wecom.send(Text("@Maven /status"), user="bob", group="wr1")).reply()
    passed = "/status" in reply.content and "@Maven" not in reply.content
    return SceneResult(
        'group: "@Maven /status"', f'"{reply.content}"', "the mention is stripped, so commands match", passed
    )


async def transient_error(wecom: SimulatedWeCom) -> SceneResult:
    """Refuse a reply twice because WeCom is busy."""
    message_id = wecom.new_message_id()
    wecom.reply_faults.add(Errcode(-1), Errcode(6000), message_id=message_id)
    reply = await (await wecom.send(Text("try again"), message_id=message_id)).reply()
    posts = wecom.recorded.posts[message_id]
    received = f"{posts} POSTs in {reply.after_seconds:.1f} s, one accepted"
    rule = "retried only if WeCom certainly did not accept it"
    return SceneResult('"try again", busy twice', received, rule, posts == 3)  # noqa: PLR2004  # two refusals and a success


async def long_answer(wecom: SimulatedWeCom) -> SceneResult:
    """Make the bot send an answer beyond WeCom's limit."""
    question = (_FILLER * (_LONG_BYTES // len(_FILLER) + 1))[:_LONG_BYTES]
    reply = await (await wecom.send(Text(question))).reply()
    size = len(reply.content.encode())
    announced = not question.startswith(reply.content)
    received = f"{size} bytes, {'the cut announced' if announced else 'cut without notice'}"
    rule = f"at most {limits.MARKDOWN_BYTES} bytes, and the reader is told"
    return SceneResult(f"{_LONG_BYTES} bytes to repeat", received, rule, announced and size <= limits.MARKDOWN_BYTES)


async def streamed_answer(wecom: SimulatedWeCom) -> SceneResult:
    """Ask an agent that writes slowly, and watch the bubble."""
    sent = await wecom.send(Text("count to three"))
    bubble = await sent.bubble_finished()
    growing = all(later.content.startswith(earlier.content) for earlier, later in pairwise(bubble.frames[1:]))
    passed = growing and bubble.text == "one, two, three" and not wecom.recorded.posts[sent.message_id]
    received = f'"{bubble.text}" in {len(bubble.frames)} frames'
    return SceneResult('"count to three"', received, "the answer grows while the agent writes it", passed)


async def follow_up(wecom: SimulatedWeCom) -> SceneResult:
    """Ask something that makes sense only after the answer before it."""
    bubble = await (await wecom.send(Text("go on"))).bubble_finished()
    return SceneResult(
        '"go on"', f'"{bubble.text}"', "the agent is told what was said before", bubble.text == "four, five"
    )


async def new_conversation(wecom: SimulatedWeCom) -> SceneResult:
    """Start over, and ask the same again."""
    started = await (await wecom.send(Text("/new"))).bubble_finished()
    bubble = await (await wecom.send(Text("go on"))).bubble_finished()
    passed = started.text.startswith("A new conversation") and bubble.text == "Go on from where?"
    return SceneResult('"/new", "go on"', f'"{bubble.text}"', "/new and /新话题 start over", passed)


async def outlived_stream(wecom: SimulatedWeCom) -> SceneResult:
    """Ask for an answer that takes longer than WeCom asks for its parts."""
    sent = await wecom.send(Text("count to twelve"))
    bubble = await sent.bubble_finished()
    reply = await sent.reply()
    passed = bubble.text.startswith("one, two") and reply.content.endswith("eleven, twelve")
    passed = passed and wecom.recorded.posts[sent.message_id] == 1
    received = f"ended after {bubble.frames[-1].after_seconds:.1f} s, answered after {reply.after_seconds:.1f} s"
    rule = "a stream ends in words before WeCom gives it up, the answer follows"
    return SceneResult('"count to twelve"', received, rule, passed)


Scene = Callable[["SimulatedWeCom"], Awaitable[SceneResult]]
SCENES: Final[tuple[Scene, ...]] = (
    url_check,
    text,
    welcome,
    voice,
    empty_voice,
    picture,
    duplicate,
    two_people,
    mention,
    transient_error,
    long_answer,
)
STREAM_SCENES: Final[tuple[Scene, ...]] = (streamed_answer, follow_up, new_conversation, outlived_stream)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
