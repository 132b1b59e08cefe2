"""Recognition of texts that show nothing in a chat."""

import re
from typing import Final

# White space, control characters, and what Unicode calls default-ignorable: characters of no width, variation
# selectors, marks of the writing direction, fillers. The last are U+2800 and the marks of annotations.
_VISIBLE: Final = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff\u2800\ufff9-\ufffb]"
)


def is_visible(text: str) -> bool:
    """Return whether a text holds any character that a person can see."""
    return _VISIBLE.search(text) is not None
