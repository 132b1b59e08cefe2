"""Generates credentials in the format of WeCom's console (101033)."""

import secrets
import string

from maven_channel_wecom.protocol import limits

_ALPHABET = string.ascii_letters + string.digits
_TOKEN_CHARACTERS = 32


def new_token() -> str:
    """Return a token of letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_TOKEN_CHARACTERS))


def new_encoding_aes_key() -> str:
    """Return an EncodingAESKey: 43 letters and digits that decode to 32 bytes."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(limits.ENCODING_AES_KEY_CHARACTERS))
