"""The signature of a callback and of its answer (91144 "签名校验")."""

import hashlib
import hmac


def sign(token: str, timestamp: str, nonce: str, ciphertext: str) -> str:
    """Return the lowercase hex SHA-1 of the four strings, sorted by byte value and joined without a separator.

    `timestamp` and `nonce` are the exact strings sent or received. WeCom prescribes SHA-1.
    """
    # https://developer.work.weixin.qq.com/document/path/91144
    # Sorting strings by code point gives the same order as sorting their UTF-8 bytes.
    joined = "".join(sorted((token, timestamp, nonce, ciphertext)))
    return hashlib.sha1(joined.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def matches(signature: str, *, token: str, timestamp: str, nonce: str, ciphertext: str) -> bool:
    """Return whether a signature is right, comparing in constant time."""
    # compare_digest raises TypeError for non-ASCII strings, which cannot be signatures anyway.
    return signature.isascii() and hmac.compare_digest(sign(token, timestamp, nonce, ciphertext), signature)
