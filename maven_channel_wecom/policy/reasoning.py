"""Removal of a model's reasoning from its answer.

Many models write their reasoning into the answer, as `<think>…</think>`. It is not meant for the reader.
"""

import re
from typing import Final

from maven_channel_wecom.policy.markdown_code import CodeScanner

_TAG: Final = re.compile("<(?P<slash>/?)think>", re.IGNORECASE | re.ASCII)
_CLOSING_TAG: Final = re.compile("</think>", re.IGNORECASE | re.ASCII)

# The beginning of a tag at the end of a text.
_BROKEN_TAG: Final = re.compile(r"</?(?:t(?:h(?:i(?:nk?)?)?)?)?\Z", re.IGNORECASE | re.ASCII)
_BROKEN_TAG_CHARACTERS: Final = len("</think")

_BLANK_LINES: Final = re.compile(r"[ \t\r\n]*[\r\n]|")


def without_reasoning(text: str, *, unfinished: bool = False) -> str:
    """Return a markdown text without `<think>…</think>`, and without blank lines that these leave at its beginning.

    Tags in code fences and code spans are text. A reasoning without an end lasts until the end of the text, one
    without a beginning from the beginning of the text: some servers put the first tag into the prompt. From an
    `unfinished` text, which still grows, the beginning of a tag at its end is removed too, and everything from a tag of
    which only the rest of the text can tell whether it is code.
    """
    if not unfinished and not _TAG.search(text):
        return text
    code = CodeScanner(text)
    kept: list[str] = []
    start = position = 0
    while tag := _TAG.search(text, position):
        position = code.end(tag.start())
        if position > tag.start():
            continue
        if unfinished and code.may_be_code:
            # Shown as far as it is certain, because what has been shown should not disappear again.
            return "".join((*kept, text[start:position]))
        if tag["slash"]:
            kept.clear()
            position = tag.end()
        else:
            before = text[start : tag.start()]
            # White space at the beginning of the text goes with the reasoning after it.
            if before and (kept or not before.isspace()):
                kept.append(before)
            closing = _CLOSING_TAG.search(text, tag.end())
            position = closing.end() if closing else len(text)
        if not kept or kept[-1].endswith(("\n", "\r")):
            blank = _BLANK_LINES.match(text, position)
            position = blank.end() if blank else position
        code.skip(position)
        start = position
    end = len(text)
    if unfinished:
        broken = _BROKEN_TAG.search(text, max(start, end - _BROKEN_TAG_CHARACTERS))
        if broken and code.end(broken.start()) == broken.start():
            end = broken.start()
    return "".join((*kept, text[start:end]))
