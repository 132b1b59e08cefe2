"""What people see in their chats, and the sending of what they write."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from maven_channel_wecom.playground.markup import well_formed
from maven_channel_wecom.playground.records import MessageRecord
from maven_channel_wecom.simulator.bubbles import BubbleFrame
from maven_channel_wecom.simulator.messages import EnterChat, Feedback, File, Image, Mixed, Text, Voice
from maven_channel_wecom.simulator.offences import Offence

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from maven_channel_wecom.playground.fault_buttons import FaultButton
    from maven_channel_wecom.playground.people import Chat
    from maven_channel_wecom.simulator.exchanges import HttpExchange
    from maven_channel_wecom.simulator.recorded import Reply
    from maven_channel_wecom.simulator.sent import SentCallback, UrlCheckResult
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom

MAX_ENTRIES: Final = 500
"""Maximum number of entries in all chats; the oldest disappear. Lower: a long chat loses its beginning. Higher: an open
page becomes slow."""

MAX_HISTORY_BYTES: Final = 128 * 1024 * 1024
"""Maximum size of all entries and of what travelled for them, in bytes; the oldest disappear, but never the newest.
Lower: a few files of 10 MiB displace everything else. Higher: more memory."""

Mode = Literal["stream", "reply"]
"""Whether people watch an answer grow, or get it as one reply."""

Written = Text | Voice | Image | File | Mixed
"""What a person can write in the page."""

# 101027 "feedback_event".
RATINGS: Final = {"good": 1, "bad": 2, "withdraw": 3}


@dataclass(kw_only=True, eq=False, repr=False)
class PersonEntry:
    """Something that a person sent.

    Attributes:
        number: its place in all chats, from 1.
        version: a counter of all changes, at its last change.
        at: when it was sent, in seconds since the epoch.
        status: the status of the bot's answer; None while there is none, 0 if none arrived.
        copies: how often it was sent.
        quotes: the text that it quotes, empty for none.
    """

    number: int
    version: int
    chat: Chat
    at: float
    message_id: str
    author: str
    message: Written | EnterChat
    mode: Mode
    status: int | None = None
    copies: int = 1
    quotes: str = ""
    sent: SentCallback | None = None

    def __repr__(self) -> str:
        return f"<PersonEntry {self.number}>"


@dataclass(kw_only=True, eq=False, repr=False)
class BotEntry:
    """Something that the bot answered. `growing` is whether its stream is not finished yet."""

    number: int
    version: int
    chat: Chat
    at: float
    message_id: str
    content: str
    form: Literal["stream", "reply", "welcome"]
    growing: bool = False
    feedback_id: str = ""
    rating: str = ""

    def __repr__(self) -> str:
        return f"<BotEntry {self.number}>"


Entry = PersonEntry | BotEntry


class ChatHistory:
    """The chats of everybody with one bot.

    Args:
        wecom: the simulator, which need not be started yet.
        modes: the callback URL for each mode; empty for a bot with one URL, which is the simulator's.
        max_bytes: the maximum size of everything that is kept.

    Attributes:
        entries: what was said in all chats, oldest first.
        records: what travelled, by message id.
        version: a counter of all changes.
        url_check: the last check of the callback URL.
    """

    def __init__(
        self, wecom: SimulatedWeCom, modes: dict[Mode, str] | None = None, *, max_bytes: int = MAX_HISTORY_BYTES
    ) -> None:
        self.wecom = wecom
        self.modes: dict[Mode, str] = modes or {}
        self.entries: list[Entry] = []
        self.records: dict[str, MessageRecord] = {}
        self.version = 0
        self.url_check: UrlCheckResult | None = None
        self._max_bytes = max_bytes
        self._numbers = 0
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        wecom.recorded.listeners.append(self._on_item)
        wecom.recorded.observers.append(self._on_exchange)

    def in_chat(self, chat: Chat, *, after: int = 0) -> list[Entry]:
        """Return the entries of a chat that changed after a version, oldest first."""
        return [entry for entry in self.entries if entry.chat.key == chat.key and entry.version > after]

    def find(self, number: int) -> Entry | None:
        """Return an entry by its number."""
        return next((entry for entry in self.entries if entry.number == number), None)

    async def changed(self, version: int) -> None:
        """Wait until something changed after a version."""
        while self.version <= version:
            await self._changed.wait()

    def write(
        self,
        chat: Chat,
        author: str,
        message: Written | EnterChat,
        *,
        mode: Mode = "stream",
        fault: FaultButton | None = None,
        quoting: Entry | None = None,
    ) -> PersonEntry:
        """Show what a person wrote, and send it in the background.

        A fault of a reply needs one, so that the answer to such a message is not streamed.
        """
        message_id = self.wecom.new_message_id()
        if fault is not None:
            fault.arm(self.wecom, message_id)
            mode = "reply" if fault.affects == "reply" else "stream" if fault.affects == "refresh" else mode
        entry = PersonEntry(
            number=self._next_number(),
            version=0,
            chat=chat,
            at=self.wecom.clock(),
            message_id=message_id,
            author=author,
            message=message,
            mode=mode,
            quotes=text_of(quoting) if quoting else "",
        )
        self.records[message_id] = MessageRecord(
            sent_at=entry.at, has_window=not isinstance(message, EnterChat), fault=fault.name if fault else ""
        )
        self._add(entry)
        self._start(self._send(entry))
        return entry

    def send_again(self, entry: PersonEntry) -> None:
        """Send a message once more, as WeCom does when it got no answer."""
        if entry.sent is not None:
            entry.copies += 1
            self._touch(entry)
            self._start(self._redeliver(entry.sent, entry.mode))

    def rate(self, entry: BotEntry, user: str, rating: str) -> None:
        """Rate an answer with a word of RATINGS."""
        entry.rating = "" if rating == "withdraw" else rating
        self._touch(entry)
        self._start(self._send_rating(entry, user, RATINGS[rating]))

    def check_url(self) -> None:
        """Check the callback URL in the background, as the console does."""
        self._start(self._check_url())

    async def close(self) -> None:
        """Stop everything in the background."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, entry: PersonEntry) -> None:
        # 100719: a quote is shown with these two.
        is_quoting = bool(entry.quotes) and isinstance(entry.message, Text | Mixed)
        entry.sent = sent = await self.wecom.send(
            entry.message,
            user=entry.author,
            group=entry.chat.group,
            quote=Text(entry.quotes) if is_quoting else None,
            message_id=entry.message_id,
            at=self.modes.get(entry.mode, ""),
        )
        entry.status = sent.status
        self._touch(entry)
        if sent.welcome:
            self._answer(entry.message_id, sent.welcome, "welcome")

    async def _redeliver(self, sent: SentCallback, mode: Mode) -> None:
        await self.wecom.redeliver(sent, at=self.modes.get(mode, ""))
        self._touch(None)

    async def _send_rating(self, entry: BotEntry, user: str, type_: int) -> None:
        asked = next((each for each in self.entries if each.message_id == entry.message_id), entry)
        mode = asked.mode if isinstance(asked, PersonEntry) else "stream"
        event = Feedback(entry.feedback_id, type_)
        await self.wecom.send(event, user=user, group=entry.chat.group, at=self.modes.get(mode, ""))

    async def _check_url(self) -> None:
        self.url_check = await self.wecom.check_url()
        self._touch(None)

    def _on_exchange(self, exchange: HttpExchange) -> None:
        record = self.records.get(exchange.message_id)
        if record is None:
            return
        record.add(exchange)
        record.downloads = self.wecom.recorded.media_requests[exchange.message_id]
        self._forget_oldest()
        self._touch(self._asked(exchange.message_id))

    def _on_item(self, item: Offence | Reply | BubbleFrame) -> None:
        record = self.records.get(item.message_id)
        if record is None:
            # The message has disappeared, and what still comes for it is not kept either.
            self.wecom.recorded.forget(item.message_id)
            return
        if isinstance(item, Offence):
            record.offences.append(item.kind)
            self._touch(self._asked(item.message_id))
        elif isinstance(item, BubbleFrame):
            bubble = self.wecom.recorded.bubbles[item.message_id]
            self._answer(
                item.message_id,
                item.content if item.finish else bubble.text,
                "stream",
                growing=not item.finish,
                feedback_id=bubble.feedback_id,
            )
        elif item.accepted:
            record.spent_after = item.after_seconds
            self._answer(item.message_id, item.content, "reply", feedback_id=item.feedback_id)

    def _answer(
        self,
        message_id: str,
        content: str,
        form: Literal["stream", "reply", "welcome"],
        *,
        growing: bool = False,
        feedback_id: str = "",
    ) -> None:
        """Show an answer, or the newest text of the one that grows."""
        content = well_formed(content)
        for entry in self.entries:
            if isinstance(entry, BotEntry) and entry.message_id == message_id and entry.form == form == "stream":
                entry.content, entry.growing = content, growing
                entry.feedback_id = feedback_id
                self._touch(entry)
                return
        asked = self._asked(message_id)
        if asked is not None:
            answer = BotEntry(
                number=self._next_number(),
                version=0,
                chat=asked.chat,
                at=self.wecom.clock(),
                message_id=message_id,
                content=content,
                form=form,
                growing=growing,
                feedback_id=feedback_id,
            )
            self._add(answer)

    def _asked(self, message_id: str) -> PersonEntry | None:
        for entry in reversed(self.entries):
            if isinstance(entry, PersonEntry) and entry.message_id == message_id:
                return entry
        return None

    def _add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._forget_oldest()
        self._touch(entry)

    def _forget_oldest(self) -> None:
        while len(self.entries) > MAX_ENTRIES or (len(self.entries) > 1 and self._size_bytes() > self._max_bytes):
            removed = self.entries.pop(0)
            if isinstance(removed, PersonEntry):
                self.records.pop(removed.message_id, None)
                self.wecom.recorded.forget(removed.message_id)

    def _size_bytes(self) -> int:
        return sum(map(_entry_bytes, self.entries)) + sum(record.size_bytes for record in self.records.values())

    def _touch(self, entry: Entry | None) -> None:
        """Count a change, of an entry or of the page around it, and wake those that wait for one."""
        self.version += 1
        if entry is not None:
            entry.version = self.version
        self._changed.set()
        self._changed = asyncio.Event()

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _entry_bytes(entry: Entry) -> int:
    """Return the memory that the texts, pictures and files of an entry use."""
    if isinstance(entry, BotEntry):
        return sys.getsizeof(entry.content)
    parts = entry.message.parts if isinstance(entry.message, Mixed) else (entry.message,)
    contents = [part.content for part in parts if not isinstance(part, EnterChat)]
    return sum(map(sys.getsizeof, [*contents, entry.quotes]))


def text_of(entry: Entry) -> str:
    """Return the text of an entry, empty if it has none."""
    if isinstance(entry, BotEntry):
        return entry.content
    match entry.message:
        case Text() | Voice():
            return entry.message.content
        case Mixed():
            return "\n".join(part.content for part in entry.message.parts if isinstance(part, Text))
        case File():
            return entry.message.name
        case _:
            return ""
