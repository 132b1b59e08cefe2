"""The envelope around a callback and around its answer: opened on the way in, sealed on the way out.

Both directions belong to the protocol and live here together; vectors of implementations that are not ours hold them
to the truth.
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
from maven_channel_wecom.protocol.cipher import RunningCipher

# The signature covers its parts joined without a separator, so digits could wander from timestamp to nonce and back
# under one signature. A strict grammar leaves them nowhere to go, and shuts out SHA-1 length extension as well.
_TIMESTAMP = re.compile(rf"[0-9]{{{limits.TIMESTAMP_DIGITS}}}", re.ASCII)
_NONCE = re.compile(rf"[A-Za-z0-9_-]{{1,{limits.NONCE_CHARACTERS}}}", re.ASCII)

_LENGTH = struct.Struct(">I")
_HEAD_BYTES = limits.FRAME_RANDOM_BYTES + limits.FRAME_LENGTH_BYTES


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """A token and an AES key (32 bytes) that belong together, and the cipher that runs with the key."""

    token: str
    key: bytes
    cipher: RunningCipher = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cipher", RunningCipher(self.key))

    def __repr__(self) -> str:
        return "<Credentials>"


class SignedQuery(msgspec.Struct, frozen=True):
    """The three query parameters every callback carries (101033)."""

    signature: str
    timestamp: str
    nonce: str


class OpenedEnvelope(msgspec.Struct, frozen=True):
    """What was inside, and the credentials that opened it: the answer is sealed with the same."""

    message: bytes
    receive_id: str
    credentials: Credentials

    def __repr__(self) -> str:
        return f"<OpenedEnvelope of {len(self.message)} bytes>"


class SealedEnvelope(msgspec.Struct, frozen=True):
    """The answer to a callback, with exactly WeCom's keys (101033: `msgsignature` has no underscore here)."""

    encrypt: str
    msgsignature: str
    timestamp: int
    nonce: str


class _Body(msgspec.Struct, frozen=True):
    encrypt: str | None = None
    # The original takes any capitalization, as Go's decoder does.
    capitalized: str | None = msgspec.field(name="Encrypt", default=None)


_BODY = msgspec.json.Decoder(_Body)

# WeCom sends four; more are nobody's business.
_MAX_PARAMETERS = 32
# The longest, with an echo, has some 300; decoding percent signs takes a millisecond for 16,000.
_MAX_QUERY_BYTES = 2_048


def parse_query(query: bytes) -> dict[str, str]:
    """Decode a raw query string. Of a parameter that stands there twice the first counts.

    Raises:
        MalformedCallback: it is too long, not ASCII, or has too many parameters.
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
    """Take the signature, timestamp and nonce from a decoded query string.

    Raises:
        MalformedCallback: one is missing, the timestamp is not ten digits, or the nonce not a short alphanumeric.
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
        message = "the query parameter nonce is missing or not a short alphanumeric"
        raise MalformedCallback(message)
    return found


def read_echo(query: Mapping[str, str]) -> str:
    """Take the ciphertext of a URL check from a decoded query string.

    Raises:
        MalformedCallback: it is missing.
    """
    # A plus sign that was sent raw has become a space; base64 has no space it could have been.
    echo = query.get("echostr", "").replace(" ", "+")
    if not echo:
        message = "the query parameter echostr is missing"
        raise MalformedCallback(message)
    return echo


def read_body(body: bytes) -> str:
    """Take the ciphertext from the JSON body of a callback.

    Raises:
        MalformedCallback: the body is not a JSON object with a text under `encrypt`. An XML body has the reason
            `xml`: WeCom sends one when the URL was entered at a self-built app and not at an AI bot.
    """
    try:
        found = _BODY.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = _Body()
    ciphertext = found.encrypt if found.encrypt is not None else found.capitalized
    if ciphertext is not None:
        return ciphertext
    if body.lstrip().startswith(b"<"):
        message = "the body is XML: this URL was entered at a self-built app, not at an AI bot"
        raise MalformedCallback(message, reason="xml")
    message = "the body is not a JSON object with a text under encrypt"
    raise MalformedCallback(message)


def open_envelope(
    credentials: Iterable[Credentials], query: SignedQuery, ciphertext: str, *, receive_id: str = ""
) -> OpenedEnvelope:
    """Check the signature, then decrypt, then take the frame apart.

    Several credentials are accepted while they are being changed; those whose token does not fit the signature never
    decrypt anything.

    Args:
        credentials: the accepted ones, the current one first.
        query: the signed parameters.
        ciphertext: standard base64.
        receive_id: the id the envelope must be meant for; empty: not checked (101033: it is empty for an in-house bot).

    Raises:
        SignatureMismatch: no token fits.
        UndecipherableEnvelope: no key opens it.
        WrongReceiver: it opened and names another receiver.
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

    `random` is 16 bytes nobody can guess; `timestamp` is in seconds; `nonce` is the one of the callback answered.
    """
    return sign(credentials, encrypt(credentials, receive_id, message, random), timestamp=timestamp, nonce=nonce)


def encrypt(credentials: Credentials, receive_id: str, message: bytes, random: bytes) -> str:
    """Frame and encrypt a message, as `seal` does; the result is standard base64."""
    # https://developer.work.weixin.qq.com/document/path/101033
    if len(random) != limits.FRAME_RANDOM_BYTES:
        text = f"random must have {limits.FRAME_RANDOM_BYTES} bytes"
        raise ValueError(text)
    frame = b"".join((random, _LENGTH.pack(len(message)), message, receive_id.encode()))
    return binascii.b2a_base64(credentials.cipher.encrypt(frame), newline=False).decode()


def sign(credentials: Credentials, encrypted: str, *, timestamp: int, nonce: str) -> SealedEnvelope:
    """Sign what `encrypt` returned, as `seal` does."""
    signed = signature.sign(credentials.token, str(timestamp), nonce, encrypted)
    return SealedEnvelope(encrypted, signed, timestamp, nonce)


def _unframe(frame: bytes) -> tuple[bytes, str]:
    """Split a frame into message and receive id; ValueError when it is none (UnicodeDecodeError is one)."""
    if len(frame) < _HEAD_BYTES:
        text = "the frame is too short"
        raise ValueError(text)
    (length,) = _LENGTH.unpack_from(frame, limits.FRAME_RANDOM_BYTES)
    end = _HEAD_BYTES + length
    if end > len(frame):
        text = "the frame is shorter than it says"
        raise ValueError(text)
    message = frame[_HEAD_BYTES:end]
    message.decode()
    return message, frame[end:].decode()
