"""Sessions, speakers, and the command that starts over."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maven_channel_wecom.contract.messages import ImageBlock, InboundMessage, TextBlock
from maven_channel_wecom.host.sessions import session_id, speaker, starts_over
from tests.host.fake_channel import message


def spoken(text: str = "hello", *, sender: str = "ada", chat: str = "chat", group: bool = True) -> InboundMessage:
    kind = {"chat_type": "group" if group else "single"}
    return msgspec.structs.replace(message(text, channel="wecom", chat_id=chat), sender_id=sender, transport_meta=kind)


ids = st.builds("".join, st.lists(st.sampled_from(["group:", "single:", "a", "/", "%2F"]), max_size=3))


def test_a_chat_keeps_its_session_across_versions_and_shares_it_with_no_other() -> None:
    assert session_id(message(channel="wecom")) == "c0e40eda-64db-5907-acac-de32dc620e8d"
    assert session_id(spoken(group=False)) == session_id(message(channel="wecom"))
    others = (message(channel="wecom2"), message(channel="wecom", chat_id="chat2"))
    assert len({session_id(each) for each in (message(channel="wecom"), *others)}) == 3


def test_a_group_and_a_person_with_one_id_have_different_sessions() -> None:
    assert session_id(spoken()) != session_id(spoken(group=False))


@given(st.lists(st.tuples(st.text("a/%2F:", max_size=4), ids, st.booleans()), unique=True, max_size=8))
@example([("a", "b/c", False), ("a/b", "c", False)])
@example([("a", "group:b", False), ("a", "b", True), ("a", "single:group:b", False)])
@example([("a/", "b", False), ("a%2F", "b", False)])
def test_different_chats_have_different_sessions_whatever_their_names(chats: list[tuple[str, str, bool]]) -> None:
    sessions = {
        session_id(msgspec.structs.replace(spoken(chat=chat, group=group), channel=channel))
        for channel, chat, group in chats
    }
    assert len(sessions) == len(chats)


def test_a_member_has_one_pseudonym_in_a_group_and_another_one_in_the_next() -> None:
    name = speaker(spoken())
    assert name == speaker(spoken("something else")) == "member-9c653368"
    assert "ada" not in name.removeprefix("member-")
    assert len({name, speaker(spoken(sender="bob")), speaker(spoken(chat="other"))}) == 3


def test_the_speaker_is_an_id_if_the_operator_consents_and_nobody_in_a_single_chat() -> None:
    assert speaker(spoken(), shows_ids=True) == "ada"
    assert speaker(spoken(group=False), shows_ids=True) == ""


@pytest.mark.parametrize("text", ["/new", " /New\n", "/NEW", "／new", "/新话题", " /新话题 "])
def test_a_command_alone_starts_over(text: str) -> None:
    assert starts_over(spoken(text, group=False))
    assert starts_over(spoken(text))


@pytest.mark.parametrize("text", ["@Bot /new", "@Bot\u2005/NEW ", "@机器人 /新话题", "@Ada @Bot /new"])
def test_in_a_group_mentions_may_precede_the_command(text: str) -> None:
    assert starts_over(spoken(text))
    assert not starts_over(spoken(text, group=False))


@pytest.mark.parametrize("text", ["", "new", "/news", "/new topic", "what is /new", "@Bot what is /new", "@Bot/new"])
def test_other_texts_do_not_start_over(text: str) -> None:
    assert not starts_over(spoken(text))


def test_a_picture_with_the_command_is_a_message_and_a_quote_is_not() -> None:
    picture = ImageBlock(media_type="image/png", data="aGk=")
    asked = spoken("/new")
    assert not starts_over(msgspec.structs.replace(asked, content_blocks=(TextBlock(text="/new"), picture)))
    quoted = msgspec.structs.replace(picture, quoted=True)
    assert starts_over(msgspec.structs.replace(asked, content_blocks=(quoted, TextBlock(text="/new"))))
