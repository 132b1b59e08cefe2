"""Decryption of a whole media item in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maven_channel_wecom.protocol.media import MediaDecryptor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maven_channel_wecom.protocol.callback import MediaKind


def decrypted(content: bytes, keys: Iterable[bytes], kind: MediaKind) -> bytes:
    """Return the decrypted bytes of a media item. Raises MediaUnavailable as MediaDecryptor does."""
    decryptor = MediaDecryptor(keys, kind)
    return b"".join((decryptor.update(content), *decryptor.finalize()))
