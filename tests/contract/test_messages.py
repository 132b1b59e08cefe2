"""What the values of the contract show of themselves."""

from maven_channel_wecom.contract.messages import OutboundProgress


def test_the_repr_of_progress_contains_no_text_and_no_chat() -> None:
    progress = OutboundProgress(channel="wecom", chat_id="canary-chat", reply_to="m1", content="canary text")
    assert repr(progress) == "<OutboundProgress on wecom of 11 characters>"
