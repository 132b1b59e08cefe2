"""Renders the page: the people, the chats of one of them, one chat, and the form to write in it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from maven_channel_wecom.playground.entries import View, avatar, bot_avatar, render_chats, render_entry
from maven_channel_wecom.playground.fault_buttons import FAULT_BUTTONS
from maven_channel_wecom.playground.labels import LABELS
from maven_channel_wecom.playground.markup import Markup, element, icon, join
from maven_channel_wecom.playground.people import PEOPLE

if TYPE_CHECKING:
    from maven_channel_wecom.playground.chat_history import ChatHistory

FOLDER: Final = Path(__file__).parent / "web"
"""The files of the page. All of them are served as they are, but page.html, a template."""


def address(view: View, *, user: str = "", chat: str = "", language: str = "") -> str:
    """Return the address of the page, with some parts of a view replaced."""
    query = {"as": user or view.user, "chat": chat or view.chat.key, "lang": language or view.labels.language}
    return "/?" + urlencode(query, safe=":{}")


@cache
def page_template() -> Template:
    """Read the template of the page."""
    return Template((FOLDER / "page.html").read_text(encoding="utf-8"))


def render_page(history: ChatHistory, view: View, template: Template, *, token: str, instance: str) -> str:
    """Return the whole page. `token` lets it send, and `instance` names this run of the server."""
    labels = view.labels
    entries = history.in_chat(view.chat)
    language = "en" if labels.language == "zh" else "zh"
    texts = {
        f"label_{name}": join(labels(name, bot=view.bot) if "{bot}" in labels(name) else labels(name))
        for name in LABELS
    }
    group = bool(view.chat.group)
    return template.substitute(
        texts,
        lang="zh-CN" if labels.language == "zh" else "en",
        token=join(token),
        instance=join(instance),
        version=str(history.version),
        user=join(view.user),
        chat=join(view.chat.key),
        language=labels.language,
        kind="group" if group else "single",
        people=_people(view),
        switch=element(
            "a",
            icon("language"),
            element("span", labels("other_language")),
            href=address(view, language=language),
            lang="en" if language == "en" else "zh-CN",
            class_="rail-button",
        ),
        chats=render_chats(history, view, address(view, chat="{chat}")),
        chat_title=join(view.title(view.chat)),
        chat_badge=Markup() if group else element("span", labels("bot_badge"), class_="badge"),
        chat_members=join(view.members(view.chat)),
        enter=Markup() if group else _enter(view),
        bot_avatar=bot_avatar(),
        empty_title=join(labels("empty_group" if group else "empty_single", bot=view.bot)),
        entries=join(*(render_entry(entry, history, view) for entry in entries)),
        placeholder=join(labels("placeholder_group", bot=view.bot) if group else labels("placeholder_single")),
        group_disabled=Markup("disabled") if group else Markup(),
        modes=_modes(history, view),
        faults=_faults(view),
    )


def _people(view: View) -> Markup:
    return join(
        *(
            element(
                "li",
                element(
                    "a",
                    avatar(each.id, view),
                    element("span", view.labels.of(each.name)),
                    href=address(view, user=each.id, chat=view.chat.key if view.chat.group else f"single:{each.id}"),
                    aria_current="true" if each.id == view.user else None,
                    class_="rail-person",
                ),
            )
            for each in PEOPLE
        )
    )


def _enter(view: View) -> Markup:
    label = view.labels("enter_chat")
    return element("button", icon("enter"), element("span", label), type="button", class_="plain", data_action="enter")


def _modes(history: ChatHistory, view: View) -> Markup:
    """Return the choice between streamed answers and single replies, if the bot has both."""
    if not history.modes:
        return Markup()
    options = (
        _option("mode", mode, view.labels(f"mode_{mode}"), checked=mode == "stream") for mode in ("stream", "reply")
    )
    return element("fieldset", element("legend", view.labels("mode")), *options, class_="options")


def _faults(view: View) -> Markup:
    labels = view.labels
    none = _option("fault", "", labels("fault_none"), checked=True)
    options = (
        _option("fault", each.name, labels(f"fault_{each.name}"), hint=labels(f"fault_{each.name}_hint"))
        for each in FAULT_BUTTONS
    )
    return element("fieldset", element("legend", labels("faults")), none, *options, class_="options faults")


def _option(name: str, value: str, label: str, *, checked: bool = False, hint: str | None = None) -> Markup:
    radio = element("input", type="radio", name=name, value=value, checked=checked)
    return element("label", radio, element("span", label), title=hint)
