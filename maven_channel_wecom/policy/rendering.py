"""Rendering of an agent's answer as markdown that WeCom accepts, without the model's reasoning.

A long answer is cut to the limit, or split into parts, between grapheme clusters and with its code fences closed.
"""

import re
import unicodedata

import msgspec

from maven_channel_wecom.policy.markdown_code import open_fence
from maven_channel_wecom.policy.reasoning import without_reasoning
from maven_channel_wecom.policy.visibility import is_visible
from maven_channel_wecom.protocol import limits
from maven_channel_wecom.sentences import ANSWER_CONTINUED, ANSWER_CUT

# The escape sequences of terminals (ECMA-48): CSI, also if it is unfinished; those with a text such as OSC, of which
# only the beginning is removed if they have no end, because the text may be the answer; and the short ones. The
# characters that stand for ESC [ and ESC ] occur in wrongly decoded text too, where nothing like an escape sequence
# follows.
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x00-\x1f\x7f-\x9f]*(?:\x07|\x1b\\|\x9c)|\][0-9]+;|[ -/]*[0-~]?)"
    r"|\x9b[0-?]+[ -/]*[@-~]"
    r"|\x9d[0-9]+;[^\x00-\x1f\x7f-\x9f]*(?:\x07|\x1b\\|\x9c)"
)

# The Unicode category Cc without tab, line feed and carriage return.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]+")

# The info string is repeated in every part, so a long one would leave little space for the text.
_MAX_INFO_CHARACTERS = 32

# Longer than any real grapheme cluster. It bounds the search for a cut in a text of combining marks only.
_MAX_CLUSTER_CHARACTERS = 32
_ZERO_WIDTH_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_REGIONAL_INDICATORS = range(0x1F1E6, 0x1F200)


class Rendered(msgspec.Struct, frozen=True):
    """Markdown to be sent, empty for a text that shows nothing. `truncated_bytes` is how much of it was cut off."""

    content: str
    truncated_bytes: int = 0

    def __repr__(self) -> str:
        return f"<Rendered {len(self.content)} characters>"


def render(text: str, limit_bytes: int = limits.MARKDOWN_BYTES, *, language: str = "en") -> Rendered:
    """Render a text as one message. A text over the limit is cut and ends with ANSWER_CUT in the given language."""
    return _rendered(without_reasoning(_sendable(text)), limit_bytes, language)


def render_progress(text: str) -> str:
    """Render a text that still grows as one message: cut to the limit without a notice, with its open fence closed.

    Empty if the text shows nothing yet.
    """
    shown = without_reasoning(_sendable(text), unfinished=True)
    return "".join(_cut(shown, limits.MARKDOWN_BYTES)) if is_visible(shown) else ""


def append_notice(content: str, notice: str) -> str:
    """Append a notice of our own to a rendered text, which is cut if both do not fit one message."""
    kept, closing = _cut(content, limits.MARKDOWN_BYTES - len(notice.encode()))
    return kept + closing + notice


class Splitter:
    """Splits a text into messages, one at a time. A code fence that is open at the end of one is closed and reopened.

    White space at the end of the text is left out. The time for a message does not depend on the length of the text.
    """

    def __init__(self, text: str, limit_bytes: int = limits.MARKDOWN_BYTES, *, language: str = "en") -> None:
        self._text = without_reasoning(_sendable(text)).rstrip()
        self._language = language
        self._limit_bytes = limit_bytes
        self._start = 0
        self._reopening = ""

    @property
    def fits(self) -> bool:
        """Whether the rest of the text fits one message."""
        # A character has at least one byte.
        if len(self._text) - self._start > self._limit_bytes:
            return False
        return len(self._next_characters().encode()) <= self._limit_bytes

    def cut(self) -> Rendered:
        """Return the next message, which ends with ANSWER_CONTINUED, and continue after it. The rest must not fit."""
        notice = ANSWER_CONTINUED.text(self._language)
        kept, closing = _cut(self._next_characters(), self._limit_bytes - len(notice.encode()))
        self._start += max(len(kept) - len(self._reopening), 0)
        self._reopening = _reopening(kept)
        return Rendered(kept + closing + notice)

    def rest(self) -> Rendered:
        """Return the rest of the text as the last message, truncated if it does not fit."""
        return _rendered(self._reopening + self._text[self._start :], self._limit_bytes, self._language)

    def _next_characters(self) -> str:
        """Return more than fits one message."""
        return self._reopening + self._text[self._start : self._start + self._limit_bytes + 1]


def _rendered(sendable: str, limit_bytes: int, language: str) -> Rendered:
    if not is_visible(sendable):
        return Rendered("")
    size = len(sendable.encode())
    if size <= limit_bytes:
        return Rendered(sendable)
    notice = ANSWER_CUT.text(language)
    kept, closing = _cut(sendable, limit_bytes - len(notice.encode()))
    return Rendered(kept + closing + notice, size - len(kept.encode()))


def _cut(text: str, limit_bytes: int) -> tuple[str, str]:
    """Return the longest prefix of a text that fits together with the closing of its open fence, and that closing."""
    budget = limit_bytes
    while True:
        kept = _prefix(text, budget)
        closing = _closing(kept)
        overflow = len(kept.encode()) + len(closing.encode()) - limit_bytes
        if overflow <= 0:
            return kept, closing
        budget = max(budget - overflow, 0)


def _prefix(text: str, size_bytes: int) -> str:
    """Return a prefix of at most `size_bytes` that ends between two grapheme clusters."""
    end = len(text[:size_bytes].encode()[:size_bytes].decode(errors="ignore"))
    if end == len(text):
        return text
    for cut in range(end, max(end - _MAX_CLUSTER_CHARACTERS, 0), -1):
        if not _inside_cluster(text, cut):
            return text[:cut]
    return text[:end]


def _inside_cluster(text: str, cut: int) -> bool:
    before, after = text[cut - 1], text[cut]
    if before == "\r" and after == "\n":
        return True
    if _ZERO_WIDTH_JOINER in {before, after} or ord(after) in _SKIN_TONES:
        return True
    if unicodedata.category(after) in {"Mn", "Me", "Mc"}:
        return True
    if ord(before) in _REGIONAL_INDICATORS and ord(after) in _REGIONAL_INDICATORS:
        # A flag is a pair of indicators, so the cut is inside one if an odd number of them precedes it.
        start = cut
        while start > 0 and ord(text[start - 1]) in _REGIONAL_INDICATORS:
            start -= 1
        return (cut - start) % 2 == 1
    return False


def _closing(text: str) -> str:
    # With the indent of the opening: inside a list item an unindented mark would open a new fence.
    fence = open_fence(text)
    if not fence:
        return ""
    return ("" if text.endswith("\n") else "\n") + fence["indent"] + fence["mark"]


def _reopening(text: str) -> str:
    fence = open_fence(text)
    return f"{fence['indent']}{fence['mark']}{fence['info'][:_MAX_INFO_CHARACTERS]}\n" if fence else ""


def _sendable(text: str) -> str:
    """Replace lone surrogates; remove escape sequences and the control characters that WeCom rejects (90313, 40033)."""
    if text.replace("\n", "").isprintable():
        return text
    well_formed = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _CONTROL.sub("", _ESCAPE.sub("", well_formed))
