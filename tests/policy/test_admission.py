"""The allow-lists."""

from typing import get_args

import pytest

from maven_channel_wecom.errors import Refusal
from maven_channel_wecom.policy.admission import AdmissionRules, refusal
from maven_channel_wecom.protocol.callback import Callback

EMPTY_LISTS = AdmissionRules()
LISTS = AdmissionRules(senders=frozenset({"alice"}), groups=frozenset({"wr1"}), bots=frozenset({"aib1"}))


def callback(*, sender: str = "alice", group: str | None = None, bot: str = "aib1") -> Callback:
    is_group, chat_id = (False, sender) if group is None else (True, group)
    return Callback(message_id="m", type="text", sender_id=sender, is_group=is_group, chat_id=chat_id, bot_id=bot)


@pytest.mark.parametrize(
    ("found", "rules", "reason"),
    [
        pytest.param(callback(), EMPTY_LISTS, None, id="empty-lists-allow-all-senders"),
        pytest.param(callback(sender="bob", group="wr9"), EMPTY_LISTS, None, id="empty-lists-allow-all-groups"),
        pytest.param(callback(sender=""), EMPTY_LISTS, "no_sender", id="no-sender"),
        pytest.param(callback(group=""), EMPTY_LISTS, "no_group", id="group-without-id"),
        pytest.param(callback(), LISTS, None, id="listed"),
        pytest.param(callback(sender="bob"), LISTS, "sender", id="sender-not-listed"),
        pytest.param(callback(sender="Alice"), LISTS, "sender", id="ids-are-compared-exactly"),
        pytest.param(callback(bot="aib2"), LISTS, "bot", id="bot-not-listed"),
        pytest.param(callback(group="wr1"), LISTS, None, id="group-listed"),
        pytest.param(callback(group="wr2"), LISTS, "group", id="group-not-listed"),
        pytest.param(callback(sender="bob", group="wr1"), LISTS, "sender", id="sender-in-a-group"),
    ],
)
def test_a_callback_is_refused_by_the_first_list_that_does_not_contain_it(
    found: Callback, rules: AdmissionRules, reason: str | None
) -> None:
    """The order of the lists is bots, groups, senders. The group list does not apply to single chats."""
    assert refusal(found, rules) == reason
    assert reason is None or reason in get_args(Refusal)
