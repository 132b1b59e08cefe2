"""The envelope of a callback and of its answer: signed and encrypted JSON, opened when received and sealed when sent.

Both directions are tested against vectors from independent implementations (tests/vectors/codec.json).
"""

import binascii
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import msgspec

from maven_channel_wecom.errors import (
    MalformedCallback,
    SignatureMismatch,
    UndecipherableEnvelope,
    WrongReceiver,
)
from maven_channel_wecom.protocol import limits, signature
from maven_channel_wecom.protocol.cipher import EnvelopeCipher

# The signature covers its parts joined without a separator, so digits could be moved between timestamp and nonce
# without changing it. A strict grammar prevents that, and SHA-1 length extension as well.
_TIMESTAMP = re.compile(rf"[0-9]{{{limits.TIMESTAMP_DIGITS}}}", re.ASCII)
_NONCE = re.compile(rf"[A-Za-z0-9_-]{{1,{limits.NONCE_CHARACTERS}}}", re.ASCII)

# Neither a whole callback nor a piece of one: a piece that ends before a quotation mark leaves that mark in the receive
# id.
_ECHO = re.compile(rb'(?!.*http)(?:(?![{}":])[ -~]){0,%d}' % limits.ECHO_BYTES, re.IGNORECASE)

_LENGTH = struct.Struct(">I")
_HEAD_BYTES = limits.FRAME_RANDOM_BYTES + limits.FRAME_LENGTH_BYTES


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """A token, an AES key of 32 bytes, and a cipher for that key."""

    token: str
    key: bytes
    cipher: EnvelopeCipher = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cipher", EnvelopeCipher(self.key))

    def __repr__(self) -> str:
        return "<Credentials>"


class SignedQuery(msgspec.Struct, frozen=True):
    """The three query parameters of every callback (101033)."""

    signature: str
    timestamp: str
    nonce: str


class OpenedEnvelope(msgspec.Struct, frozen=True):
    """The content of an envelope, and the credentials that opened it, which also seal the answer."""

    message: bytes
    receive_id: str
    credentials: Credentials

    def __repr__(self) -> str:
        return f"<OpenedEnvelope of {len(self.message)} bytes>"


class SealedEnvelope(msgspec.Struct, frozen=True):
    """The answer to a callback, with WeCom's exact field names (101033: `msgsignature` has no underscore here)."""

    encrypt: str
    msgsignature: str
    timestamp: int
    nonce: str


class _Body(msgspec.Struct, frozen=True):
    encrypt: str | None = None
    # Go's JSON decoder, which the original uses, ignores the case of keys.
    capitalized: str | None = msgspec.field(name="Encrypt", default=None)


_BODY_DECODER = msgspec.json.Decoder(_Body)

# WeCom sends at most four.
_MAX_PARAMETERS = 32
# The longest query, that of a URL check, has about 300 bytes. Percent-decoding 16,000 bytes takes a millisecond.
_MAX_QUERY_BYTES = 2_048


def parse_query(query: bytes) -> dict[str, str]:
    """Decode a raw query string. If a parameter is repeated, its first value counts.

    Raises:
        MalformedCallback: the query string is too long, is not ASCII, or has too many parameters.
    """
    if len(query) > _MAX_QUERY_BYTES:
        message = "the query string is too long"
        raise MalformedCallback(message)
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        message = "the query string cannot be read"
        raise MalformedCallback(message) from None
    return dict(reversed(pairs))


def read_query(query: Mapping[str, str]) -> SignedQuery:
    """Return the signature, timestamp and nonce from decoded query parameters.

    Raises:
        MalformedCallback: a parameter is missing, the timestamp is not ten digits, or the nonce is not a short
            alphanumeric string.
    """
    # https://developer.work.weixin.qq.com/document/path/101033
    found = SignedQuery(query.get("msg_signature", ""), query.get("timestamp", ""), query.get("nonce", ""))
    if not found.signature:
        message = "the query parameter msg_signature is missing"
        raise MalformedCallback(message)
    if not _TIMESTAMP.fullmatch(found.timestamp):
        message = "the query parameter timestamp is missing or not ten digits"
        raise MalformedCallback(message)
    if not _NONCE.fullmatch(found.nonce):
        message = "the query parameter nonce is missing or not a short string of letters, digits, - and _"
        raise MalformedCallback(message)
    return found


def read_echo(query: Mapping[str, str]) -> str:
    """Return the ciphertext of a URL check from decoded query parameters.

    Raises:
        MalformedCallback: `echostr` is missing.
    """
    # An unescaped plus sign is decoded as a space, and base64 contains no spaces.
    echo = query.get("echostr", "").replace(" ", "+")
    if not echo:
        message = "the query parameter echostr is missing"
        raise MalformedCallback(message)
    return echo


def check_echo(opened: OpenedEnvelope) -> None:
    """Check that the content of a URL check can be an echo.

    The answer to a URL check is not encrypted. Without a MAC, a client that has the token can flip bits of a captured
    callback, or drop blocks of it, and sign it as a URL check; it must not get any of it decrypted.

    Raises:
        MalformedCallback: message or receive id is longer than an echo, is not printable ASCII, or contains a
            quotation mark, brace, colon or `http`.
    """
    if not _ECHO.fullmatch(opened.message) or not _ECHO.fullmatch(opened.receive_id.encode()):
        message = "the echo is, or is made of, a callback"
        raise MalformedCallback(message)


def read_body(body: bytes) -> str:
    """Return the ciphertext from the JSON body of a callback.

    Raises:
        MalformedCallback: the body is not a JSON object with a string under `encrypt`. For an XML body the reason is
            `xml`: WeCom sends XML if the URL was entered at a self-built app instead of an AI bot.
    """
    try:
        found = _BODY_DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = _Body()
    ciphertext = found.encrypt if found.encrypt is not None else found.capitalized
    if ciphertext is not None:
        return ciphertext
    if body.lstrip().startswith(b"<"):
        message = "the body is XML: this URL was entered at a self-built app, not at an AI bot"
        raise MalformedCallback(message, reason="xml")
    message = "the body is not a JSON object with a string under encrypt"
    raise MalformedCallback(message)


def open_envelope(
    credentials: Iterable[Credentials], query: SignedQuery, ciphertext: str, *, receive_id: str = ""
) -> OpenedEnvelope:
    """Check the signature, then decrypt, then split the frame.

    Several credentials are accepted during a rotation. A key is used only if the token of the same pair matches the
    signature.

    Args:
        credentials: all accepted credentials, the current ones first.
        query: the signed parameters.
        ciphertext: standard base64.
        receive_id: the required receive id; empty: not checked (101033: it is empty for an in-house bot).

    Raises:
        SignatureMismatch: no token matches the signature.
        UndecipherableEnvelope: no key opens the envelope.
        WrongReceiver: the envelope was opened, but names another receiver.
    """
    # https://developer.work.weixin.qq.com/document/path/101033
    signed = False
    for candidate in credentials:
        if not signature.matches(
            query.signature,
            token=candidate.token,
            timestamp=query.timestamp,
            nonce=query.nonce,
            ciphertext=ciphertext,
        ):
            continue
        signed = True
        try:
            encrypted = binascii.a2b_base64(ciphertext, strict_mode=True)
            message, found_id = _unframe(candidate.cipher.decrypt(encrypted))
        except ValueError:
            continue
        if receive_id and found_id != receive_id:
            raise WrongReceiver
        return OpenedEnvelope(message, found_id, candidate)
    raise UndecipherableEnvelope if signed else SignatureMismatch


def seal(
    credentials: Credentials, message: bytes, *, receive_id: str, timestamp: int, nonce: str, random: bytes
) -> SealedEnvelope:
    """Frame, encrypt and sign a message.

    `random` is 16 unpredictable bytes, `timestamp` is in seconds, and `nonce` is that of the callback being answered.
    """
    return sign(credentials, encrypt(credentials, receive_id, message, random), timestamp=timestamp, nonce=nonce)


def encrypt(credentials: Credentials, receive_id: str, message: bytes, random: bytes) -> str:
    """Frame and encrypt a message: the first half of `seal`. The result is standard base64."""
    # https://developer.work.weixin.qq.com/document/path/101033
    if len(random) != limits.FRAME_RANDOM_BYTES:
        text = f"random must have {limits.FRAME_RANDOM_BYTES} bytes"
        raise ValueError(text)
    frame = b"".join((random, _LENGTH.pack(len(message)), message, receive_id.encode()))
    return binascii.b2a_base64(credentials.cipher.encrypt(frame), newline=False).decode()


def sign(credentials: Credentials, encrypted: str, *, timestamp: int, nonce: str) -> SealedEnvelope:
    """Sign the result of `encrypt`: the second half of `seal`."""
    signed = signature.sign(credentials.token, str(timestamp), nonce, encrypted)
    return SealedEnvelope(encrypted, signed, timestamp, nonce)


def _unframe(frame: bytes) -> tuple[bytes, str]:
    """Split a frame into message and receive id. Raises ValueError (also as UnicodeDecodeError) if it is invalid."""
    if len(frame) < _HEAD_BYTES:
        text = "the frame is too short"
        raise ValueError(text)
    (length,) = _LENGTH.unpack_from(frame, limits.FRAME_RANDOM_BYTES)
    end = _HEAD_BYTES + length
    if end > len(frame):
        text = "the frame is shorter than its length field says"
        raise ValueError(text)
    message = frame[_HEAD_BYTES:end]
    message.decode()
    return message, frame[end:].decode()
