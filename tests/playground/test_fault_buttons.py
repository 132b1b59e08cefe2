"""Every fault is played for the message that it was armed for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.playground.fault_buttons import FAULT_BUTTONS, FaultButton, SlowAnswer, fault_button
from maven_channel_wecom.playground.labels import LABELS
from maven_channel_wecom.simulator.messages import Text
from tests.playground.conftest import until_answered, view

if TYPE_CHECKING:
    from maven_channel_wecom.playground.chat_history import ChatHistory
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom


@pytest.mark.parametrize("button", FAULT_BUTTONS, ids=lambda button: button.name)
def test_each_has_texts_and_is_armed_for_one_message(button: FaultButton, wecom: SimulatedWeCom) -> None:
    assert {f"fault_{button.name}", f"fault_{button.name}_hint"} <= LABELS.keys()
    button.arm(wecom, "m1")
    takes = (wecom.reply_faults.take, wecom.media_faults.take, wecom.refresh_faults.take)
    assert [take("m2") for take in takes] == [None, None, None]
    assert takes[("reply", "media", "refresh").index(button.affects)]("m1") is not None


def test_an_unknown_name_is_no_fault() -> None:
    assert fault_button("") is fault_button("flood") is None


async def test_a_slow_answer_comes_after_the_reply_was_accepted(history: ChatHistory) -> None:
    history.wecom.reply_faults.add(SlowAnswer(0.01))
    history.write(view().chat, "lina", Text("hi"), mode="reply")
    await until_answered(history)
    (record,) = history.records.values()
    while not record.replies:
        await history.changed(history.version)
    assert (record.replies[0].status, record.replies[0].fault) == (200, "SlowAnswer")
