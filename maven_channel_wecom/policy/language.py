"""The language of the sentences that a person in a chat reads."""

import re
from collections.abc import Sequence
from typing import Final

from maven_channel_wecom.policy.normalization import strip_mentions
from maven_channel_wecom.policy.visibility import is_visible
from maven_channel_wecom.protocol.callback import Callback, TextItem
from maven_channel_wecom.sentences import Language

REMEMBERED_PEOPLE: Final = 10_000
"""Maximum number of people whose language is remembered, about 2 MB. Lower: a person who has not written for a while
reads Chinese under a voice message without a transcript. Higher: more memory."""

# The Unicode script Han, with the radicals and the blocks that are still growing.
_HAN: Final = re.compile(
    r"[\u2e80-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)

# Wider than what `strip_mentions` removes, because nothing is lost here: names that are not configured, other people.
_MENTION: Final = re.compile(r"[@＠]\S+")


class Languages:
    """Chooses a language for each person of one channel, and remembers in which one they last wrote.

    Args:
        fixed: the language of everybody, None to choose by what a person writes.
        mention_names: names of the bot. A mention is not the person's own text.
    """

    def __init__(self, fixed: Language | None, mention_names: Sequence[str]) -> None:
        self._fixed = fixed
        self._mention_names = mention_names
        # By sender id, in the order in which people last wrote.
        self._last: dict[str, Language] = {}

    def of_callback(self, callback: Callback) -> Language:
        """Return the language for the sender of a callback: Chinese if their own text holds any Han character."""
        if self._fixed is not None:
            return self._fixed
        texts = (
            _MENTION.sub(" ", strip_mentions(item.content, self._mention_names))
            for item in callback.items
            if isinstance(item, TextItem)
        )
        text = "\n".join(texts)
        if not is_visible(text):
            return self.of_person(callback.sender_id)
        language: Language = "zh" if _HAN.search(text) else "en"
        self._last.pop(callback.sender_id, None)
        self._last[callback.sender_id] = language
        if len(self._last) > REMEMBERED_PEOPLE:
            del self._last[next(iter(self._last))]
        return language

    def of_person(self, sender_id: str) -> Language:
        """Return the language in which a person last wrote, Chinese if they have not written yet."""
        return self._fixed or self._last.get(sender_id, "zh")
