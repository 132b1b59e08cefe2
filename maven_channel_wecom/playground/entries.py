"""Renders what was said in a chat: bubbles, the list of chats, and what a screen reader announces."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from maven_channel_wecom.playground.chat_history import BotEntry, Entry, PersonEntry, text_of
from maven_channel_wecom.playground.markdown import render_markdown
from maven_channel_wecom.playground.markup import Child, Markup, element, icon, join
from maven_channel_wecom.playground.people import GROUPS, PEOPLE, Chat, chats_of, person
from maven_channel_wecom.simulator.messages import EnterChat, File, Image, Mixed, Text, Voice

if TYPE_CHECKING:
    from maven_channel_wecom.playground.chat_history import ChatHistory
    from maven_channel_wecom.playground.labels import Labels

_OK: Final = 200
_PREVIEW_CHARACTERS: Final = 60
_ANNOUNCED_CHARACTERS: Final = 300
# Markdown that a preview leaves out.
_MARKS: Final = re.compile(r"[#>*`|]+")
_GROUP_NAMES: Final = {group.id: group.name for group in GROUPS}


class View(NamedTuple):
    """The person who looks at a chat, the language of the texts, and the name of the bot."""

    user: str
    chat: Chat
    labels: Labels
    bot: str

    def name(self, user: str) -> str:
        """Return the name of a person."""
        known = person(user)
        return self.labels.of(known.name) if known else user

    def members(self, chat: Chat) -> str:
        """Return who is in a chat."""
        return self.labels("members", count=len(PEOPLE)) if chat.group else self.labels("single_chat")

    def title(self, chat: Chat) -> str:
        """Return the name of a chat."""
        return self.labels.of(_GROUP_NAMES[chat.group]) if chat.group else self.bot


def render_entry(entry: Entry, history: ChatHistory, view: View) -> Markup:
    """Return the list item of an entry."""
    if isinstance(entry, BotEntry):
        return _bot_entry(entry, history, view)
    if isinstance(entry.message, EnterChat):
        name = view.labels("enter_chat")
        line = join(f"{view.name(entry.author)} · {name} ", _details(entry, view))
        return _item(entry, "notice", element("p", line, class_="notice-line"))
    side = "own" if entry.author == view.user else "other"
    actions = element("span", _details(entry, view), *_person_actions(entry, view), class_="actions")
    body = element(
        "div",
        _who(view.name(entry.author), entry.at),
        element("div", *_quoted(entry.quotes), *_content(entry, view), class_="bubble"),
        element("p", _status(entry, history, view), actions, class_="meta"),
        class_="body",
    )
    return _item(entry, side, join(avatar(entry.author, view), body))


def render_chats(history: ChatHistory, view: View, path: str) -> Markup:
    """Return the items of the list of chats. `path` is the address of a chat, with `{chat}` for its key."""
    return join(*(_chat_item(chat, history, view, path) for chat in chats_of(view.user)))


def avatar(user: str, view: View) -> Markup:
    """Return the picture of a person: the last character of a Chinese name, the first of an English one."""
    name = view.name(user)
    letter = name[-1] if view.labels.language == "zh" else name[0]
    return element("span", letter, class_=f"avatar avatar-{user}", aria_hidden="true")


def bot_avatar() -> Markup:
    """Return the picture of the bot."""
    return element("span", icon("bot"), class_="avatar avatar-bot", aria_hidden="true")


def announcement(entry: BotEntry, view: View) -> str:
    """Return what a screen reader says of an answer: that it grows, or its text."""
    if entry.growing:
        return f"{view.bot} {view.labels('writing')}"
    return view.labels("answered", name=view.bot, text=entry.content[:_ANNOUNCED_CHARACTERS])


def clock_time(seconds: float) -> str:
    """Return a time of day of this machine, from seconds since the epoch."""
    return time.strftime("%H:%M", time.localtime(seconds))


def _item(entry: Entry, kind: str, content: Markup) -> Markup:
    return element("li", content, id=f"entry-{entry.number}", class_=f"entry {kind}")


def _bot_entry(entry: BotEntry, history: ChatHistory, view: View) -> Markup:
    asked = next((each for each in history.entries if each.message_id == entry.message_id), None)
    content: list[Child] = []
    if view.chat.group and isinstance(asked, PersonEntry):
        content += _quoted(f"{view.name(asked.author)}: {text_of(asked)}")
    text = render_markdown(entry.content, thinking=view.labels("thinking"))
    content.append(element("div", text, class_="markdown"))
    if entry.growing:
        content.append(
            element("span", *[element("i")] * 3, class_="dots", role="img", aria_label=view.labels("writing"))
        )
    actions = element("span", _details(asked or entry, view), *_bot_actions(entry, view), class_="actions")
    name = join(view.bot, element("span", view.labels("bot_badge"), class_="badge"))
    body = element(
        "div",
        _who(name, entry.at),
        element("div", *content, class_="bubble", aria_busy="true" if entry.growing else None),
        element("p", actions, class_="meta"),
        class_="body",
    )
    return _item(entry, "other bot", join(bot_avatar(), body))


def _who(name: Child, at: float) -> Markup:
    return element("p", name, " ", element("time", clock_time(at)), class_="who")


def _quoted(text: str) -> list[Markup]:
    return [element("blockquote", _preview(text), class_="quoted")] if text else []


def _preview(text: str) -> str:
    """Return the beginning of a text in one line, without its markdown."""
    return " ".join(_MARKS.sub(" ", text).split())[:_PREVIEW_CHARACTERS]


def _content(entry: PersonEntry, view: View) -> list[Child]:
    match entry.message:
        case Text():
            return [_text(entry.message.content, view)]
        case Voice():
            wave = element("span", icon("voice"), class_="wave")
            spoken = element("div", wave, _text(entry.message.content, view), class_="voice")
            return [spoken, element("small", view.labels("transcript"))]
        case Image():
            return [_picture(entry, view)]
        case File():
            size = view.labels("bytes", count=f"{len(entry.message.content):,}")
            words = element("span", element("b", entry.message.name), element("small", size))
            return [element("span", icon("file"), words, class_="file")]
        case Mixed():
            return [
                _text(part.content, view) if isinstance(part, Text) else _picture(entry, view)
                for part in entry.message.parts
            ]
        case _:
            return []


def _text(text: str, view: View) -> Markup:
    mention = f"@{view.bot}"
    parts = text.split(mention)
    pieces: list[Child] = [parts[0]]
    for part in parts[1:]:
        pieces += [element("span", mention, class_="mention"), part]
    return element("p", *pieces, class_="text")


def _picture(entry: PersonEntry, view: View) -> Markup:
    alt = view.labels("picture_alt", name=view.name(entry.author))
    return element("img", src=f"/pictures/{entry.number}", alt=alt, class_="picture")


def _status(entry: PersonEntry, history: ChatHistory, view: View) -> Markup:
    record = history.records.get(entry.message_id)
    words: list[Child] = []
    if entry.status is None:
        words.append(element("span", view.labels("sending"), class_="state"))
    elif entry.status == _OK:
        words.append(element("span", "✓ ", view.labels("delivered"), class_="state good"))
    elif entry.status:
        words.append(element("span", view.labels("refused", status=entry.status), class_="state bad"))
    else:
        words.append(element("span", view.labels("unreachable"), class_="state bad"))
    if entry.copies > 1:
        words.append(element("span", view.labels("copies", count=entry.copies), class_="state"))
    if record and record.fault:
        words.append(element("span", view.labels("armed", fault=view.labels(f"fault_{record.fault}")), class_="chip"))
    if record and record.replies and record.spent_after is None and errcode(record.replies[-1].answer) != 0:
        words.append(element("span", view.labels("no_answer"), class_="state bad"))
    return join(*words)


def errcode(answer: bytes) -> int | None:
    """Return the errcode in an answer of WeCom, None if there is none."""
    try:
        found = json.loads(answer).get("errcode")
    except (ValueError, AttributeError, RecursionError):
        return None
    return found if isinstance(found, int) else None


def _details(entry: Entry, view: View) -> Markup:
    return _button("details", "details", view.labels("details"), number=str(entry.number), class_="details")


def _person_actions(entry: PersonEntry, view: View) -> tuple[Markup, ...]:
    number, text = str(entry.number), _preview(text_of(entry))
    quote = _button("quote", "quote", view.labels("quote"), class_="icon-only", number=number, text=text)
    again = _button("again", "again", view.labels("again"), class_="icon-only", number=number)
    return (quote, again)


def _bot_actions(entry: BotEntry, view: View) -> tuple[Markup, ...]:
    number, text = str(entry.number), _preview(entry.content)
    actions: list[Markup] = []
    if entry.feedback_id and not entry.growing:
        for rating in ("good", "bad"):
            is_given = entry.rating == rating
            actions.append(
                _button(
                    "rate",
                    rating,
                    view.labels("rate_withdraw" if is_given else f"rate_{rating}"),
                    class_="icon-only",
                    pressed="true" if is_given else "false",
                    number=number,
                    rating="withdraw" if is_given else rating,
                )
            )
    if text:
        actions.append(_button("quote", "quote", view.labels("quote"), class_="icon-only", number=number, text=text))
    return tuple(actions)


def _button(
    action: str, picture: str, label: str, *, class_: str = "", pressed: str | None = None, **data: str
) -> Markup:
    attributes: dict[str, str | None] = {f"data_{name}": value for name, value in data.items()}
    is_icon = class_ == "icon-only"
    attributes |= {"aria_label": label, "title": label} if is_icon else {}
    content: Child = None if is_icon else label
    return element(
        "button",
        icon(picture),
        content,
        type="button",
        class_=f"action {class_}".rstrip(),
        data_action=action,
        aria_pressed=pressed,
        **attributes,
    )


def _chat_item(chat: Chat, history: ChatHistory, view: View, path: str) -> Markup:
    last = next((entry for entry in reversed(history.entries) if entry.chat.key == chat.key), None)
    preview, at = "", ""
    if last is not None:
        who = view.name(last.author) if isinstance(last, PersonEntry) else view.bot
        said = _preview(text_of(last))
        preview, at = (f"{who}: {said}" if chat.group else said), clock_time(last.at)
    picture = (
        element("span", icon("group"), class_="avatar avatar-group", aria_hidden="true") if chat.group else bot_avatar()
    )
    badge = None if chat.group else element("span", view.labels("bot_badge"), class_="badge")
    words = element(
        "span",
        element("span", element("b", view.title(chat)), badge, class_="chat-name"),
        element("span", preview or view.members(chat)),
        class_="chat-words",
    )
    current = "page" if chat.key == view.chat.key else None
    return element(
        "li", element("a", picture, words, element("time", at), href=path.format(chat=chat.key), aria_current=current)
    )
