"""What does not open, and why a caller cannot tell."""

import base64

import pytest

from maven_channel_wecom.errors import (
    CallbackRejected,
    MalformedCallback,
    SignatureMismatch,
    UndecipherableEnvelope,
    WrongReceiver,
)
from maven_channel_wecom.protocol import cipher, envelope, signature
from maven_channel_wecom.protocol.envelope import Credentials, SealedEnvelope, SignedQuery

CURRENT = Credentials("token", bytes(range(32)))
PREVIOUS = Credentials("old-token", bytes(range(32, 64)))
TIMESTAMP, NONCE = 1700000000, "nonce1"


def sealed_by(credentials: Credentials, message: bytes = b"hello", receive_id: str = "") -> SealedEnvelope:
    return envelope.seal(
        credentials, message, receive_id=receive_id, timestamp=TIMESTAMP, nonce=NONCE, random=bytes(16)
    )


def query_of(sealed: SealedEnvelope) -> SignedQuery:
    return SignedQuery(sealed.msgsignature, str(sealed.timestamp), sealed.nonce)


def open_signed(ciphertext: str, **options: str) -> envelope.OpenedEnvelope:
    signed = signature.sign(CURRENT.token, str(TIMESTAMP), NONCE, ciphertext)
    return envelope.open_envelope([CURRENT], SignedQuery(signed, str(TIMESTAMP), NONCE), ciphertext, **options)


def encrypted(frame: bytes) -> str:
    return base64.b64encode(cipher.encrypt(CURRENT.key, frame)).decode()


def unpadded(block: bytes) -> str:
    """Return the ciphertext of bytes that carry whatever padding they end with."""
    whole = cipher.encrypt(CURRENT.key, block)
    return base64.b64encode(whole[: len(block)]).decode()


@pytest.mark.parametrize(
    "ciphertext",
    [
        pytest.param("", id="empty"),
        pytest.param("?", id="not-base64"),
        pytest.param("AAA", id="base64-without-padding"),
        pytest.param("é", id="not-ascii"),
        pytest.param("\ud83d", id="half-an-emoji"),
        pytest.param(encrypted(bytes(20))[:40] + "\n" + encrypted(bytes(20))[40:], id="line-break-inside"),
        pytest.param(base64.b64encode(bytes(15)).decode(), id="half-a-block"),
        pytest.param(base64.b64encode(bytes(32)).decode(), id="noise"),
        pytest.param(encrypted(b""), id="no-frame"),
        pytest.param(encrypted(bytes(19)), id="frame-without-length"),
        pytest.param(encrypted(bytes(16) + b"\x00\x00\x00\x06hello"), id="length-beyond-the-end"),
        pytest.param(encrypted(bytes(16) + b"\xff\xff\xff\xffhello"), id="length-of-four-gigabytes"),
        pytest.param(encrypted(bytes(16) + b"\x00\x00\x00\x02\xff\xfe"), id="message-not-utf-8"),
        pytest.param(encrypted(bytes(16) + b"\x00\x00\x00\x00\xff"), id="receive-id-not-utf-8"),
        pytest.param(unpadded(bytes(31) + b"\x00"), id="padding-of-zero"),
        pytest.param(unpadded(bytes(31) + b"\x21"), id="padding-of-33"),
        pytest.param(unpadded(bytes(30) + b"\x01\x02"), id="padding-not-uniform"),
    ],
)
def test_whatever_does_not_open_is_one_and_the_same_error(ciphertext: str) -> None:
    """A signed ciphertext that is broken anywhere raises the same class with the same text."""
    with pytest.raises(UndecipherableEnvelope) as raised:
        open_signed(ciphertext)
    assert str(raised.value) == "undecipherable"
    assert raised.value.status == 400


def test_nothing_is_decrypted_before_the_signature_holds() -> None:
    """Noise under a wrong signature is a wrong signature, not a decryption failure."""
    with pytest.raises(SignatureMismatch) as raised:
        envelope.open_envelope([CURRENT], SignedQuery("0" * 40, str(TIMESTAMP), NONCE), "?")
    assert raised.value.status == 401


@pytest.mark.parametrize("signed", ["签名", "\ud83d"], ids=["chinese", "half-an-emoji"])
def test_a_signature_that_is_not_ascii_is_a_mismatch(signed: str) -> None:
    """Constant-time comparison refuses such text by itself; a caller must not notice."""
    sealed = sealed_by(CURRENT)
    with pytest.raises(SignatureMismatch):
        envelope.open_envelope([CURRENT], SignedQuery(signed, str(TIMESTAMP), NONCE), sealed.encrypt)


def test_a_receive_id_is_checked_only_when_one_is_configured() -> None:
    """In-house bots carry an empty one, and nobody has to configure that."""
    ciphertext = sealed_by(CURRENT, receive_id="corp").encrypt
    assert open_signed(ciphertext).receive_id == "corp"
    assert open_signed(ciphertext, receive_id="corp").message == b"hello"
    with pytest.raises(WrongReceiver):
        open_signed(ciphertext, receive_id="another")


@pytest.mark.parametrize(
    "used",
    [
        pytest.param(CURRENT, id="current"),
        pytest.param(PREVIOUS, id="previous"),
        pytest.param(Credentials(PREVIOUS.token, CURRENT.key), id="old-token-new-key"),
        pytest.param(Credentials(CURRENT.token, PREVIOUS.key), id="new-token-old-key"),
    ],
)
def test_during_a_rotation_every_combination_opens_and_is_answered_in_kind(used: Credentials) -> None:
    """Whoever sealed it can open the answer."""
    accepted = [
        Credentials(token, key) for key in (CURRENT.key, PREVIOUS.key) for token in (CURRENT.token, PREVIOUS.token)
    ]
    sealed = sealed_by(used)
    opened = envelope.open_envelope(accepted, query_of(sealed), sealed.encrypt)
    assert opened.message == b"hello"
    assert (opened.credentials.token, opened.credentials.key) == (used.token, used.key)


@pytest.mark.parametrize("name", ["msg_signature", "timestamp", "nonce"])
def test_each_query_parameter_is_required_by_name(name: str) -> None:
    """The sentence names what is missing."""
    query = {"msg_signature": "s", "timestamp": str(TIMESTAMP), "nonce": NONCE}
    envelope.read_query(query)
    with pytest.raises(MalformedCallback, match=name):
        envelope.read_query({key: value for key, value in query.items() if key != name})


@pytest.mark.parametrize("nonce", ["1", NONCE, "a-b_C", "x" * 128])
def test_a_query_gives_what_was_signed(nonce: str) -> None:
    """Each parameter under its own name, exactly as it was sent."""
    query = {"nonce": nonce, "timestamp": str(TIMESTAMP), "msg_signature": "s", "echostr": "e"}
    assert envelope.read_query(query) == SignedQuery(signature="s", timestamp="1700000000", nonce=nonce)


@pytest.mark.parametrize(
    "timestamp", ["170000000", "17000000000", "abc", "-700000000", "1" * 400, "１７００００００００", "1700000000 "]
)
def test_a_timestamp_is_ten_ascii_digits(timestamp: str) -> None:
    """Anything else could shift digits between timestamp and nonce under one signature."""
    with pytest.raises(MalformedCallback, match="timestamp"):
        envelope.read_query({"msg_signature": "s", "timestamp": timestamp, "nonce": NONCE})


@pytest.mark.parametrize("nonce", ["", " ", "a b", "a\nb", "甲", "x" * 129])
def test_a_nonce_is_a_short_alphanumeric(nonce: str) -> None:
    """Everything WeCom has been seen to send fits."""
    with pytest.raises(MalformedCallback, match="nonce"):
        envelope.read_query({"msg_signature": "s", "timestamp": str(TIMESTAMP), "nonce": nonce})


def test_an_echo_may_have_lost_its_plus_signs_to_a_query_parser() -> None:
    """A raw plus reads as a space; base64 has no spaces, so it can only have been one."""
    assert envelope.read_echo({"echostr": "a b+c"}) == "a+b+c"
    with pytest.raises(MalformedCallback, match="echostr"):
        envelope.read_echo({})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "malformed", id="empty"),
        pytest.param(b"null", "malformed", id="null"),
        pytest.param(b"[]", "malformed", id="array"),
        pytest.param(b'{"encrypt": 1}', "malformed", id="number"),
        pytest.param(b'{"ENCRYPT": "x"}', "malformed", id="other-name"),
        pytest.param(b'{"encrypt": "\xff"}', "malformed", id="not-utf-8"),
        pytest.param(b"[" * 100_000, "malformed", id="deep"),
        pytest.param(b'{"a":' * 100_000, "malformed", id="deep-objects"),
        pytest.param(b" <xml><Encrypt>x</Encrypt></xml>", "xml", id="xml"),
    ],
)
def test_a_body_is_a_json_object_with_a_text(body: bytes, reason: str) -> None:
    """XML gets a reason of its own: the URL was entered at a self-built app."""
    clue = "self-built app, not at an AI bot" if reason == "xml" else "not a JSON object .* encrypt"
    with pytest.raises(MalformedCallback, match=clue) as raised:
        envelope.read_body(body)
    assert raised.value.reason == reason
    assert raised.value.status == 400


def test_other_keys_of_the_body_do_not_matter() -> None:
    """Samples carry `tousername` and `agentid` beside it."""
    assert envelope.read_body(b'{"tousername": "x", "encrypt": "abc", "agentid": 1}') == "abc"


@pytest.mark.parametrize(
    ("body", "ciphertext"),
    [
        pytest.param(b'{"Encrypt": "abc"}', "abc", id="capitalized"),
        pytest.param(b'{"encrypt": "abc", "Encrypt": "x"}', "abc", id="both"),
        pytest.param(b'{"encrypt": null, "Encrypt": "abc"}', "abc", id="null"),
    ],
)
def test_the_capitalized_key_of_the_original_is_taken(body: bytes, ciphertext: str) -> None:
    assert envelope.read_body(body) == ciphertext


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        pytest.param(b"", {}, id="empty"),
        pytest.param(b"a=1&b=&c", {"a": "1", "b": "", "c": ""}, id="blank"),
        pytest.param(b"a=1&a=2", {"a": "1"}, id="twice"),
        pytest.param(b"a=%6e+x%2B", {"a": "n x+"}, id="encoded"),
    ],
)
def test_a_query_string_is_decoded(query: bytes, parameters: dict[str, str]) -> None:
    assert envelope.parse_query(query) == parameters


@pytest.mark.parametrize(
    "query",
    [b"a=\xff", b"&".join(b"a=1" for _ in range(100)), b"a=" + b"%41" * 700],
    ids=["not-ascii", "many", "long"],
)
def test_a_query_string_that_cannot_be_read_is_malformed(query: bytes) -> None:
    with pytest.raises(MalformedCallback, match="query string"):
        envelope.parse_query(query)


def test_sealing_needs_sixteen_random_bytes() -> None:
    """Fewer would shift the whole frame."""
    with pytest.raises(ValueError, match="16 bytes"):
        envelope.seal(CURRENT, b"", receive_id="", timestamp=TIMESTAMP, nonce=NONCE, random=b"short")


def test_no_repr_shows_a_secret() -> None:
    """Tracebacks print locals."""
    sealed = sealed_by(CURRENT)
    opened = envelope.open_envelope([CURRENT], query_of(sealed), sealed.encrypt)
    assert repr(CURRENT) == "<Credentials>"
    assert "hello" not in repr(opened)


def test_every_rejection_has_a_reason_and_a_status() -> None:
    """A metric label and an HTTP status, without asking what class it is."""
    for kind in (MalformedCallback, SignatureMismatch, UndecipherableEnvelope, WrongReceiver):
        assert issubclass(kind, CallbackRejected)
        assert kind().reason
        assert 400 <= kind().status < 500
