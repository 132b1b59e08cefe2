"""The signature of a callback and of its answer (91144 "签名校验")."""

import hashlib
import hmac


def sign(token: str, timestamp: str, nonce: str, ciphertext: str) -> str:
    """Return the lowercase hex SHA-1 of the four strings, sorted by byte value and joined without a separator.

    `timestamp` and `nonce` are the exact strings sent or received. SHA-1 is WeCom's choice, not ours.
    """
    # https://developer.work.weixin.qq.com/document/path/91144
    # Characters sort like their UTF-8 bytes.
    joined = "".join(sorted((token, timestamp, nonce, ciphertext)))
    return hashlib.sha1(joined.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def matches(signature: str, *, token: str, timestamp: str, nonce: str, ciphertext: str) -> bool:
    """Tell whether a signature is right, in time that does not depend on how wrong it is."""
    # compare_digest refuses text that is not ASCII, and such text is no signature.
    return signature.isascii() and hmac.compare_digest(sign(token, timestamp, nonce, ciphertext), signature)
