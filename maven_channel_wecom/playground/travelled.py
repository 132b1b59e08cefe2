"""Renders what really travelled for one message: callback, acknowledgement, refreshes, replies, window and offences."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from yarl import URL

from maven_channel_wecom.playground.entries import clock_time, errcode
from maven_channel_wecom.playground.markup import Child, Markup, element, join, well_formed
from maven_channel_wecom.playground.meanings import errcode_meaning, offence_meaning
from maven_channel_wecom.protocol import errcodes
from maven_channel_wecom.simulator.stream_rules import read_frame

if TYPE_CHECKING:
    from maven_channel_wecom.playground.chat_history import ChatHistory
    from maven_channel_wecom.playground.labels import Labels
    from maven_channel_wecom.playground.records import MessageRecord
    from maven_channel_wecom.simulator.exchanges import CallbackExchange, ReplyExchange

_OK: Final = 200
_SECRET_KEYS: Final = frozenset({"response_url", "url"})
_SHOWN_CHARACTERS: Final = 20_000


def render_record(record: MessageRecord, labels: Labels, *, now: float, secrets: bool) -> Markup:
    """Return what travelled for a message. `now` is in seconds since the epoch.

    Without `secrets`, the addresses in a callback, which are rights to answer and to download, are hidden.
    """
    parts: list[Child] = []
    for number, exchange in enumerate(record.callbacks):
        name = "event" if exchange.kind in {"event", "enter_chat"} else "callback_again" if number else "callback"
        parts.append(_callback(exchange, labels, labels(name), secrets=secrets))
    if record.refresh_count:
        parts.append(_refreshes(record, labels))
    parts.append(_replies(record, labels, now))
    if record.downloads:
        parts.append(_section(labels("downloads"), element("p", labels("downloads_count", count=record.downloads))))
    parts.append(_offences(record, labels))
    return join(*parts)


def render_bot(history: ChatHistory, labels: Labels, *, own_secrets: tuple[str, str] | None, secrets: bool) -> Markup:
    """Return the settings of the bot.

    `own_secrets` are the generated token and key, None if they are the operator's. Only `secrets` shows them.
    """
    urls: list[tuple[Child, str]] = [
        (element("span", labels(f"mode_{mode}"), ": ", class_="hint"), url) for mode, url in history.modes.items()
    ]
    check = history.url_check
    verdict = "…"
    if check is not None and check.offence:
        verdict = labels("url_check_failed", reason=offence_meaning(check.offence, labels.language))
    elif check is not None:
        verdict = labels("url_check_passed", milliseconds=round(check.elapsed_seconds * 1000))
    again = element("button", labels("check_again"), type="button", class_="plain", data_action="check")
    parts: list[Child] = [
        _section(
            labels("url"),
            *(
                element("p", name, element("code", _without_secrets(url)))
                for name, url in urls or [(None, history.wecom.callback_url)]
            ),
        ),
        _section(labels("url_check"), element("p", verdict), again),
    ]
    if own_secrets is None:
        parts.append(element("p", labels("own_secrets"), class_="hint"))
    else:
        for name, value in zip(("token", "key"), own_secrets, strict=True):
            shown = element("code", value) if secrets else element("span", labels("hidden"), class_="hint")
            parts.append(_section(labels(name), element("p", shown)))
    return join(*parts)


def _without_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment, which an operator's own URL may have."""
    return str(URL(url).with_user(None).with_query(None).with_fragment(None))


def _section(title: str, *children: Child) -> Markup:
    return element("section", element("h3", title), *children)


def _callback(exchange: CallbackExchange, labels: Labels, title: str, *, secrets: bool) -> Markup:
    query = parse_qsl(exchange.request.query)
    signature = element("dl", *(part for name, value in query for part in (element("dt", name), element("dd", value))))
    opened = _pretty(exchange.plaintext, labels, secrets=secrets)
    answer = exchange.answer
    milliseconds = f"{answer.elapsed_seconds * 1000:.0f} ms"
    verdict = element("p", _chip(answer.status, labels), " ", milliseconds)
    return join(
        _section(
            title,
            element("h4", labels("signature")),
            signature,
            _block(labels("opened"), opened, labels, is_open=True),
            _block(labels("sealed"), exchange.request.body.decode(errors="replace"), labels),
        ),
        _section(
            labels("acknowledgement"),
            verdict,
            _block(labels("opened"), _pretty(exchange.opened or b"", labels, secrets=secrets), labels, is_open=True),
            _block(labels("sealed"), answer.body.decode(errors="replace"), labels),
        ),
    )


def _refreshes(record: MessageRecord, labels: Labels) -> Markup:
    names = ("refresh_column", "status_column", "time_column", "text_column")
    head = element("tr", *(element("th", labels(name), scope="col") for name in names))
    first = record.refresh_count - len(record.refreshes) + 1
    rows = [_refresh_row(exchange, number, labels) for number, exchange in enumerate(record.refreshes, first)]
    last = record.refreshes[-1]
    table = element("table", element("thead", head), element("tbody", *rows))
    return _section(
        f"{labels('refreshes')} ({record.refresh_count})",
        element("div", table, class_="scroll", tabindex="0", role="group", aria_label=labels("refreshes")),
        _block(
            labels("last_refresh"),
            _pretty(last.plaintext, labels, secrets=False) + "\n\n" + _opened(last, labels),
            labels,
        ),
    )


def _opened(exchange: CallbackExchange, labels: Labels) -> str:
    return _pretty(exchange.opened or b"", labels, secrets=False)


def _refresh_row(exchange: CallbackExchange, number: int, labels: Labels) -> Markup:
    frame = read_frame(exchange.opened or b"")
    size = labels("bytes", count=f"{len(well_formed(frame.content).encode()):,}") if frame else ""
    end = element("span", labels("finished"), class_="chip good") if frame and frame.finish else None
    lost = element("span", labels("lost"), class_="chip bad") if exchange.lost else None
    return element(
        "tr",
        element("td", str(number)),
        element("td", lost or _chip(exchange.answer.status, labels)),
        element("td", f"{exchange.answer.elapsed_seconds * 1000:.0f} ms"),
        element("td", size, " " if end else None, end),
    )


def _replies(record: MessageRecord, labels: Labels, now: float) -> Markup:
    until = clock_time(record.window_ends_at)
    if not record.has_window:
        window = labels("window_none")
    elif record.spent_after is not None:
        window = labels("window_spent", seconds=f"{record.spent_after:.2f}")
    elif errcodes.RESPONSE_CODE_INVALID in (errcode(reply.answer) for reply in record.replies):
        window = labels("window_invalid", code=errcodes.RESPONSE_CODE_INVALID)
    elif now >= record.window_ends_at:
        window = labels("window_expired", until=until)
    else:
        window = labels("window_open", until=until)
    attempts = [_attempt(reply, number, record.fault, labels) for number, reply in enumerate(record.replies, 1)]
    none = labels("no_replies" if record.spent_after is None else "reply_waits")
    return join(
        _section(labels("replies"), *attempts or [element("p", none, class_="hint")]),
        _section(labels("window"), element("p", window)),
    )


def _attempt(reply: ReplyExchange, number: int, armed: str, labels: Labels) -> Markup:
    code = errcode(reply.answer)
    words: list[Child] = [_chip(reply.status, labels)]
    if code is not None:
        meaning = errcode_meaning(code, labels.language)
        words += [
            " ",
            element("span", f"errcode {code}", class_=f"chip {'good' if code == 0 else 'bad'}"),
            f" {meaning}",
        ]
    words.append(f" · {labels('after', seconds=f'{reply.after_seconds:.2f}')}")
    if reply.fault:
        name = labels(f"fault_{armed}") if armed else reply.fault
        words += [" ", element("span", labels("fault_played", name=name), class_="chip")]
    return element(
        "div",
        element("h4", labels("attempt", count=number)),
        element("p", *words),
        _block("JSON", _pretty(reply.body, labels, secrets=False), labels),
    )


def _offences(record: MessageRecord, labels: Labels) -> Markup:
    if not record.offences:
        return _section(labels("offences"), element("p", "✓ ", labels("no_offences"), class_="good"))
    items = (
        element("li", element("code", kind), " ", offence_meaning(kind, labels.language)) for kind in record.offences
    )
    return _section(labels("offences"), element("ul", *items, class_="bad"))


def _chip(status: int, labels: Labels) -> Markup:
    kind = "good" if status == _OK else "bad"
    return element("span", f"HTTP {status}" if status else labels("no_status"), class_=f"chip {kind}")


def _block(title: str, text: str, labels: Labels, *, is_open: bool = False) -> Markup:
    """Return text that can be folded and scrolled."""
    content = element(
        "pre", text[:_SHOWN_CHARACTERS] or labels("nothing"), tabindex="0", role="group", aria_label=title
    )
    return element("details", element("summary", title), content, open=is_open)


def _pretty(text: bytes, labels: Labels, *, secrets: bool) -> str:
    """Return JSON with one value in a line, or the text as it is."""
    try:
        value = json.loads(text)
        if not secrets:
            value = _hide(value, labels("hidden"))
        return json.dumps(value, ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text.decode(errors="replace")


def _hide(value: object, hidden: str) -> object:
    """Replace every address in a JSON value."""
    if isinstance(value, dict):
        return {name: hidden if name in _SECRET_KEYS else _hide(each, hidden) for name, each in value.items()}
    if isinstance(value, list):
        return [_hide(each, hidden) for each in value]
    return value
