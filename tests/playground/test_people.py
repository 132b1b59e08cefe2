"""The made-up people and their chats."""

from __future__ import annotations

from maven_channel_wecom.playground.people import GROUPS, PEOPLE, chats_of, person


def test_everybody_has_a_single_chat_and_all_groups() -> None:
    for each in PEOPLE:
        single, *groups = chats_of(each.id)
        assert (single.key, single.person, single.group) == (f"single:{each.id}", each.id, "")
        assert [chat.group for chat in groups] == [group.id for group in GROUPS]


def test_an_unknown_id_is_nobody() -> None:
    assert person("lina") == PEOPLE[1]
    assert person("mallory") is None
