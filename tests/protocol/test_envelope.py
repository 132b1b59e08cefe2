"""Opening and sealing envelopes, and the errors for those that do not open."""

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
    """Return the ciphertext of bytes without added padding; their own last bytes are read as the padding."""
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
def test_every_signed_ciphertext_that_does_not_open_raises_the_same_error(ciphertext: str) -> None:
    """The class, the text and the status do not reveal which part is invalid."""
    with pytest.raises(UndecipherableEnvelope) as raised:
        open_signed(ciphertext)
    assert str(raised.value) == "undecipherable"
    assert raised.value.status == 400


def test_nothing_is_decrypted_if_the_signature_is_wrong() -> None:
    """An invalid ciphertext with a wrong signature is a signature mismatch, not a decryption error."""
    with pytest.raises(SignatureMismatch) as raised:
        envelope.open_envelope([CURRENT], SignedQuery("0" * 40, str(TIMESTAMP), NONCE), "?")
    assert raised.value.status == 401


@pytest.mark.parametrize("signed", ["签名", "\ud83d"], ids=["chinese", "half-an-emoji"])
def test_a_signature_that_is_not_ascii_is_a_mismatch(signed: str) -> None:
    sealed = sealed_by(CURRENT)
    with pytest.raises(SignatureMismatch):
        envelope.open_envelope([CURRENT], SignedQuery(signed, str(TIMESTAMP), NONCE), sealed.encrypt)


def test_a_receive_id_is_checked_only_if_one_is_configured() -> None:
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
def test_an_envelope_is_opened_with_the_token_and_key_that_sealed_it(used: Credentials) -> None:
    accepted = [
        Credentials(token, key) for key in (CURRENT.key, PREVIOUS.key) for token in (CURRENT.token, PREVIOUS.token)
    ]
    sealed = sealed_by(used)
    opened = envelope.open_envelope(accepted, query_of(sealed), sealed.encrypt)
    assert opened.message == b"hello"
    assert (opened.credentials.token, opened.credentials.key) == (used.token, used.key)


@pytest.mark.parametrize("name", ["msg_signature", "timestamp", "nonce"])
def test_the_error_for_a_missing_query_parameter_names_it(name: str) -> None:
    query = {"msg_signature": "s", "timestamp": str(TIMESTAMP), "nonce": NONCE}
    envelope.read_query(query)
    with pytest.raises(MalformedCallback, match=name):
        envelope.read_query({key: value for key, value in query.items() if key != name})


@pytest.mark.parametrize("nonce", ["1", NONCE, "a-b_C", "x" * 128])
def test_signed_query_parameters_are_read_unchanged(nonce: str) -> None:
    query = {"nonce": nonce, "timestamp": str(TIMESTAMP), "msg_signature": "s", "echostr": "e"}
    assert envelope.read_query(query) == SignedQuery(signature="s", timestamp="1700000000", nonce=nonce)


@pytest.mark.parametrize(
    "timestamp", ["170000000", "17000000000", "abc", "-700000000", "1" * 400, "１７００００００００", "1700000000 "]
)
def test_a_timestamp_is_ten_ascii_digits(timestamp: str) -> None:
    """Otherwise digits could be moved between timestamp and nonce without changing the signature."""
    with pytest.raises(MalformedCallback, match="timestamp"):
        envelope.read_query({"msg_signature": "s", "timestamp": timestamp, "nonce": NONCE})


@pytest.mark.parametrize("nonce", ["", " ", "a b", "a\nb", "甲", "x" * 129])
def test_a_nonce_that_is_not_a_short_token_is_malformed(nonce: str) -> None:
    with pytest.raises(MalformedCallback, match="nonce"):
        envelope.read_query({"msg_signature": "s", "timestamp": str(TIMESTAMP), "nonce": nonce})


@pytest.mark.parametrize("echo", [b"1616140317555161061", b"", b"any-opaque_text /+=!", b"9" * 256])
def test_a_number_or_short_text_can_be_an_echo(echo: bytes) -> None:
    envelope.check_echo(open_signed(sealed_by(CURRENT, echo, receive_id="ww1436e0e65a779aee").encrypt))


@pytest.mark.parametrize(
    "echo",
    [b"{", b"}", b'"', b"a:b", b"x http y", b"xHTTPS", b"9" * 257, b"\n", b"a\x00", "好".encode(), b"\x7f"],
)
def test_no_other_text_can_be_an_echo(echo: bytes) -> None:
    with pytest.raises(MalformedCallback, match="callback"):
        envelope.check_echo(open_signed(sealed_by(CURRENT, echo).encrypt))
    with pytest.raises(MalformedCallback, match="callback"):
        envelope.check_echo(open_signed(sealed_by(CURRENT, b"1", receive_id=echo.decode()).encrypt))


CAPTURED = (
    b'{"msgid":"m1","aibotid":"b1","chattype":"single","from":{"userid":"u1"},"response_url":'
    b'"https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=SECRETSECRETSECRETSECRET","msgtype":"text",'
    b'"text":{"content":"a private word"}}'
)


def test_an_echo_is_no_callback_with_flipped_bits() -> None:
    """Such flips change the length, or the first letters of the message."""
    captured = base64.b64decode(sealed_by(CURRENT, CAPTURED).encrypt)
    for position in range(32):
        for bit in range(8):
            flipped = bytearray(captured)
            flipped[position] ^= 1 << bit
            assert not answered(bytes(flipped))


def test_an_echo_is_no_piece_of_a_callback() -> None:
    """A client that knows one block of the plaintext can turn it into a length, and so begin and end anywhere."""
    captured = base64.b64decode(sealed_by(CURRENT, CAPTURED).encrypt)
    frame = bytes(16) + len(CAPTURED).to_bytes(4) + CAPTURED
    opened = 0
    for start in range(16, len(frame) - 16, 16):
        for length in range(12, 100):
            known, wanted = frame[start : start + 16], length.to_bytes(4) + b"abcdefghijkl"
            mask = (int.from_bytes(known) ^ int.from_bytes(wanted)).to_bytes(16)
            first = bytes(a ^ b for a, b in zip(captured[start - 16 : start], mask, strict=True))
            piece = first + captured[start:]
            opened += len(piece) % 32 == 0
            assert not answered(piece)
    assert opened


def answered(ciphertext: bytes) -> bool:
    """Return whether a ciphertext that was signed as a URL check would be answered with its plaintext."""
    try:
        envelope.check_echo(open_signed(base64.b64encode(ciphertext).decode()))
    except (UndecipherableEnvelope, MalformedCallback):
        return False
    return True


def test_plus_signs_of_an_echo_that_were_decoded_as_spaces_are_restored() -> None:
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
def test_a_body_that_is_not_a_json_object_with_a_ciphertext_is_malformed(body: bytes, reason: str) -> None:
    """XML has its own reason, because it means that the URL was entered at a self-built app."""
    sentence = "self-built app, not at an AI bot" if reason == "xml" else "not a JSON object .* encrypt"
    with pytest.raises(MalformedCallback, match=sentence) as raised:
        envelope.read_body(body)
    assert raised.value.reason == reason
    assert raised.value.status == 400


def test_other_keys_of_the_body_are_ignored() -> None:
    assert envelope.read_body(b'{"tousername": "x", "encrypt": "abc", "agentid": 1}') == "abc"


@pytest.mark.parametrize(
    ("body", "ciphertext"),
    [
        pytest.param(b'{"Encrypt": "abc"}', "abc", id="capitalized"),
        pytest.param(b'{"encrypt": "abc", "Encrypt": "x"}', "abc", id="both"),
        pytest.param(b'{"encrypt": null, "Encrypt": "abc"}', "abc", id="null"),
    ],
)
def test_the_key_may_be_capitalized(body: bytes, ciphertext: str) -> None:
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
def test_an_unreadable_query_string_is_malformed(query: bytes) -> None:
    with pytest.raises(MalformedCallback, match="query string"):
        envelope.parse_query(query)


def test_sealing_requires_sixteen_random_bytes() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        envelope.seal(CURRENT, b"", receive_id="", timestamp=TIMESTAMP, nonce=NONCE, random=b"short")


def test_no_repr_contains_a_secret() -> None:
    sealed = sealed_by(CURRENT)
    opened = envelope.open_envelope([CURRENT], query_of(sealed), sealed.encrypt)
    assert repr(CURRENT) == "<Credentials>"
    assert "hello" not in repr(opened)


def test_every_rejection_has_a_reason_and_a_status() -> None:
    for kind in (MalformedCallback, SignatureMismatch, UndecipherableEnvelope, WrongReceiver):
        assert issubclass(kind, CallbackRejected)
        assert kind().reason
        assert 400 <= kind().status < 500
