"""The agent of the playground, which repeats what it got, one word after the other."""

from __future__ import annotations

import base64
import re
import struct
from typing import TYPE_CHECKING, Any, Final

from maven_channel_wecom.playground.labels import Label
from maven_channel_wecom.simulator.streaming_agent import StreamingAgent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maven_channel_wecom.playground.labels import PageLanguage

WRITING_SECONDS: Final = 0.09
"""Time between two words. Lower: an answer is complete before anyone sees it grow. Higher: people wait for it."""

# A word with the white space after it, or up to three Chinese characters.
_PIECE: Final = re.compile(r"[\u3000-\u9fff\uff00-\uffef]{1,3}|[^\s\u3000-\u9fff\uff00-\uffef]*\s*")
_HAN: Final = re.compile(r"[\u4e00-\u9fff]")
# The host's line about who wrote in a group.
_SPEAKER: Final = re.compile(r"\A\[Message from [^\]\n]*\]\n?")
_DATA_URL: Final = re.compile(r"data:([^;,]*);base64,")
_PNG_HEAD: Final = struct.Struct(">16xII")

_YOU_WROTE: Final = Label("你写道：", "You wrote:")
_YOU_QUOTED: Final = Label("你引用了：", "You quoted:")
_I_GOT: Final = Label("我收到了：", "I got:")
_PICTURE: Final = Label("一张图片：`{type}`{size}，{bytes} 字节", "a picture: `{type}`{size}, {bytes} bytes")
_PIXELS: Final = Label("，**{width} × {height}** 像素", ", **{width} × {height}** pixels")
_FILE: Final = Label("文件 **{name}**：`{type}`，{bytes} 字节", "the file **{name}**: `{type}`, {bytes} bytes")
_CLOSING: Final = Label(
    "我只是一个演示智能体，逐词复述收到的内容。接上你自己的模型后，这里就是它的回答：文字在企业微信里边写边显示。",
    "I am only a demo agent and repeat what I get, word by word. With your own model behind the bot, its answer "
    "appears here, and people in WeCom watch it grow.",
)
ABILITIES: Final = Label(
    "你好！我是体验台的演示智能体。你可以：\n\n"
    "1. 发送**文字**、**图片**、**文件**或**语音**，我会说明收到了什么；\n"
    "2. 输入 `markdown`，看看企业微信支持的格式；\n"
    "3. 选择一个**故障**，再点“详情”看机器人如何应对；\n"
    "4. **引用**一条消息，**重复推送**，或为回答**评价**。\n\n"
    "> 回答边写边显示：企业微信大约每秒来取一次最新的文本。",
    "Hello! I am the demo agent of the playground. You can:\n\n"
    "1. send **text**, a **picture**, a **file** or a **voice** message, and I say what arrived;\n"
    "2. write `markdown` to see the formats that WeCom supports;\n"
    "3. choose a **fault**, then “Details” to see how the bot handles it;\n"
    "4. **quote** a message, **send it again**, or **rate** an answer.\n\n"
    "> You watch the answer grow: about once a second WeCom asks for the newest text.",
)
_MARKDOWN: Final = Label(
    "## 企业微信支持的 markdown\n\n**粗体**、*斜体*、`行内代码`，以及[链接](https://developer.work.weixin.qq.com)。\n\n"
    "- 列表\n    - 可以嵌套\n\n> 引用\n>> 也可以嵌套\n\n| 类型 | 单聊 | 群聊 |\n|:---|:---:|:---:|\n| 文字 | ✓ | ✓ |\n"
    '| 图文混排 | ✓ | ✓ |\n| 语音 | ✓ | — |\n\n```python\ndef 你好(名字: str) -> str:\n    return f"你好，{名字}"\n'
    '```\n\n---\n\n不支持 HTML：<font color="red">保持原样</font>。',
    "## Markdown in WeCom\n\n**Bold**, *italic*, `inline code`, and a [link](https://developer.work.weixin.qq.com).\n\n"
    "- lists\n    - and nested ones\n\n> quotes\n>> also nested\n\n| type | single | group |\n|:---|:---:|:---:|\n"
    "| text | ✓ | ✓ |\n| mixed | ✓ | ✓ |\n| voice | ✓ | — |\n\n```python\ndef hello(name: str) -> str:\n"
    '    return f"Hello, {name}"\n```\n\n---\n\nHTML is not supported: <font color="red">it stays text</font>.',
)
# Lower: a long greeting is repeated. Higher: questions that contain a greeting are answered with the abilities.
_GREETING_CHARACTERS: Final = 40
_GREETING: Final = re.compile(r"你好|您好|你能|\b(hello|hi|help|what can you do)\b", re.IGNORECASE)


class WritingAgent(StreamingAgent):
    """A running agent that repeats what it got.

    Args:
        writing_seconds: the time between two words.
        abilities: the answer to a greeting.
    """

    def __init__(self, *, writing_seconds: float = WRITING_SECONDS, abilities: Label = ABILITIES) -> None:
        super().__init__(self._repeat, piece_seconds=writing_seconds)
        self._abilities = abilities
        self._language: PageLanguage = "en"

    def _repeat(self, request: Mapping[str, Any]) -> list[str]:
        parts = request["input"][-1]["content"]
        self._language = language_of(parts, self._language)
        return pieces(answer(parts, self._language, self._abilities))


def language_of(parts: list[dict[str, Any]], last: PageLanguage) -> PageLanguage:
    """Return the language of a request's texts and file names; without any, the last one that somebody wrote in."""
    words = "".join([*_texts(parts), *(part.get("filename", "") for part in parts)])
    if not words:
        return last
    return "zh" if _HAN.search(words) else "en"


def answer(parts: list[dict[str, Any]], language: PageLanguage, abilities: Label = ABILITIES) -> str:
    """Return the whole answer to the content of a request; `abilities` to a greeting."""
    texts = _texts(parts)
    things = [_thing(part, language) for part in parts if part["type"] != "input_text"]
    quoted = [quote for text in texts if (quote := _quoted(text))]
    written = "\n".join(text for text in texts if not _quoted(text)).strip()
    if not things and "markdown" in written.lower():
        return _MARKDOWN.text(language)
    if not things and len(written) <= _GREETING_CHARACTERS and _GREETING.search(written):
        return abilities.text(language)
    blocks = [f"{_YOU_QUOTED.text(language)}\n\n{quote}" for quote in quoted]
    repeated = "\n".join(f"> {line}" for line in written.splitlines())
    if written:
        blocks.append(f"{_YOU_WROTE.text(language)}\n\n{repeated}")
    if things:
        blocks.append("\n".join([_I_GOT.text(language), "", *(f"- {thing}" for thing in things)]))
    else:
        blocks.append(_CLOSING.text(language))
    return "\n\n".join(blocks)


def pieces(text: str) -> list[str]:
    """Return a text in the pieces in which it is written: words, or a few Chinese characters."""
    return [piece for piece in _PIECE.findall(text) if piece]


def _texts(parts: list[dict[str, Any]]) -> list[str]:
    return [_SPEAKER.sub("", part["text"]) for part in parts if part["type"] == "input_text"]


def _quoted(text: str) -> str:
    """Return the marked lines of a text that a person quoted, below a line that says so; empty if it is no quote."""
    _, _, lines = text.partition("\n")
    return lines if lines and all(line.startswith("> ") for line in lines.splitlines()) else ""


def _thing(part: dict[str, Any], language: PageLanguage) -> str:
    """Describe a picture or a file."""
    data = str(part.get("image_url") or part.get("file_data") or "")
    found = _DATA_URL.match(data)
    kind = found[1] if found else "?"
    content = base64.b64decode(data[found.end() :] if found else "")
    if part["type"] != "input_image":
        return _FILE.text(language).format(name=part.get("filename", "?"), type=kind, bytes=f"{len(content):,}")
    size = ""
    if kind == "image/png" and len(content) >= _PNG_HEAD.size:
        width, height = _PNG_HEAD.unpack_from(content)
        size = _PIXELS.text(language).format(width=width, height=height)
    return _PICTURE.text(language).format(type=kind, size=size, bytes=f"{len(content):,}")
