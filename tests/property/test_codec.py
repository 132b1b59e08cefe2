"""Properties of the codec and the parsers, for any message, key or invalid input."""

import base64
import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maven_channel_wecom.errors import CallbackRejected, MalformedCallback, MediaUnavailable, SignatureMismatch
from maven_channel_wecom.protocol import cipher, envelope, media, reply, signature
from maven_channel_wecom.protocol.callback import read_callback
from maven_channel_wecom.protocol.envelope import Credentials, SignedQuery
from tests.fakes.decrypted import decrypted

texts = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.binary(min_size=32, max_size=32)
credentials = st.builds(Credentials, st.text("abcXYZ019", min_size=1, max_size=32), keys)
nonces = st.from_regex(r"[A-Za-z0-9]{1,19}", fullmatch=True)
timestamps = st.integers(1_000_000_000, 9_999_999_999)
randoms = st.binary(min_size=16, max_size=16)


@given(credentials, texts, texts, timestamps, nonces, randoms)
def test_a_sealed_envelope_opens_to_its_message_and_receive_id(
    used: Credentials, message: str, receive_id: str, timestamp: int, nonce: str, random: bytes
) -> None:
    sealed = envelope.seal(
        used, message.encode(), receive_id=receive_id, timestamp=timestamp, nonce=nonce, random=random
    )
    opened = envelope.open_envelope(
        [used], SignedQuery(sealed.msgsignature, str(timestamp), nonce), sealed.encrypt, receive_id=receive_id
    )
    assert (opened.message.decode(), opened.receive_id) == (message, receive_id)
    assert len(base64.b64decode(sealed.encrypt)) % 32 == 0


@given(credentials, texts, st.integers(min_value=0), st.integers(0, 7))
def test_a_changed_bit_is_a_signature_mismatch(used: Credentials, message: str, position: int, bit: int) -> None:
    sealed = envelope.seal(used, message.encode(), receive_id="", timestamp=1_700_000_000, nonce="n", random=bytes(16))
    damaged = bytearray(base64.b64decode(sealed.encrypt))
    damaged[position % len(damaged)] ^= 1 << bit
    ciphertext = base64.b64encode(damaged).decode()
    with pytest.raises(SignatureMismatch):
        envelope.open_envelope([used], SignedQuery(sealed.msgsignature, "1700000000", "n"), ciphertext)


@given(credentials, st.one_of(st.text(), st.binary(max_size=300).map(lambda raw: base64.b64encode(raw).decode())))
def test_any_signed_ciphertext_opens_or_is_rejected(used: Credentials, ciphertext: str) -> None:
    signed = signature.sign(used.token, "1700000000", "n", ciphertext)
    with contextlib.suppress(CallbackRejected):
        opened = envelope.open_envelope([used], SignedQuery(signed, "1700000000", "n"), ciphertext)
        assert opened.credentials is used


@given(keys, st.lists(st.tuples(st.booleans(), st.binary(max_size=200)), max_size=8))
def test_a_reused_cipher_gives_the_same_results_as_a_new_one(key: bytes, messages: list[tuple[bool, bytes]]) -> None:
    """Invalid ciphertexts before a message do not change its result."""
    reused = cipher.EnvelopeCipher(key)
    for cut, message in messages:
        ciphertext = cipher.encrypt(key, message)
        assert reused.encrypt(message) == ciphertext
        if cut:
            ciphertext = message + ciphertext[:-1]
        try:
            expected = cipher.decrypt(key, ciphertext)
        except ValueError:
            with pytest.raises(ValueError, match=r"."):
                reused.decrypt(ciphertext)
        else:
            assert reused.decrypt(ciphertext) == expected


@given(st.binary(max_size=500))
def test_any_bytes_are_a_body_or_rejected(body: bytes) -> None:
    with contextlib.suppress(MalformedCallback):
        assert isinstance(envelope.read_body(body), str)


@given(st.dictionaries(st.sampled_from(["msg_signature", "timestamp", "nonce", "echostr"]), st.text()))
def test_any_query_has_the_strict_grammar_or_is_rejected(query: dict[str, str]) -> None:
    try:
        found = envelope.read_query(query)
    except MalformedCallback:
        return
    assert len(found.timestamp) == 10
    assert found.timestamp.isascii()
    assert found.nonce.isascii()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["content", "url", "msgtype", "msg_item", "text", "image", "userid", "eventtype", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
callbacks = st.fixed_dictionaries(
    {"msgid": st.text() | json_values, "msgtype": st.sampled_from(["text", "image", "mixed", "event", "x"])},
    optional=dict.fromkeys(
        ("text", "image", "mixed", "voice", "file", "event", "quote", "from", "chatid", "response_url"), json_values
    ),
)


@given(st.one_of(st.binary(max_size=200), callbacks))
def test_any_plaintext_is_a_callback_or_malformed(message: object) -> None:
    raw = message if isinstance(message, bytes) else msgspec.json.encode(message)
    try:
        callback = read_callback(raw)
    except MalformedCallback:
        return
    assert callback.message_id
    assert callback.type


@given(st.binary(max_size=2000), keys, st.sampled_from(["image", "file"]))
def test_any_download_opens_or_is_unavailable(content: bytes, key: bytes, kind: str) -> None:
    try:
        opened = decrypted(content, [key], "image" if kind == "image" else "file")
    except MediaUnavailable:
        return
    assert opened == content or cipher.encrypt(key, opened) == content


@given(st.text())
def test_a_file_name_from_any_header_has_no_folder_and_no_control_character(header: str) -> None:
    name = media.file_name(header)
    assert "/" not in name
    assert "\\" not in name
    assert name.isprintable() or not any(ord(character) < 32 for character in name)
    assert len(name) <= 255


@given(st.binary(max_size=200))
def test_any_answer_to_a_reply_can_be_read(body: bytes) -> None:
    answer = reply.read_answer(body)
    assert answer is None or isinstance(answer.errcode, int)
