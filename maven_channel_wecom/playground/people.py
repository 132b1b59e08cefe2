"""The made-up people of the playground, the groups they are in, and their chats."""

from __future__ import annotations

from typing import Final, NamedTuple

from maven_channel_wecom.playground.labels import Label


class Person(NamedTuple):
    """Somebody who can write. `id` is the `userid` of the callbacks."""

    id: str
    name: Label


class PeopleGroup(NamedTuple):
    """A group with everybody in it. `id` is the `chatid` of the callbacks."""

    id: str
    name: Label


class Chat(NamedTuple):
    """The single chat of a person with the bot, or a group."""

    key: str
    person: str = ""
    group: str = ""


PEOPLE: Final = (
    Person("zhangwei", Label("张伟", "Zhang Wei")),
    Person("lina", Label("李娜", "Li Na")),
    Person("wangfang", Label("王芳", "Wang Fang")),
)
GROUPS: Final = (
    PeopleGroup("wrProductTeam", Label("产品讨论组", "Product team")),
    PeopleGroup("wrWeekendHike", Label("周末爬山", "Weekend hike")),
)


def person(user: str) -> Person | None:
    """Return a person by id."""
    return next((each for each in PEOPLE if each.id == user), None)


def chats_of(user: str) -> tuple[Chat, ...]:
    """Return the chats that a person sees: the single chat first, then the groups."""
    return (Chat(f"single:{user}", person=user), *(Chat(f"group:{group.id}", group=group.id) for group in GROUPS))
