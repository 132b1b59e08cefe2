"""Meanings of the `errcode` of an active reply (90313, 2024). In practice 60140 is also returned for a second use."""

from typing import Final

OK: Final = 0
SYSTEM_BUSY: Final = -1
DATA_CONFLICT: Final = 6_000
INVALID_MESSAGE_TYPE: Final = 40_008
INVALID_CHARACTERS: Final = 40_033
EMPTY_CONTENT: Final = 44_004
CONTENT_TOO_LONG: Final = 45_002
RATE_LIMIT: Final = 45_009
CONCURRENCY_LIMIT: Final = 45_033
RESPONSE_CODE_INVALID: Final = 60_140

# https://developer.work.weixin.qq.com/document/path/90313
MEANINGS: Final = {
    OK: "ok",
    SYSTEM_BUSY: "system busy",
    DATA_CONFLICT: "data version conflict",
    INVALID_MESSAGE_TYPE: "invalid message type",
    INVALID_CHARACTERS: "invalid characters",
    EMPTY_CONTENT: "empty content",
    CONTENT_TOO_LONG: "content too long",
    RATE_LIMIT: "rate limit",
    CONCURRENCY_LIMIT: "concurrency limit",
    RESPONSE_CODE_INVALID: "response_url invalid, used or expired",
}
