"""The fuzz targets: each takes bytes and returns if the code under test returns a value or raises a documented error.

Any other exception, and any failed assertion, is a finding. Targets sign their inputs where an unauthenticated client
would fail the signature check, so that the code behind that check is fuzzed too.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.errors import CallbackRejected, MalformedCallback, MediaUnavailable
from maven_channel_wecom.policy import admission, reply_window
from maven_channel_wecom.policy.media_blocks import BlockData, media_block
from maven_channel_wecom.policy.normalization import normalize
from maven_channel_wecom.policy.rendering import render
from maven_channel_wecom.protocol import cipher, envelope, media, signature
from maven_channel_wecom.protocol.callback import MediaItem, read_callback
from maven_channel_wecom.protocol.envelope import Credentials, SignedQuery
from maven_channel_wecom.sentences import ANSWER_CONTINUED, ANSWER_CUT
from tests.fakes.decrypted import decrypted
from tests.fakes.splitting import split

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.protocol.callback import MediaKind

CORPORA: Final = Path(__file__).with_name("corpora")
FOUND: Final = Path(".fuzz")

_KEY: Final = bytes(range(32))
_OTHER_KEY: Final = bytes(range(32, 64))
_CREDENTIALS: Final = (Credentials("token", _KEY), Credentials("token", _OTHER_KEY), Credentials("other", _KEY))
_TIMESTAMP: Final = "1700000000"
_KINDS: Final[tuple[MediaKind, ...]] = ("image", "file")
_PADDING: Final = bytes(9_000)
# Far below WeCom's limit, so that most inputs are cut, and large enough for a notice and a fence.
_LIMITS_BYTES: Final = range(160, 416)


def fuzz_envelope(data: bytes) -> None:
    """Use the input as a body, as query parameters, as a signed ciphertext, and as the frame in one."""
    with contextlib.suppress(MalformedCallback):
        _open(envelope.read_body(data))
    parts = [part.decode("utf-8", "surrogateescape") for part in data.split(b"&", 3)]
    query = dict(zip(("msg_signature", "timestamp", "nonce", "echostr"), parts, strict=False))
    with contextlib.suppress(CallbackRejected):
        _open(envelope.read_echo(query))
    with contextlib.suppress(CallbackRejected):
        envelope.open_envelope(_CREDENTIALS, envelope.read_query(query), parts[-1])
    _open(data.decode("utf-8", "surrogateescape"))
    _open(base64.b64encode(data).decode())
    _open(base64.b64encode(cipher.encrypt(_KEY, data)).decode())


def _open(ciphertext: str) -> None:
    signed = SignedQuery(signature.sign("token", _TIMESTAMP, "n", ciphertext), _TIMESTAMP, "n")
    for receive_id in ("", "corp"):
        with contextlib.suppress(CallbackRejected):
            opened = envelope.open_envelope(_CREDENTIALS, signed, ciphertext, receive_id=receive_id)
            assert opened.message.decode().encode() == opened.message
            assert opened.receive_id == receive_id or not receive_id


def fuzz_cipher(data: bytes) -> None:
    """Use the input as a plaintext, as a ciphertext, and as an EncodingAESKey."""
    encrypted = cipher.encrypt(_KEY, data)
    assert len(encrypted) % 32 == 0
    assert len(encrypted) > len(data)
    assert cipher.decrypt(_KEY, encrypted) == data
    with contextlib.suppress(ValueError):
        assert cipher.encrypt(_KEY, cipher.decrypt(_KEY, data)) == data
    text = data.decode("utf-8", "surrogateescape")
    for spelling in (text, text[:43], base64.b64encode(data)[:43].decode()):
        with contextlib.suppress(ValueError):
            assert len(cipher.decode_key(spelling)) == 32


def fuzz_callback(data: bytes) -> None:
    """Use the input as a decrypted callback, and process it up to the normalized message."""
    try:
        callback = read_callback(data)
    except MalformedCallback:
        return
    assert callback.message_id
    admission.refusal(callback, admission.AdmissionRules(senders=frozenset({"user"}), groups=frozenset({"group"})))
    reply_window.open_window(callback, 0.0)
    items = [item for item in (*callback.quoted_items, *callback.items) if isinstance(item, MediaItem)]
    blocks = [media_block(item, BlockData(), "image/jpeg", "name") for item in items]
    message = normalize(
        callback, blocks, channel="wecom", received_at=0.0, trail="", language="en", mention_names=("bot", "Maven")
    )
    # The host stores and forwards these values, so they must not contain lone surrogates.
    msgspec.json.decode(msgspec.json.encode((message, callback.event, callback.message_id, callback.chat_id)))


_MEDIA_VARIANTS: Final[tuple[tuple[Callable[[bytes], bytes], tuple[bytes, ...], MediaKind], ...]] = tuple(
    itertools.product(
        (
            lambda data: data,
            lambda data: data + _PADDING,
            lambda data: cipher.encrypt(_KEY, data),
            lambda data: cipher.encrypt(_KEY, data + _PADDING),
        ),
        ((_KEY,), (_OTHER_KEY, _KEY)),
        _KINDS,
    )
)


def fuzz_media(data: bytes) -> None:
    """Use the input as a download, as the content of one, as a header with a file name, and as the key of an item.

    Type detection is slow, so only one variant is tried, chosen by the length of the input: short, or long enough to be
    decrypted incrementally; plain or encrypted; with the right key only, or after a wrong one; and of either kind.
    """
    content, keys, kind = _MEDIA_VARIANTS[len(data) % len(_MEDIA_VARIANTS)]
    with contextlib.suppress(MediaUnavailable):
        _open_in_parts(content(data), keys, kind)
    text = data.decode("utf-8", "surrogateescape")
    for header in (text, data.decode("latin-1"), f"attachment; filename*=UTF-8''{text}", f'inline; filename="{text}"'):
        name = media.file_name(header)
        assert len(name) <= 255
        assert not re.search(r"[/\\\x00-\x1f\x7f]", name)
        name.encode()
    key = media.decode_item_key(text)
    assert key is None or len(key) == 32


def _open_in_parts(content: bytes, keys: tuple[bytes, ...], kind: MediaKind) -> None:
    whole = decrypted(content, keys, kind)
    decryptor = media.MediaDecryptor(keys, kind)
    parts = [decryptor.update(content[start : start + 1_000]) for start in range(0, len(content), 1_000)]
    parts += decryptor.finalize()
    assert b"".join(parts) == whole
    assert decryptor.media_type == media.media_type(whole)
    block_data = BlockData()
    for part in parts:
        block_data.add(part)
    media_block(MediaItem(kind=kind, url=""), block_data, decryptor.media_type, "name")


def fuzz_cutting(data: bytes) -> None:
    """Use the input as an answer that is too long. Its first byte chooses the limit."""
    text = data[1:].decode("utf-8", "surrogateescape")
    limit = _LIMITS_BYTES[data[0]] if data else _LIMITS_BYTES[0]
    rendered = render(text, limit)
    assert len(rendered.content.encode()) <= limit
    assert bool(rendered.truncated_bytes) == (rendered.content.endswith(ANSWER_CUT.en) and rendered.content != text)
    assert render(rendered.content, limit).content == rendered.content
    parts = split(text, 3, limit)
    assert len(parts) <= 3
    assert all(len(part.content.encode()) <= limit for part in parts)
    assert all(part.content.endswith(ANSWER_CONTINUED.en) for part in parts[:-1])
    assert not any(part.truncated_bytes for part in parts[:-1])


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "envelope": fuzz_envelope,
    "cipher": fuzz_cipher,
    "callback": fuzz_callback,
    "media": fuzz_media,
    "cutting": fuzz_cutting,
}
