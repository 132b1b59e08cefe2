"""AES-256-CBC as WeCom uses it: the IV is taken from the key, the padding is PKCS#7 to 32 bytes (91144 "加解密方案").

CBC has no MAC, so a callback's signature must be checked before the callback is decrypted.
"""

import base64
import binascii

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from maven_channel_wecom.protocol import limits

# PKCS7 takes a size in bits.
_PADDING = PKCS7(limits.PADDING_BLOCK_BYTES * 8)

_BLOCK_BYTES = limits.AES_IV_BYTES


class EnvelopeCipher:
    """A cipher for many short messages under one key. It creates its contexts once, as creating them is the main cost.

    Every message starts from the same IV (91144 "加解密方案"), so a context that is already in use can continue: the
    block it would chain from is cancelled out. The results equal those of `encrypt` and `decrypt`. Not thread-safe.
    """

    __slots__ = ("_decryptor", "_encryptor", "_iv", "_previous_block")

    def __init__(self, key: bytes) -> None:
        cipher = _cipher(key)
        self._iv = key[:_BLOCK_BYTES]
        self._encryptor = cipher.encryptor()
        self._decryptor = cipher.decryptor()
        # The encryptor XORs this into its next block.
        self._previous_block = self._iv

    def encrypt(self, plaintext: bytes) -> bytes:
        """Pad and encrypt. The result is a multiple of 32 bytes and always longer than the plaintext."""
        padder = _PADDING.padder()
        padded = padder.update(plaintext) + padder.finalize()
        # The encryptor will XOR in its previous block, whereas a new context would XOR in the IV.
        first = int.from_bytes(padded[:_BLOCK_BYTES]) ^ int.from_bytes(self._previous_block) ^ int.from_bytes(self._iv)
        ciphertext = self._encryptor.update(first.to_bytes(_BLOCK_BYTES) + padded[_BLOCK_BYTES:])
        self._previous_block = ciphertext[-_BLOCK_BYTES:]
        return ciphertext

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Decrypt and remove the padding.

        Raises:
            ValueError: the length is zero or not a multiple of 32, or the padding is not PKCS#7 to 32 bytes.
        """
        if not ciphertext or len(ciphertext) % limits.PADDING_BLOCK_BYTES:
            message = "the length is not a whole number of blocks"
            raise ValueError(message)
        # With the IV as an extra first block of ciphertext, the blocks after it decrypt as in a new context.
        padded = self._decryptor.update(self._iv + ciphertext)[_BLOCK_BYTES:]
        unpadder = _PADDING.unpadder()
        return unpadder.update(padded) + unpadder.finalize()


def decode_key(encoding_aes_key: str) -> bytes:
    """Decode an EncodingAESKey of 43 characters to the 32 bytes of the key.

    The last character may carry two unused bits; they are not an error, as WeCom's own samples have them.

    Raises:
        ValueError: the length is wrong or a character is not base64. Its message does not contain the key.
    """
    # https://developer.work.weixin.qq.com/document/path/91144
    if len(encoding_aes_key) != limits.ENCODING_AES_KEY_CHARACTERS:
        message = f"must have {limits.ENCODING_AES_KEY_CHARACTERS} characters, this one has {len(encoding_aes_key)}"
        raise ValueError(message)
    try:
        key = base64.b64decode(encoding_aes_key + "=", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    # A text that already ends in "=" is valid base64 too, but decodes to fewer bytes.
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
        ValueError: the length is zero or not a multiple of 32, or the padding is not PKCS#7 to 32 bytes.
    """
    decryption = Decryption(key)
    return decryption.update(ciphertext) + decryption.finalize()


class Decryption:
    """Incremental decryption. `update` holds the last block back; `finalize` checks its padding."""

    def __init__(self, key: bytes) -> None:
        self._decryptor = _cipher(key).decryptor()
        self._unpadder = _PADDING.unpadder()

    def update(self, ciphertext: bytes) -> bytes:
        """Add the next bytes and return the plaintext available so far."""
        return self._unpadder.update(self._decryptor.update(ciphertext))

    def finalize(self) -> bytes:
        """Return the rest of the plaintext without its padding.

        Raises:
            ValueError: as from `decrypt`, for the whole ciphertext.
        """
        return self._unpadder.update(self._decryptor.finalize()) + self._unpadder.finalize()


def _cipher(key: bytes) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES256(key), modes.CBC(key[: limits.AES_IV_BYTES]))
