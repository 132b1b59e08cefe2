"""From the agent's answer to markdown WeCom takes: inside its limit, cut where a reader does not stumble."""

import re
import unicodedata
from typing import Final

import msgspec

from maven_channel_wecom.protocol import limits

CUT_NOTICE: Final = "\n\n> …内容过长，以下已截断。(The answer was too long and ends here.)"
CONTINUED_NOTICE: Final = "\n\n> …未完，见下一条。(Continued in the next message.)"

# A fence is up to three spaces and at least three of one mark; a backtick fence has no backtick in its info string.
_FENCE = re.compile(r"(?P<indent> {0,3})(?P<mark>`{3,}|~{3,})(?P<info>.*)")

# Markdown knows these; Python's own splitlines knows more.
_LINE_END = re.compile(r"\r\n|\n|\r")

# The category Cc without what lays out a text.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]+")

# A language has a short name; a longer line would be repeated in every part and leave no room for the text.
_INFO_CHARACTERS = 32

# No cluster people write is longer; a text of nothing but combining marks must not make the cut creep to its start.
_CLUSTER_CHARACTERS = 32
_ZERO_WIDTH_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_REGIONAL_INDICATORS = range(0x1F1E6, 0x1F200)


class Rendered(msgspec.Struct, frozen=True):
    """Markdown ready to send; empty when there is nothing to say. `truncated_bytes` of the text were left out."""

    content: str
    truncated_bytes: int = 0

    def __repr__(self) -> str:
        return f"<Rendered {len(self.content)} characters>"


def render(text: str, limit_bytes: int = limits.MARKDOWN_BYTES) -> Rendered:
    """Return a text as it is sent. One that fits is not touched; a longer one is cut, and the cut is announced."""
    sendable = _sendable(text)
    if not sendable.strip():
        return Rendered("")
    size = len(sendable.encode())
    if size <= limit_bytes:
        return Rendered(sendable)
    kept, closing = _cut(sendable, limit_bytes - len(CUT_NOTICE.encode()))
    return Rendered(kept + closing + CUT_NOTICE, size - len(kept.encode()))


def split(text: str, parts: int, limit_bytes: int = limits.MARKDOWN_BYTES) -> list[Rendered]:
    """Return a text in at most that many parts. A code fence open at a seam is closed and opened again after it.

    Only the last part can be cut short; an empty list when there is nothing to say.
    """
    rendered: list[Rendered] = []
    rest = _sendable(text)
    while len(rendered) < parts - 1 and len(rest.encode()) > limit_bytes:
        kept, closing = _cut(rest, limit_bytes - len(CONTINUED_NOTICE.encode()))
        more = rest[len(kept) :]
        if not more.strip():
            return [*rendered, Rendered(kept + closing)]
        rendered.append(Rendered(kept + closing + CONTINUED_NOTICE))
        rest = _reopening(kept) + more
    last = render(rest, limit_bytes)
    return [*rendered, last] if last.content else rendered


def _cut(text: str, limit_bytes: int) -> tuple[str, str]:
    """Return the longest beginning of a text that fits together with what closes its open fence, and that closing."""
    budget = limit_bytes
    while True:
        kept = _beginning(text, budget)
        closing = _closing(kept)
        overflow = len(kept.encode()) + len(closing.encode()) - limit_bytes
        if overflow <= 0:
            return kept, closing
        budget = max(budget - overflow, 0)


def _beginning(text: str, size_bytes: int) -> str:
    """Return at most that many bytes of a text, ending between two characters as a reader sees them."""
    end = len(text.encode()[:size_bytes].decode(errors="ignore"))
    for cut in range(end, max(end - _CLUSTER_CHARACTERS, 0), -1):
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
        # A flag is a pair: count how many indicators stand before the cut.
        start = cut
        while start > 0 and ord(text[start - 1]) in _REGIONAL_INDICATORS:
            start -= 1
        return (cut - start) % 2 == 1
    return False


def _open_fence(text: str) -> re.Match[str] | None:
    """Return the fence line that is still open at the end of a text."""
    opened: re.Match[str] | None = None
    for line in _LINE_END.split(text):
        fence = _FENCE.fullmatch(line)
        if not fence:
            continue
        mark = fence["mark"]
        if opened is None:
            if mark[0] != "`" or "`" not in fence["info"]:
                opened = fence
        elif mark[0] == opened["mark"][0] and len(mark) >= len(opened["mark"]) and not fence["info"].strip():
            opened = None
    return opened


def _closing(text: str) -> str:
    # The indent of the opening is kept: inside a list a mark at the margin would open a fence instead of closing one.
    fence = _open_fence(text)
    if not fence:
        return ""
    return ("" if text.endswith("\n") else "\n") + fence["indent"] + fence["mark"]


def _reopening(text: str) -> str:
    fence = _open_fence(text)
    return f"{fence['indent']}{fence['mark']}{fence['info'][:_INFO_CHARACTERS]}\n" if fence else ""


def _sendable(text: str) -> str:
    """Replace lone surrogates and take out control characters, which WeCom refuses (90313, 40033)."""
    if text.replace("\n", "").isprintable():
        return text
    well_formed = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _CONTROL.sub("", well_formed)
