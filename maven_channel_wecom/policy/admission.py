"""Allow-lists: which callbacks are admitted. They are checked before anything is stored or fetched."""

import msgspec

from maven_channel_wecom.errors import Refusal
from maven_channel_wecom.protocol.callback import Callback


class AdmissionRules(msgspec.Struct, frozen=True):
    """The allow-lists. An empty list allows all ids."""

    senders: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    bots: frozenset[str] = frozenset()


def refusal(callback: Callback, rules: AdmissionRules) -> Refusal | None:
    """Return why a callback is not admitted, or None if it is admitted.

    A callback without a sender cannot be answered, and a group callback without its group has no chat.
    """
    if not callback.sender_id:
        return "no_sender"
    if callback.is_group and not callback.chat_id:
        return "no_group"
    if rules.bots and callback.bot_id not in rules.bots:
        return "bot"
    if rules.groups and callback.is_group and callback.chat_id not in rules.groups:
        return "group"
    if rules.senders and callback.sender_id not in rules.senders:
        return "sender"
    return None
