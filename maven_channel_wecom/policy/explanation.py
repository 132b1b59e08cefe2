"""What a person is told about a message that holds nothing an agent could read."""

from maven_channel_wecom.errors import ExplanationReason
from maven_channel_wecom.policy.visibility import is_visible
from maven_channel_wecom.protocol.callback import MESSAGE_TYPES, Callback, TextItem
from maven_channel_wecom.sentences import MESSAGE_EMPTY, MESSAGE_TYPE_UNKNOWN, VOICE_EMPTY, Sentence


def explanation(callback: Callback) -> tuple[ExplanationReason, Sentence] | None:
    """Return why the agent is not asked about a message, and the sentence for its sender; None if it can be asked."""
    if callback.type not in MESSAGE_TYPES:
        return "unknown_type", MESSAGE_TYPE_UNKNOWN
    if callback.quoted_items or any(
        not isinstance(item, TextItem) or is_visible(item.content) for item in callback.items
    ):
        return None
    return "empty_message", VOICE_EMPTY if callback.type == "voice" else MESSAGE_EMPTY
