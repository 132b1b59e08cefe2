"""Reply windows: which callbacks open one, its limits, and its chat key."""

import pytest

from maven_channel_wecom.policy.reply_window import MARGIN_SECONDS, may_have_window, open_window
from maven_channel_wecom.protocol.callback import MESSAGE_TYPES, Callback

URL = "https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=canary"


def callback(type_: str, url: str = URL) -> Callback:
    return Callback(message_id="m", type=type_, sender_id="alice", is_group=True, chat_id="wr1", response_url=url)


@pytest.mark.parametrize("type_", MESSAGE_TYPES)
def test_every_message_with_a_url_opens_a_window_for_almost_an_hour(type_: str) -> None:
    window = open_window(callback(type_), now=1000.0)
    assert window is not None
    assert (window.message_id, window.chat, window.sender_id, window.url) == ("m", "group:wr1", "alice", URL)
    assert window.opened_at == 1000.0
    assert not window.repeated
    assert window.expires_at == 1000.0 + 3600 - MARGIN_SECONDS


@pytest.mark.parametrize(
    "found", [callback("text", url=""), callback("event"), callback("stream")], ids=["no-url", "event", "stream"]
)
def test_a_callback_that_cannot_be_answered_opens_no_window(found: Callback) -> None:
    """An event may have a URL, but it is not published, so the agent will not answer it."""
    assert open_window(found, now=0.0) is None


def test_the_repr_of_a_window_contains_no_field() -> None:
    """The URL is as sensitive as a password, and ids are personal data."""
    assert repr(open_window(callback("text"), now=0.0)) == "<ReplyWindow>"


@pytest.mark.parametrize(
    ("chat_id", "message_id", "expected"),
    [
        ("wr1", "m", True),
        ("群", "消息", True),
        ("wr1", None, True),
        ("", None, False),
        ("wr1", "", False),
        ("\ud800", "m", False),
        ("wr1", "m\udfff", False),
    ],
)
def test_only_possible_ids_may_have_a_window(chat_id: str, message_id: str | None, *, expected: bool) -> None:
    """A host may pass any text, and backends would treat an impossible id differently."""
    assert may_have_window(chat_id, message_id) is expected
