"""Which callbacks open a window, and for how long."""

import pytest

from maven_channel_wecom.policy.reply_window import MARGIN_SECONDS, may_have_window, open_window
from maven_channel_wecom.protocol.callback import MESSAGE_TYPES, Callback

URL = "https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=canary"


def callback(type_: str, url: str = URL) -> Callback:
    return Callback(message_id="m", type=type_, sender_id="alice", is_group=True, chat_id="wr1", response_url=url)


@pytest.mark.parametrize("type_", MESSAGE_TYPES)
def test_every_message_with_a_url_opens_a_window_of_its_own(type_: str) -> None:
    """Bound to message, chat and sender, a little shorter than WeCom's hour."""
    window = open_window(callback(type_), now=1000.0)
    assert window is not None
    assert (window.message_id, window.chat, window.sender_id, window.url) == ("m", "group:wr1", "alice", URL)
    assert window.opened_at == 1000.0
    assert not window.repeated
    assert window.expires_at == 1000.0 + 3600 - MARGIN_SECONDS


@pytest.mark.parametrize(
    "found", [callback("text", url=""), callback("event"), callback("stream")], ids=["no-url", "event", "stream"]
)
def test_what_nobody_will_answer_opens_none(found: Callback) -> None:
    """A card's URL is not kept either: the event is not published, so no answer will come."""
    assert open_window(found, now=0.0) is None


def test_a_repr_shows_nothing_of_a_window() -> None:
    """The URL is as good as a password, and who talks where is nobody's business."""
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
def test_only_what_wecom_may_call_so_has_a_window(chat_id: str, message_id: str | None, *, expected: bool) -> None:
    """The rest came from a host, and each backend would take it in its own way."""
    assert may_have_window(chat_id, message_id) is expected
