"""AES-256-CBC the way WeCom uses it: a fixed IV taken from the key, PKCS#7 to 32 bytes (91144 "加解密方案").

CBC without a MAC protects nothing by itself. Whoever decrypts a callback checks its signature first.
"""

import base64
import binascii

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from maven_channel_wecom.protocol import limits

# The padder counts bits.
_PADDING = PKCS7(limits.PADDING_BLOCK_BYTES * 8)

_BLOCK_BYTES = limits.AES_IV_BYTES


class RunningCipher:
    """One key for many short messages. Its contexts are made once: making them costs more than what they then do.

    Every message begins with the same IV (91144 "加解密方案"), so none needs a context of its own: one that runs on is
    brought back to the IV. The results are those of `encrypt` and `decrypt`. Not for two threads at a time.
    """

    __slots__ = ("_decryptor", "_encryptor", "_iv", "_last")

    def __init__(self, key: bytes) -> None:
        cipher = _cipher(key)
        self._iv = key[:_BLOCK_BYTES]
        self._encryptor = cipher.encryptor()
        self._decryptor = cipher.decryptor()
        # What the encryptor mixes into its next block.
        self._last = self._iv

    def encrypt(self, plaintext: bytes) -> bytes:
        """Pad and encrypt. The result is a multiple of 32 bytes and always longer than the plaintext."""
        padder = _PADDING.padder()
        padded = padder.update(plaintext) + padder.finalize()
        # It mixes in the last block where a new context would mix in the IV: both are taken out beforehand.
        first = int.from_bytes(padded[:_BLOCK_BYTES]) ^ int.from_bytes(self._last) ^ int.from_bytes(self._iv)
        ciphertext = self._encryptor.update(first.to_bytes(_BLOCK_BYTES) + padded[_BLOCK_BYTES:])
        self._last = ciphertext[-_BLOCK_BYTES:]
        return ciphertext

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Decrypt and remove the padding; ValueError as from the function `decrypt`."""
        if not ciphertext or len(ciphertext) % limits.PADDING_BLOCK_BYTES:
            message = "not a whole number of blocks"
            raise ValueError(message)
        # The first block that comes out belongs to the IV itself; behind it all is as after a new start.
        padded = self._decryptor.update(self._iv + ciphertext)[_BLOCK_BYTES:]
        unpadder = _PADDING.unpadder()
        return unpadder.update(padded) + unpadder.finalize()


def decode_key(encoding_aes_key: str) -> bytes:
    """Decode an EncodingAESKey of 43 characters to the 32 bytes of the key.

    The last character usually carries two stray bits, in WeCom's own samples too, so they are not an error.

    Raises:
        ValueError: the length is wrong or a character is not base64; the text does not show the key.
    """
    # https://developer.work.weixin.qq.com/document/path/91144
    if len(encoding_aes_key) != limits.ENCODING_AES_KEY_CHARACTERS:
        message = f"must have {limits.ENCODING_AES_KEY_CHARACTERS} characters, this one has {len(encoding_aes_key)}"
        raise ValueError(message)
    try:
        key = base64.b64decode(encoding_aes_key + "=", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    # One that ends in padding of its own is base64 too, but shorter.
    if len(key) != limits.AES_KEY_BYTES:
        message = "must be base64: letters, digits, + and / only"
        raise ValueError(message)
    return key


def encrypt(key: bytes, plaintext: bytes) -> bytes:
    """Pad and encrypt. The result is a multiple of 32 bytes and always longer than the plaintext."""
    padder = _PADDING.padder()
    encryptor = _cipher(key).encryptor()
    return encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()


def decrypt(key: bytes, ciphertext: bytes) -> bytes:
    """Decrypt and remove the padding.

    Raises:
        ValueError: the length is zero or no multiple of the block, or the padding is not PKCS#7 to 32 bytes.
    """
    decryption = Decryption(key)
    return decryption.update(ciphertext) + decryption.finalize()


class Decryption:
    """Decrypts as the bytes arrive. The last block is held back until `finalize` has looked at its padding."""

    def __init__(self, key: bytes) -> None:
        self._decryptor = _cipher(key).decryptor()
        self._unpadder = _PADDING.unpadder()

    def update(self, ciphertext: bytes) -> bytes:
        """Take the next bytes and return what is decrypted by now."""
        return self._unpadder.update(self._decryptor.update(ciphertext))

    def finalize(self) -> bytes:
        """Return the rest without its padding; ValueError as from the function `decrypt`, about all that came."""
        return self._unpadder.update(self._decryptor.finalize()) + self._unpadder.finalize()


def _cipher(key: bytes) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES256(key), modes.CBC(key[: limits.AES_IV_BYTES]))
