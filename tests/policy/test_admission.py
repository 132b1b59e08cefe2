"""Who may talk to the bot."""

from typing import get_args

import pytest

from maven_channel_wecom.errors import Refusal
from maven_channel_wecom.policy.admission import AdmissionRules, refusal
from maven_channel_wecom.protocol.callback import Callback

EVERYBODY = AdmissionRules()
SOME = AdmissionRules(senders=frozenset({"alice"}), groups=frozenset({"wr1"}), bots=frozenset({"aib1"}))


def callback(*, sender: str = "alice", group: str | None = None, bot: str = "aib1") -> Callback:
    is_group, chat_id = (False, sender) if group is None else (True, group)
    return Callback(message_id="m", type="text", sender_id=sender, is_group=is_group, chat_id=chat_id, bot_id=bot)


@pytest.mark.parametrize(
    ("found", "rules", "reason"),
    [
        pytest.param(callback(), EVERYBODY, None, id="empty-lists-allow-everybody"),
        pytest.param(callback(sender="bob", group="wr9"), EVERYBODY, None, id="and-every-group"),
        pytest.param(callback(sender=""), EVERYBODY, "no_sender", id="nobody-to-answer"),
        pytest.param(callback(group=""), EVERYBODY, "no_group", id="group-without-id"),
        pytest.param(callback(), SOME, None, id="listed"),
        pytest.param(callback(sender="bob"), SOME, "sender", id="sender-not-listed"),
        pytest.param(callback(sender="Alice"), SOME, "sender", id="ids-are-compared-exactly"),
        pytest.param(callback(bot="aib2"), SOME, "bot", id="bot-not-listed"),
        pytest.param(callback(group="wr1"), SOME, None, id="group-listed"),
        pytest.param(callback(group="wr2"), SOME, "group", id="group-not-listed"),
        pytest.param(callback(sender="bob", group="wr1"), SOME, "sender", id="sender-in-a-group"),
    ],
)
def test_a_callback_is_refused_for_the_first_list_it_is_not_on(
    found: Callback, rules: AdmissionRules, reason: str | None
) -> None:
    """Bot, then group, then sender; a single chat needs no group."""
    assert refusal(found, rules) == reason
    assert reason is None or reason in get_args(Refusal)
