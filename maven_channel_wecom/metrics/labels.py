"""The values of labels that are known before a channel is built; media and replies bring theirs along."""

from typing import Final

REJECTIONS: Final = (
    "malformed",
    "xml",
    "too_large",
    "slow",
    "aborted",
    "method",
    "signature",
    "undecipherable",
    "receiver",
    "stale",
    "crowded",
)
UNAVAILABILITIES: Final = ("inbox_full", "draining", "state", "state_full", "error")

CALLBACK_OUTCOMES: Final = {
    "verify": ("accepted", *REJECTIONS, "error"),
    # A callback that did not open is counted as a message: nobody knows what it was.
    "message": ("accepted", "duplicate", "refused", *REJECTIONS, *UNAVAILABILITIES),
    "event": ("accepted", "duplicate", "refused", *UNAVAILABILITIES),
}
_MESSAGE_TYPES: Final = ("text", "image", "mixed", "voice", "file", "video")
_EVENT_TYPES: Final = ("enter_chat", "template_card_event", "feedback_event", "other_event")
INBOUND_OUTCOMES: Final = {
    **dict.fromkeys(_MESSAGE_TYPES, ("published", "unsupported", "failed")),
    **dict.fromkeys(_EVENT_TYPES, ("acknowledged",)),
    "stream": ("unsupported",),
    "unknown": ("unsupported",),
}

STATE_OPERATIONS: Final = (
    "admit",
    "release",
    "finish",
    "unfinished",
    "claim_window",
    "spend_window",
    "restore_window",
)
STATE_FAILURES: Final = ("state", "state_full")

DROP_REASONS: Final = ("limit", "slow")
"""Why a connection was closed: there were too many, or it took too long."""
