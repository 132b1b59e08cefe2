"""A media item decrypted in one go, as tests like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maven_channel_wecom.protocol.media import MediaDecryptor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maven_channel_wecom.protocol.callback import MediaKind


def decrypted(content: bytes, keys: Iterable[bytes], kind: MediaKind) -> bytes:
    """Return what was downloaded, decrypted. Raises MediaUnavailable as MediaDecryptor does."""
    decryptor = MediaDecryptor(keys, kind)
    return b"".join((decryptor.update(content), *decryptor.finalize()))
