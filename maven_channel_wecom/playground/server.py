"""The web server of the playground: its page, the events that keep the page current, and what people do in it."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from maven_channel_wecom.playground.chat_history import RATINGS, BotEntry, ChatHistory, PersonEntry
from maven_channel_wecom.playground.entries import View, announcement, render_chats, render_entry
from maven_channel_wecom.playground.fault_buttons import fault_button
from maven_channel_wecom.playground.form import MAX_FILE_BYTES, UnsendableError, WrittenForm, picture_type, to_message
from maven_channel_wecom.playground.guard import Guard
from maven_channel_wecom.playground.labels import Labels
from maven_channel_wecom.playground.markdown import render_markdown
from maven_channel_wecom.playground.page import FOLDER, address, page_template, render_page
from maven_channel_wecom.playground.people import PEOPLE, chats_of, person
from maven_channel_wecom.playground.travelled import render_bot, render_record
from maven_channel_wecom.simulator.messages import EnterChat, Image, Mixed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maven_channel_wecom.playground.chat_history import Mode

HEARTBEAT_SECONDS: Final = 15.0
"""Time after which an idle stream of events gets a comment. Higher: connections of closed pages stay open longer."""

_MARGIN_BYTES: Final = 64 * 1024
_MALFORMED: Final = (ValueError, LookupError, RuntimeError, AssertionError, HttpProcessingError)
"""What aiohttp raises for a form that it cannot read."""
_FILES: Final = {"page.css", "page.js", "icon.svg"}


class PlaygroundServer:
    """Serves the page of one bot.

    Args:
        history: what is shown and sent.
        host: the name or address that the server listens on.
        bot: the name of the bot, which people mention in groups.
        own_secrets: the generated token and key, which the page shows on demand; None if they are the operator's.
    """

    def __init__(
        self, history: ChatHistory, *, host: str, bot: str, own_secrets: tuple[str, str] | None = None
    ) -> None:
        self._history = history
        self._bot = bot
        self._own_secrets = own_secrets
        self._guard = Guard(host)
        # A page that was loaded from an earlier server has other numbers and another token.
        self._instance = secrets.token_hex(8)

    def application(self) -> web.Application:
        """Return the application, which answers its own page only."""
        app = web.Application(client_max_size=MAX_FILE_BYTES + _MARGIN_BYTES)
        self._guard.install(app)
        app.router.add_get("/", self._page)
        app.router.add_get("/web/{name}", _file)
        # Not for HEAD, which would wait for events forever.
        app.router.add_get("/events", self._events, allow_head=False)
        app.router.add_get("/pictures/{number:[0-9]{1,9}}", self._picture)
        app.router.add_get("/travelled/{number:[0-9]{1,9}}", self._travelled)
        app.router.add_get("/bot", self._settings)
        app.router.add_post("/messages", self._write)
        app.router.add_post("/actions", self._act)
        return app

    async def _page(self, request: web.Request) -> web.Response:
        view = self._view(request.query, request.headers.get("Accept-Language", ""))
        template = await asyncio.to_thread(page_template)
        await self._render_ahead(view, 0)
        html = render_page(self._history, view, template, token=self._guard.token, instance=self._instance)
        return web.Response(text=html, content_type="text/html")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Send the entries that changed, and the list of chats, until the page is closed."""
        view = self._view(request.query)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        if request.query.get("instance") != self._instance:
            await response.write(b"event: reload\ndata: \n\n")
            return response
        known = _number(request.headers.get("Last-Event-ID") or request.query.get("after", ""))
        announced: dict[int, bool] = {}
        try:
            while True:
                await self._render_ahead(view, known)
                version = self._history.version
                for name, data in self._news(view, known, announced):
                    await response.write(f"event: {name}\ndata: {json.dumps(data)}\n".encode())
                    # Only the last event has the version, so that a page that missed some gets all of them again.
                    await response.write(f"id: {version}\n\n".encode() if name == "chats" else b"\n")
                known = version
                await self._wait(response, known)
        except ConnectionError:
            return response

    async def _render_ahead(self, view: View, known: int) -> None:
        """Render the answers since a version in a thread. They are kept, and the event loop does not wait for them."""
        thinking = view.labels("thinking")
        for entry in self._history.in_chat(view.chat, after=known):
            if isinstance(entry, BotEntry):
                await asyncio.to_thread(render_markdown, entry.content, thinking=thinking)

    def _news(self, view: View, known: int, announced: dict[int, bool]) -> list[tuple[str, object]]:
        """Return the events since a version. `announced` holds whether an answer that was announced still grew."""
        news: list[tuple[str, object]] = []
        for entry in self._history.in_chat(view.chat, after=known):
            html = render_entry(entry, self._history, view)
            news.append(("entry", {"id": f"entry-{entry.number}", "html": html}))
            if isinstance(entry, BotEntry) and announced.get(entry.number) != entry.growing:
                announced[entry.number] = entry.growing
                news.append(("announce", announcement(entry, view)))
        news.append(("chats", render_chats(self._history, view, address(view, chat="{chat}"))))
        return news

    async def _wait(self, response: web.StreamResponse, version: int) -> None:
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    return await self._history.changed(version)
            except TimeoutError:
                await response.write(b": still here\n\n")

    async def _picture(self, request: web.Request) -> web.Response:
        entry = self._history.find(int(request.match_info["number"]))
        message = entry.message if isinstance(entry, PersonEntry) else None
        parts = message.parts if isinstance(message, Mixed) else (message,)
        for part in parts:
            type_ = picture_type(part.content) if isinstance(part, Image) else None
            if isinstance(part, Image) and type_:
                return web.Response(body=part.content, content_type=type_)
        raise web.HTTPNotFound

    async def _travelled(self, request: web.Request) -> web.Response:
        view = self._view(request.query)
        entry = self._history.find(int(request.match_info["number"]))
        record = self._history.records.get(entry.message_id) if entry else None
        if record is None:
            raise web.HTTPNotFound
        now = self._history.wecom.clock()
        html = render_record(record, view.labels, now=now, secrets="secrets" in request.query)
        return web.Response(text=html, content_type="text/html")

    async def _settings(self, request: web.Request) -> web.Response:
        view = self._view(request.query)
        shown = "secrets" in request.query
        html = render_bot(self._history, view.labels, own_secrets=self._own_secrets, secrets=shown)
        return web.Response(text=html, content_type="text/html")

    async def _write(self, request: web.Request) -> web.Response:
        fields, upload = await _read_form(request)
        view = self._view(fields)
        quoting = self._history.find(_number(fields.get("quote", "")))
        name, content = upload
        form = WrittenForm(kind=fields.get("kind", ""), text=fields.get("text", ""), name=name, content=content)
        try:
            message = await asyncio.to_thread(to_message, form, in_group=bool(view.chat.group), bot=self._bot)
        except UnsendableError as problem:
            reason = view.labels(str(problem))
            raise web.HTTPBadRequest(text=view.labels("problem_unsent", reason=reason)) from None
        self._history.write(
            view.chat,
            view.user,
            message,
            mode=_mode(fields),
            fault=fault_button(fields.get("fault", "")),
            quoting=quoting if quoting and quoting.chat == view.chat else None,
        )
        return web.Response(status=204)

    async def _act(self, request: web.Request) -> web.Response:
        fields, _ = await _read_form(request)
        view = self._view(fields)
        entry = self._history.find(_number(fields.get("number", "")))
        match fields.get("action"):
            case "again" if isinstance(entry, PersonEntry):
                self._history.send_again(entry)
            case "rate" if (
                isinstance(entry, BotEntry)
                and entry.chat == view.chat
                and entry.feedback_id
                and fields.get("rating") in RATINGS
            ):
                self._history.rate(entry, view.user, fields["rating"])
            case "enter" if not view.chat.group:
                self._history.write(view.chat, view.user, EnterChat(), mode=_mode(fields))
            case "check":
                self._history.check_url()
            case _:
                raise web.HTTPBadRequest
        return web.Response(status=204)

    def _view(self, fields: Mapping[str, str], languages: str = "") -> View:
        """Return what a request asks for. Unknown words count as missing."""
        known = person(fields.get("as", "")) or PEOPLE[0]
        chats = chats_of(known.id)
        chat = next((each for each in chats if each.key == fields.get("chat")), chats[0])
        language = fields.get("lang") or ("zh" if languages.lower().startswith("zh") else "en")
        return View(known.id, chat, Labels("zh" if language == "zh" else "en"), self._bot)


async def _file(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    if name not in _FILES:
        raise web.HTTPNotFound
    return web.FileResponse(FOLDER / name)


async def _read_form(request: web.Request) -> tuple[dict[str, str], tuple[str, bytes]]:
    """Return the fields of a form, and the name and content of its file, both empty if there is none.

    Raises:
        HTTPBadRequest: the body is no form, or holds text that is no UTF-8.
    """
    try:
        form = await request.post()
        for value in form.values():
            (value.filename if isinstance(value, web.FileField) else str(value)).encode()
    except _MALFORMED:
        raise web.HTTPBadRequest(text="The form cannot be read.") from None
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    upload = form.get("file")
    if not isinstance(upload, web.FileField):
        return fields, ("", b"")
    return fields, (upload.filename, await asyncio.to_thread(upload.file.read))


def _mode(fields: Mapping[str, str]) -> Mode:
    return "reply" if fields.get("mode") == "reply" else "stream"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004 - fits in 32 bits
