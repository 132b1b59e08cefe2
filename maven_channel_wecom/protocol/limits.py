"""Limits and sizes of WeCom's protocol. Those marked UNDOCUMENTED are our own.

The comment above each constant names the page, its section, the date of that page, and what it says.
"""

from typing import Final

# 91144 "EncodingAESKey", 2024-07-18: 43 characters, with one "=" appended they decode to 32 bytes.
ENCODING_AES_KEY_CHARACTERS: Final = 43
AES_KEY_BYTES: Final = 32

# 91144 "加解密方案", 2024-07-18: the IV is the first 16 bytes of the key, for every message.
AES_IV_BYTES: Final = 16

# 91144 "加解密方案", 2024-07-18: PKCS#7 to a multiple of 32, not of the cipher's 16.
PADDING_BLOCK_BYTES: Final = 32

# 91144 "msg_encrypt", 2024-07-18: random(16) + length(4, network order) + message + receive id.
FRAME_RANDOM_BYTES: Final = 16
FRAME_LENGTH_BYTES: Final = 4

# 101033 "URL有效性", 2025-07-23: a URL check must be answered within one second.
URL_CHECK_SECONDS: Final = 1

# 101138 "markdown.content", 2025-12-12, and 101031 "stream.content": at most 20,480 bytes in UTF-8.
MARKDOWN_BYTES: Final = 20_480

# 100719 "流式消息刷新", 2026-03-12: refreshes end at the latest six minutes after the user sent the message.
REFRESH_SECONDS: Final = 360

# 101138 "feedback.id", 2025-12-12: at most 256 bytes in UTF-8.
FEEDBACK_ID_BYTES: Final = 256

# UNDOCUMENTED for AI bots. 96469: the passive text of a self-built app is cut at 2,048 bytes.
WELCOME_BYTES: Final = 2_048

# 101138 "response_url", 2025-12-12: valid for one hour, for one call.
RESPONSE_URL_SECONDS: Final = 3_600

# 100719 "图片", 2025-12-11: the URL of a media item is valid for five minutes.
MEDIA_URL_SECONDS: Final = 300

# UNDOCUMENTED: every sample timestamp is in seconds and has ten decimal digits, which suffices until the year 2286.
TIMESTAMP_DIGITS: Final = 10

# UNDOCUMENTED: sample nonces have up to 19 alphanumeric characters. The limit allows for longer ones.
NONCE_CHARACTERS: Final = 128

# UNDOCUMENTED: the echo of every sample URL check is a number of 19 digits.
ECHO_BYTES: Final = 256

# UNDOCUMENTED: real ids have about 32 characters, real URLs about 400, and real messages a few items.
ID_CHARACTERS: Final = 512
URL_CHARACTERS: Final = 8_192
MIXED_ITEMS: Final = 1_000
